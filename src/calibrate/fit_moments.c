/* fit_moments.c - moments about chosen means, without the part of the kept neurons
 *
 * With p = mean - origin and S = sum w (x - origin):
 *   sum w (x - mean_x)(y - mean_y)^T = xy - p_x S_y^T - S_x p_y^T + W p_x p_y^T.
 * Taking D_S h_S from y: xy - xh D_S^T, and from sum w |y|^2: - 2 <D_S, hy> + <D_S^T
 * D_S, hh>.
 */

#include "base/memory.h"
#include "calibrate/fit_parts.h"
#include "kernels/blas/linear.h"

#include <math.h>

/* Rows times columns; too large for any arena when it overflows. */
static double *take(struct ce_arena *arena, size_t rows, size_t columns)
{
    size_t count = 0;

    if (ce_size_mul(rows, columns, &count) != CE_OK) {
        count = SIZE_MAX;
    }
    return ce_arena_take(arena, count, sizeof(double));
}

void ce_fit_work_take(struct ce_fit_work *work,
                      size_t hidden,
                      size_t most_rank,
                      size_t neurons,
                      struct ce_arena *arena)
{
    const size_t d = hidden;

    work->c = take(arena, d, d);
    work->z = take(arena, d, d);
    work->g = take(arena, d, d);
    work->vectors = take(arena, most_rank, d);
    work->maps = take(arena, most_rank, d);
    work->product = take(arena, most_rank, d);
    work->values = take(arena, most_rank, 1);
    work->error = take(arena, most_rank + 1, 1);
    work->heldout = take(arena, most_rank + 1, 1);
    work->reals = take(arena, ce_linear_eigen_reals(d), 1);
    work->integers =
        ce_arena_take(arena, ce_linear_eigen_integers(d, most_rank), sizeof(int));
    work->mean_x = take(arena, d, 1);
    work->mean_h = take(arena, neurons, 1);
    work->mean_y = take(arena, d, 1);
    work->shift_x = take(arena, d, 1);
    work->shift_h = take(arena, neurons, 1);
    work->shift_y = take(arena, d, 1);
    work->with_h = take(arena, d, neurons);
    work->down = take(arena, neurons, d);
}

/* The input that kept neuron `i` is. */
static size_t input_of(const struct ce_fit_view *view, size_t i)
{
    return view->moments->hidden + view->neurons->kept[i];
}

void ce_fit_view_set_means(const struct ce_fit_view *view)
{
    const struct ce_moments *m = view->moments;
    struct ce_fit_work *work = view->work;

    for (size_t i = 0; i < m->hidden; i++) {
        work->mean_x[i] = (double)m->origin_x[i] + m->sum_x[i] / m->weight;
        work->mean_y[i] = (double)m->origin_y[i] + m->sum_y[i] / m->weight;
    }
    for (size_t k = 0; k < view->neurons->count; k++) {
        const size_t input = input_of(view, k);
        const float *down = view->neurons->down + view->neurons->kept[k] * m->hidden;

        work->mean_h[k] = (double)m->origin_x[input] + m->sum_x[input] / m->weight;
        for (size_t j = 0; j < m->hidden; j++) {
            work->mean_y[j] -= (double)down[j] * work->mean_h[k];
        }
    }
}

void ce_fit_view_begin(const struct ce_fit_view *view)
{
    const struct ce_moments *m = view->moments;
    struct ce_fit_work *work = view->work;
    const size_t d = m->hidden;

    for (size_t i = 0; i < d; i++) {
        work->shift_x[i] = work->mean_x[i] - (double)m->origin_x[i];
        work->shift_y[i] = work->mean_y[i] - (double)m->origin_y[i];
    }
    for (size_t k = 0; k < view->neurons->count; k++) {
        const float *down = view->neurons->down + view->neurons->kept[k] * d;

        work->shift_h[k] = work->mean_h[k] - (double)m->origin_x[input_of(view, k)];
        for (size_t j = 0; j < d; j++) {
            work->down[k * d + j] = down[j];
            work->shift_y[j] +=
                (double)down[j] * work->mean_h[k]; /* y has that part still */
        }
    }
}

