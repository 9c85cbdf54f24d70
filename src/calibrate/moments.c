/* moments.c - sums of products, tile by tile
 *
 * A tile of xx or xy is one call of BLAS with a shape that depends on the sizes alone,
 * and one thread computes it, so the bits do not depend on how many threads there are.
 * All else is summed by columns, rows from first to last.
 */

#include "calibrate/moments.h"

#include "base/memory.h"
#include "kernels/blas/linear.h"

#include <math.h>
#include <string.h>

enum {
    /* Columns of a tile: 512 is within 3 % of one call for all, and OLMoE's 2048 inputs
     * and outputs give 26 tiles to share. */
    TILE = 512,
    /* Columns that are scaled and summed together. */
    STRIP = 64,
};

static size_t count_pieces(size_t n, size_t piece)
{
    return (n + piece - 1) / piece;
}

bool ce_moments_take(struct ce_moments *moments,
                     size_t hidden,
                     size_t neurons,
                     struct ce_arena *arena)
{
    struct ce_moments *m = moments;
    const size_t inputs = hidden + neurons;
    size_t squares = 0;
    size_t products = 0;

    *m = (struct ce_moments){.hidden = hidden, .neurons = neurons, .inputs = inputs};
    if (ce_size_mul(inputs, inputs, &squares) != CE_OK ||
        ce_size_mul(inputs, hidden, &products) != CE_OK) {
        squares = SIZE_MAX; /* too large for any arena */
    }
    m->origin_x = ce_arena_take(arena, inputs, sizeof(*m->origin_x));
    m->origin_y = ce_arena_take(arena, hidden, sizeof(*m->origin_y));
    m->sum_x = ce_arena_take(arena, inputs, sizeof(*m->sum_x));
    m->sum_y = ce_arena_take(arena, hidden, sizeof(*m->sum_y));
    m->squares = ce_arena_take(arena, 2 * hidden, sizeof(*m->squares));
    m->xx = ce_arena_take(arena, squares, sizeof(*m->xx));
    m->xy = ce_arena_take(arena, products, sizeof(*m->xy));
    if (m->origin_x == NULL || m->origin_y == NULL || m->sum_x == NULL ||
        m->sum_y == NULL || m->squares == NULL || m->xx == NULL || m->xy == NULL) {
        return false;
    }
    ce_moments_clear(m);
    return true;
}

void ce_moments_clear(struct ce_moments *moments)
{
    struct ce_moments *m = moments;

    m->rows = 0;
    m->weight = 0;
    m->weight_squares = 0;
    m->yy = 0;
    m->total = 0;
    memset(m->origin_x, 0, m->inputs * sizeof(*m->origin_x));
    memset(m->origin_y, 0, m->hidden * sizeof(*m->origin_y));
    memset(m->sum_x, 0, m->inputs * sizeof(*m->sum_x));
    memset(m->sum_y, 0, m->hidden * sizeof(*m->sum_y));
    memset(m->squares, 0, 2 * m->hidden * sizeof(*m->squares));
    memset(m->xx, 0, m->inputs * m->inputs * sizeof(*m->xx));
    memset(m->xy, 0, m->inputs * m->hidden * sizeof(*m->xy));
}

size_t ce_moments_scratch(const struct ce_moments *moments, size_t rows)
{
    return rows * (moments->inputs + moments->hidden);
}

/* Some columns of x, h or y, and where they stand among the inputs or outputs. */
struct strip {
    const float *from; /* the first row */
    size_t stride;
    const uint32_t *candidates; /* NULL: columns follow each other */
    size_t count;
    float *origin;
    double *sum;
    double *squares; /* sum w |y - oy|^2; NULL for inputs */
    double *totals;  /* sum w |y|^2 */
    float *to;       /* the first scaled row */
    size_t to_stride;
};

static void load(float *values, const struct strip *s, size_t row)
{
    const float *from = s->from + row * s->stride;

    if (s->candidates == NULL) {
        memcpy(values, from, s->count * sizeof(*values));
        return;
    }
    for (size_t j = 0; j < s->count; j++) {
        values[j] = from[s->candidates[j]];
    }
}

static void set_origin(const struct strip *s, const float *weights, size_t rows)
{
    double sums[STRIP] = {0};
    double weight = 0;
    float values[STRIP];

    for (size_t i = 0; i < rows; i++) {
        const double w = (double)weights[i] * (double)weights[i];

        load(values, s, i);
        weight += w;
        for (size_t j = 0; j < s->count; j++) {
            sums[j] += w * (double)values[j];
        }
    }
    for (size_t j = 0; j < s->count; j++) {
        s->origin[j] = (float)(sums[j] / weight);
    }
}