bool ce_fit_view_inputs(const struct ce_fit_view *view, double *out)
{
    const struct ce_moments *m = view->moments;
    const double *shift = view->work->shift_x;
    const double *sum = m->sum_x;
    bool finite = true;

    for (size_t i = 0; i < m->hidden; i++) {
        const float *from = m->xx + i * m->inputs;
        double *to = out + i * m->hidden;

        for (size_t j = i; j < m->hidden; j++) {
            to[j] = (double)from[j] + shift[i] * (m->weight * shift[j] - sum[j]) -
                    sum[i] * shift[j];
            finite &= isfinite(to[j]) != 0;
        }
    }
    return finite;
}

/* xx between x and the kept neurons into [d][count]. */
static void fill_with_neurons(const struct ce_fit_view *view, double *out)
{
    const struct ce_moments *m = view->moments;
    const struct ce_fit_work *work = view->work;
    const size_t count = view->neurons->count;

    for (size_t i = 0; i < m->hidden; i++) {
        for (size_t k = 0; k < count; k++) {
            const size_t input = input_of(view, k);

            out[i * count + k] =
                (double)m->xx[i * m->inputs + input] +
                work->shift_x[i] * (m->weight * work->shift_h[k] - m->sum_x[input]) -
                m->sum_x[i] * work->shift_h[k];
        }
    }
}

bool ce_fit_view_products(const struct ce_fit_view *view, double *out)
{
    const struct ce_moments *m = view->moments;
    const struct ce_fit_work *work = view->work;
    const double *shift = work->shift_y;
    const size_t d = m->hidden;
    const size_t kept = view->neurons->count;
    bool finite = true;

    for (size_t i = 0; i < d; i++) {
        const double shift_i = work->shift_x[i];
        const float *from = m->xy + i * d;
        double *to = out + i * d;

        for (size_t j = 0; j < d; j++) {
            to[j] = (double)from[j] + shift_i * (m->weight * shift[j] - m->sum_y[j]) -
                    m->sum_x[i] * shift[j];
            finite &= isfinite(to[j]) != 0;
        }
    }
    if (kept > 0) {
        fill_with_neurons(view, work->with_h);
        ce_linear_subtract_product(out, work->with_h, work->down, d, d, kept);
    }
    return finite;
}

/* sum w h_k <D_k, y> */
static double neuron_with_outputs(const struct ce_fit_view *view, size_t k)
{
    const struct ce_moments *m = view->moments;
    const struct ce_fit_work *work = view->work;
    const size_t input = input_of(view, k);
    const float *hy = m->xy + input * m->hidden;
    double sum = 0;

    for (size_t j = 0; j < m->hidden; j++) {
        const double value =
            (double)hy[j] +
            work->shift_h[k] * (m->weight * work->shift_y[j] - m->sum_y[j]) -
            m->sum_x[input] * work->shift_y[j];

        sum += work->down[k * m->hidden + j] * value;
    }
    return sum;
}

/* sum w h_k h_l <D_k, D_l> */
static double neuron_with_neuron(const struct ce_fit_view *view, size_t k, size_t l)
{
    const struct ce_moments *m = view->moments;
    const struct ce_fit_work *work = view->work;
    const size_t a = input_of(view, k);
    const size_t b = input_of(view, l);
    const float hh = a <= b ? m->xx[a * m->inputs + b] : m->xx[b * m->inputs + a];
    const double value =
        (double)hh + work->shift_h[k] * (m->weight * work->shift_h[l] - m->sum_x[b]) -
        m->sum_x[a] * work->shift_h[l];
    double down = 0;

    for (size_t j = 0; j < m->hidden; j++) {
        down += work->down[k * m->hidden + j] * work->down[l * m->hidden + j];
    }
    return value * down;
}

double ce_fit_view_outputs(const struct ce_fit_view *view)
{
    const struct ce_moments *m = view->moments;
    const double *shift = view->work->shift_y;
    double sum = m->yy;

    for (size_t j = 0; j < m->hidden; j++) {
        sum += shift[j] * (m->weight * shift[j] - 2 * m->sum_y[j]);
    }
    for (size_t k = 0; k < view->neurons->count; k++) {
        sum -= 2 * neuron_with_outputs(view, k);
        for (size_t l = 0; l < view->neurons->count; l++) {
            sum += neuron_with_neuron(view, k, l);
        }
    }
    return sum > 0 ? sum : 0; /* rounding may leave less than nothing */
}