static void scale(const struct strip *s, const float *weights, size_t rows)
{
    double sums[STRIP] = {0};
    double squares[STRIP] = {0};
    double totals[STRIP] = {0};
    float values[STRIP];

    for (size_t i = 0; i < rows; i++) {
        const float a = weights[i];
        float *to = s->to + i * s->to_stride;

        load(values, s, i);
        for (size_t j = 0; j < s->count; j++) {
            const float scaled = a * (values[j] - s->origin[j]);
            const double whole = (double)a * (double)values[j];

            to[j] = scaled;
            sums[j] += (double)a * (double)scaled;
            squares[j] += (double)scaled * (double)scaled;
            totals[j] += whole * whole;
        }
    }
    for (size_t j = 0; j < s->count; j++) {
        s->sum[j] += sums[j];
        if (s->squares != NULL) {
            s->squares[j] = squares[j];
            s->totals[j] = totals[j];
        }
    }
}

/* Strip `index` of x, then of h, then of y. */
static struct strip strip_of(struct ce_moments *m,
                             const struct ce_moments_rows *rows,
                             float *scaled_x,
                             float *scaled_y,
                             size_t index)
{
    const size_t of_x = count_pieces(m->hidden, STRIP);
    const size_t of_h = count_pieces(m->neurons, STRIP);
    struct strip s = {.from = NULL};

    if (index < of_x + of_h) {
        const bool is_h = index >= of_x;
        const size_t first = (is_h ? index - of_x : index) * STRIP;
        const size_t place = is_h ? m->hidden + first : first;

        s.from = is_h ? rows->h : rows->x + first;
        s.stride = is_h ? rows->h_stride : rows->x_stride;
        s.candidates = is_h ? rows->candidates + first : NULL;
        s.count = ce_size_min(STRIP, (is_h ? m->neurons : m->hidden) - first);
        s.origin = m->origin_x + place;
        s.sum = m->sum_x + place;
        s.to = scaled_x + place;
        s.to_stride = m->inputs;
        return s;
    }
    const size_t first = (index - of_x - of_h) * STRIP;

    s.from = rows->y + first;
    s.stride = rows->y_stride;
    s.count = ce_size_min(STRIP, m->hidden - first);
    s.origin = m->origin_y + first;
    s.sum = m->sum_y + first;
    s.squares = m->squares + first;
    s.totals = m->squares + m->hidden + first;
    s.to = scaled_y + first;
    s.to_stride = m->hidden;
    return s;
}

static void scale_rows(struct ce_moments *m,
                       const struct ce_moments_rows *rows,
                       float *scaled_x,
                       float *scaled_y)
{
    const size_t strips =
        2 * count_pieces(m->hidden, STRIP) + count_pieces(m->neurons, STRIP);
    const bool is_first = m->rows == 0;

#pragma omp parallel for schedule(static)
    for (size_t index = 0; index < strips; index++) {
        const struct strip s = strip_of(m, rows, scaled_x, scaled_y, index);

        if (is_first) {
            set_origin(&s, rows->weights, rows->rows);
        }
        scale(&s, rows->weights, rows->rows);
    }
}

static void add_tile_xx(
    struct ce_moments *m, const float *scaled_x, size_t rows, size_t i, size_t j)
{
    const size_t inputs = m->inputs;
    const size_t row = i * TILE;
    const size_t column = j * TILE;
    float *c = m->xx + row * inputs + column;

    if (i == j) {
        ce_linear_add_gram(
            c, inputs, scaled_x + row, inputs, rows, ce_size_min(TILE, inputs - row));
    } else {
        ce_linear_add_cross(c,
                            inputs,
                            scaled_x + row,
                            inputs,
                            scaled_x + column,
                            inputs,
                            rows,
                            ce_size_min(TILE, inputs - row),
                            ce_size_min(TILE, inputs - column));
    }
}

static void add_tile_xy(struct ce_moments *m,
                        const float *scaled_x,
                        const float *scaled_y,
                        size_t rows,
                        size_t i,
                        size_t j)
{
    const size_t row = i * TILE;
    const size_t column = j * TILE;

    ce_linear_add_cross(m->xy + row * m->hidden + column,
                        m->hidden,
                        scaled_x + row,
                        m->inputs,
                        scaled_y + column,
                        m->hidden,
                        rows,
                        ce_size_min(TILE, m->inputs - row),
                        ce_size_min(TILE, m->hidden - column));
}

/* A row of tiles of [xx xy] at a time; those below xx's diagonal are nothing to do. */
static void add_products(struct ce_moments *m,
                         const float *scaled_x,
                         const float *scaled_y,
                         size_t rows)
{
    const size_t down = count_pieces(m->inputs, TILE);
    const size_t across = down + count_pieces(m->hidden, TILE);

#pragma omp parallel for schedule(dynamic)
    for (size_t tile = 0; tile < down * across; tile++) {
        const size_t i = tile / across;
        const size_t j = tile % across;

        if (j >= down) {
            add_tile_xy(m, scaled_x, scaled_y, rows, i, j - down);
        } else if (j >= i) {
            add_tile_xx(m, scaled_x, rows, i, j);
        }
    }
}

static bool all_finite(const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            return false;
        }
    }
    return true;
}

/* A NaN or infinity among the rows is one in the sums of its column. */
static enum ce_status check_sums(const struct ce_moments *m, struct ce_error *err)
{
    if (!all_finite(m->sum_x, m->hidden)) {
        return ce_fail(err, CE_ERR_NUMERIC, "the expert's inputs are not all finite");
    }
    if (!all_finite(m->sum_x + m->hidden, m->neurons)) {
        return ce_fail(
            err, CE_ERR_NUMERIC, "the expert's activations are not all finite");
    }
    if (!all_finite(m->sum_y, m->hidden) || !isfinite(m->total)) {
        return ce_fail(err, CE_ERR_NUMERIC, "the expert's outputs are not all finite");
    }
    return CE_OK;
}

enum ce_status ce_moments_add(struct ce_moments *moments,
                              const struct ce_moments_rows *rows,
                              float *scratch,
                              struct ce_error *err)
{
    struct ce_moments *m = moments;
    float *scaled_y = scratch + rows->rows * m->inputs;
    size_t counted = 0;
    double weight = 0;
    double squares = 0;

    for (size_t i = 0; i < rows->rows; i++) {
        const double w = (double)rows->weights[i] * (double)rows->weights[i];

        counted += w != 0;
        weight += w;
        squares += w * w;
    }
    if (!isfinite(weight)) {
        return ce_fail(err, CE_ERR_NUMERIC, "the router's weights are not all finite");
    }
    if (weight == 0) {
        return CE_OK;
    }
    scale_rows(m, rows, scratch, scaled_y);
    m->rows += counted;
    m->weight += weight;
    m->weight_squares += squares;
    for (size_t j = 0; j < m->hidden; j++) {
        m->yy += m->squares[j];
        m->total += m->squares[m->hidden + j];
    }
    add_products(m, scratch, scaled_y, rows->rows);
    return check_sums(m, err);
}

/* The vector a product is taken with: its origins and sums in both moments. */
struct side {
    const float *origin;
    const float *other_origin;
    const double *other_sum;
    size_t count;
};

/* to += a row that `other` has about its own origins, moved to ours; p and q are how
 * far these are from ours in the row and in a column:
 * sum w (x + p)(y + q) = sum w x y + p (sum w y + W q) + q sum w x */
static void merge_row(float *to,
                      const float *from,
                      const struct side *side,
                      size_t first,
                      double p,
                      double sum_x,
                      double weight)
{
    for (size_t j = first; j < side->count; j++) {
        const double q = (double)side->other_origin[j] - (double)side->origin[j];

        to[j] = (float)((double)to[j] + (double)from[j] +
                        p * (side->other_sum[j] + weight * q) + q * sum_x);
    }
}

static void merge_products(struct ce_moments *m, const struct ce_moments *other)
{
    const struct side x = {m->origin_x, other->origin_x, other->sum_x, m->inputs};
    const struct side y = {m->origin_y, other->origin_y, other->sum_y, m->hidden};
    const double weight = other->weight;

    for (size_t i = 0; i < m->inputs; i++) {
        const double p = (double)other->origin_x[i] - (double)m->origin_x[i];
        const double sum = other->sum_x[i];
        const size_t in_xx = i * m->inputs;
        const size_t in_xy = i * m->hidden;

        merge_row(m->xx + in_xx, other->xx + in_xx, &x, i, p, sum, weight);
        merge_row(m->xy + in_xy, other->xy + in_xy, &y, 0, p, sum, weight);
    }
}

static void merge_sums(double *sum, const struct side *side, double weight)
{
    for (size_t i = 0; i < side->count; i++) {
        const double shift = (double)side->other_origin[i] - (double)side->origin[i];

        sum[i] += side->other_sum[i] + weight * shift;
    }
}

void ce_moments_merge(struct ce_moments *moments, const struct ce_moments *other)
{
    struct ce_moments *m = moments;
    const struct ce_moments *o = other;
    const struct side x = {m->origin_x, o->origin_x, o->sum_x, m->inputs};
    const struct side y = {m->origin_y, o->origin_y, o->sum_y, m->hidden};

    if (m->rows == 0) {
        memcpy(m->origin_x, o->origin_x, m->inputs * sizeof(*m->origin_x));
        memcpy(m->origin_y, o->origin_y, m->hidden * sizeof(*m->origin_y));
    }
    merge_products(m, o);
    for (size_t j = 0; j < m->hidden; j++) {
        const double shift = (double)o->origin_y[j] - (double)m->origin_y[j];

        m->yy += shift * (2 * o->sum_y[j] + o->weight * shift);
    }
    merge_sums(m->sum_x, &x, o->weight);
    merge_sums(m->sum_y, &y, o->weight);
    m->rows += o->rows;
    m->weight += o->weight;
    m->weight_squares += o->weight_squares;
    m->yy += o->yy;
    m->total += o->total;
}

double ce_moments_add_outputs(const struct ce_moments *moments, double *sum)
{
    const struct ce_moments *m = moments;

    for (size_t j = 0; j < m->hidden; j++) {
        sum[j] += m->sum_y[j] + m->weight * (double)m->origin_y[j];
    }
    return m->weight;
}

double ce_moments_effective_rows(const struct ce_moments *moments)
{
    return moments->weight_squares > 0
               ? moments->weight * moments->weight / moments->weight_squares
               : 0;
}
