/* fit.c - the choice of the ridge, and what to do with few rows */

#include "calibrate/fit.h"

#include "base/memory.h"
#include "calibrate/fit_parts.h"

#include <math.h>
#include <string.h>

enum {
    /* Effective rows for each rank: below, a rank more only fits noise. */
    ROWS_PER_RANK = 4,
    /* A constant of n effective rows is n / (n + this) its own mean. */
    PRIOR_ROWS = 4,
    /* Effective held-out rows whose error is believed. */
    HELDOUT_ROWS = 32,
};

/* Of the mean square: sixteen units in the last place of F32. */
#define LEAST_VARIANCE 1e-12

static const struct ce_fit_neurons no_neurons = {.count = 0};

bool ce_fit_take(struct ce_fit *fit,
                 size_t hidden,
                 size_t most_rank,
                 struct ce_arena *arena)
{
    size_t maps = 0;

    *fit = (struct ce_fit){.hidden = hidden, .most_rank = most_rank};
    if (ce_size_mul(hidden, most_rank, &maps) != CE_OK) {
        maps = SIZE_MAX; /* too large for any arena */
    }
    fit->u = ce_arena_take(arena, maps, sizeof(*fit->u));
    fit->v = ce_arena_take(arena, maps, sizeof(*fit->v));
    fit->mean_x = ce_arena_take(arena, hidden, sizeof(*fit->mean_x));
    fit->mean_y = ce_arena_take(arena, hidden, sizeof(*fit->mean_y));
    fit->error = ce_arena_take(arena, most_rank + 1, sizeof(*fit->error));
    fit->heldout_error =
        ce_arena_take(arena, most_rank + 1, sizeof(*fit->heldout_error));
    return fit->u != NULL && fit->v != NULL && fit->mean_x != NULL &&
           fit->mean_y != NULL && fit->error != NULL && fit->heldout_error != NULL;
}

size_t ce_fit_workspace_bytes(size_t hidden, size_t most_rank, size_t neurons)
{
    struct ce_arena arena;
    struct ce_fit_work work;

    ce_arena_measure(&arena);
    ce_fit_work_take(&work, hidden, most_rank, neurons, &arena);
    return arena.used;
}

/* What one call knows. */
struct solve {
    struct ce_fit *fit;
    struct ce_fit_view seen;
    struct ce_fit_view heldout;
    const struct ce_fit_options *options;
    size_t rank; /* of the maps to compute */
};

static enum ce_status check(const struct ce_fit *fit,
                            const struct ce_moments *moments,
                            const struct ce_moments *heldout,
                            const struct ce_fit_options *options,
                            struct ce_error *err)
{
    if (moments->hidden != fit->hidden || heldout->hidden != fit->hidden ||
        moments->inputs != heldout->inputs) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "moments of %zu and %zu inputs do not fit a map of %zu",
                       moments->inputs,
                       heldout->inputs,
                       fit->hidden);
    }
    if (options->most_rank > fit->most_rank || options->ridge_count == 0) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "rank %zu of at most %zu with %zu ridges",
                       options->most_rank,
                       fit->most_rank,
                       options->ridge_count);
    }
    for (size_t i = 0; i < options->ridge_count; i++) {
        if (!(options->ridges[i] > 0) || !isfinite(options->ridges[i])) {
            return ce_fail(err, CE_ERR_ARG, "ridge %g is not > 0", options->ridges[i]);
        }
    }
    if (!isfinite(moments->yy) || !isfinite(heldout->yy)) {
        return ce_fail(err, CE_ERR_NUMERIC, "moments of the outputs are not finite");
    }
    return CE_OK;
}

static void set_facts(struct ce_fit *fit,
                      const struct ce_moments *moments,
                      const struct ce_moments *heldout)
{
    fit->rank = 0;
    fit->ridge = 0;
    fit->regularised = false;
    fit->rows = moments->rows;
    fit->weight = moments->weight;
    fit->effective_rows = ce_moments_effective_rows(moments);
    fit->total = moments->total;
    fit->heldout_rows = heldout->rows;
    fit->heldout_weight = heldout->weight;
    fit->heldout_effective_rows = ce_moments_effective_rows(heldout);
    fit->heldout_total = heldout->total;
}

static void round_all(float *to, const double *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        to[i] = (float)from[i];
    }
}

/* Draws the mean of y to the layer's, as far as rows are missing. The kept neurons'
 * part is not in it. */
static void draw_to_layer(const struct solve *s)
{
    const struct ce_fit_work *work = s->seen.work;
    const struct ce_fit_neurons *neurons = s->seen.neurons;
    const double n = s->fit->effective_rows;
    const double own = n / (n + PRIOR_ROWS);
    const size_t d = s->fit->hidden;

    for (size_t j = 0; j < d; j++) {
        double layer = s->options->layer_mean[j];

        for (size_t k = 0; k < neurons->count; k++) {
            layer -= (double)neurons->down[neurons->kept[k] * d + j] * work->mean_h[k];
        }
        work->mean_y[j] = own * work->mean_y[j] + (1 - own) * layer;
    }
}

static double outputs_about_mean(const struct ce_fit_view *view)
{
    if (view->moments->rows == 0) {
        return 0;
    }
    ce_fit_view_begin(view);
    return ce_fit_view_outputs(view);
}

/* Without rows all means are 0 before they are drawn to the layer's. */
static void set_means(const struct solve *s)
{
    struct ce_fit_work *work = s->seen.work;
    struct ce_fit *fit = s->fit;

    if (fit->rows > 0) {
        ce_fit_view_set_means(&s->seen);
    } else {
        memset(work->mean_x, 0, fit->hidden * sizeof(*work->mean_x));
        memset(work->mean_y, 0, fit->hidden * sizeof(*work->mean_y));
        memset(work->mean_h, 0, s->seen.neurons->count * sizeof(*work->mean_h));
    }
    if (fit->status == CE_FIT_CONSTANT || fit->status == CE_FIT_UNSEEN) {
        draw_to_layer(s);
    }
    round_all(fit->mean_x, work->mean_x, fit->hidden);
    round_all(fit->mean_y, work->mean_y, fit->hidden);
}

static void solve_constant(const struct solve *s)
{
    s->fit->error[0] = outputs_about_mean(&s->seen);
    s->fit->heldout_error[0] = outputs_about_mean(&s->heldout);
}

static void keep_map(const struct solve *s, double ridge, bool regularised)
{
    const struct ce_fit_work *work = s->seen.work;
    struct ce_fit *fit = s->fit;

    fit->rank = s->rank;
    fit->ridge = ridge;
    fit->regularised = regularised;
    round_all(fit->u, work->vectors, s->rank * fit->hidden);
    round_all(fit->v, work->maps, s->rank * fit->hidden);
    memcpy(fit->error, work->error, (s->rank + 1) * sizeof(*fit->error));
    memcpy(fit->heldout_error, work->heldout, (s->rank + 1) * sizeof(*fit->error));
}

/* Computes the map of one ridge; keeps it when it is the first or the best. */
static enum ce_status
try_ridge(const struct solve *s, size_t index, bool *better, struct ce_error *err)
{
    const double ridge = s->options->ridges[index];
    double raised = ridge;
    enum ce_status status =
        ce_fit_map(&s->seen, &s->heldout, ridge, s->rank, &raised, err);

    if (status != CE_OK) {
        return status;
    }
    *better = s->fit->rank == 0 ||
              s->seen.work->heldout[s->rank] < s->fit->heldout_error[s->rank];
    if (*better) {
        keep_map(s, raised, raised > ridge);
    }
    return CE_OK;
}

/* From the middle up while the held-out error falls, or else down: it has one minimum,
 * so three ridges are tried most of the time instead of all. */
static enum ce_status solve_map(const struct solve *s, struct ce_error *err)
{
    const size_t count = s->options->ridge_count;
    const size_t middle = (count - 1) / 2;
    bool better = false;
    bool rises = false;
    enum ce_status status = try_ridge(s, middle, &better, err);

    if (s->heldout.moments->rows == 0) {
        return status;
    }
    better = true;
    for (size_t i = middle + 1; status == CE_OK && better && i < count; i++) {
        status = try_ridge(s, i, &better, err);
        rises = rises || better;
    }
    better = !rises;
    for (size_t i = middle; status == CE_OK && better && i > 0; i--) {
        status = try_ridge(s, i - 1, &better, err);
    }
    return status;
}

/* Whether inputs differ by more than F32 rounds them: if not, nothing can be mapped. */
static bool inputs_vary(const struct ce_moments *m)
{
    double about_mean = 0;
    double about_zero = 0;

    for (size_t i = 0; i < m->hidden; i++) {
        const double shift = m->sum_x[i] / m->weight;
        const double mean = (double)m->origin_x[i] + shift;
        const double variance =
            (double)m->xx[i * m->inputs + i] / m->weight - shift * shift;

        about_mean += variance;
        about_zero += variance + mean * mean;
    }
    return about_mean > LEAST_VARIANCE * about_zero;
}

/* How much the rows allow. */
static enum ce_fit_status choose_rank(struct solve *s)
{
    const size_t wanted = ce_size_min(s->options->most_rank, s->fit->hidden);
    const size_t allowed = (size_t)(s->fit->effective_rows / ROWS_PER_RANK);

    s->rank = 0;
    if (s->fit->rows == 0) {
        return CE_FIT_UNSEEN;
    }
    if (allowed == 0) {
        return CE_FIT_CONSTANT;
    }
    if (inputs_vary(s->seen.moments)) {
        s->rank = ce_size_min(wanted, allowed);
    }
    return s->rank < wanted ? CE_FIT_SHRUNK : CE_FIT_FULL;
}

enum ce_status ce_fit_solve(struct ce_fit *fit,
                            const struct ce_moments *moments,
                            const struct ce_moments *heldout,
                            const struct ce_fit_neurons *neurons,
                            const struct ce_fit_options *options,
                            void *workspace,
                            struct ce_error *err)
{
    const struct ce_fit_neurons *kept = neurons != NULL ? neurons : &no_neurons;
    struct ce_fit_work work;
    struct ce_arena arena = {
        .memory = workspace,
        .capacity =
            ce_fit_workspace_bytes(fit->hidden, options->most_rank, kept->count),
    };
    struct solve s = {
        .fit = fit,
        .seen = {.moments = moments, .neurons = kept, .work = &work},
        .heldout = {.moments = heldout, .neurons = kept, .work = &work},
        .options = options,
    };
    enum ce_status status = check(fit, moments, heldout, options, err);

    if (status != CE_OK) {
        return status;
    }
    ce_fit_work_take(&work, fit->hidden, options->most_rank, kept->count, &arena);
    set_facts(fit, moments, heldout);
    fit->status = choose_rank(&s);
    set_means(&s);
    if (s.rank > 0) {
        return solve_map(&s, err);
    }
    solve_constant(&s);
    return CE_OK;
}

/* Akaike's final prediction error: what new rows meet where n rows gave `error` with
 * k numbers fitted for each output. A rank is a number of U and, of V, as many again.
 */
static double predict(const struct ce_fit *fit, size_t rank)
{
    const double k = 1 + 2 * (double)rank;
    const double n = fit->effective_rows > k + 1 ? fit->effective_rows : k + 1;

    return fit->error[rank] * (n + k) / (n - k);
}

static bool heldout_counts(const struct ce_fit *fit)
{
    return fit->heldout_effective_rows >= HELDOUT_ROWS;
}

double ce_fit_expected_error(const struct ce_fit *fit, size_t rank)
{
    const double all = fit->weight + fit->heldout_weight;

    if (heldout_counts(fit)) {
        return fit->heldout_error[rank] / fit->heldout_weight * all;
    }
    return fit->weight > 0 ? predict(fit, rank) / fit->weight * all : 0;
}

double ce_fit_expected_total(const struct ce_fit *fit)
{
    return fit->total + fit->heldout_total;
}

const char *ce_fit_status_name(enum ce_fit_status status)
{
    static const char *const names[] = {
        [CE_FIT_FULL] = "full",
        [CE_FIT_SHRUNK] = "shrunk",
        [CE_FIT_CONSTANT] = "constant",
        [CE_FIT_UNSEEN] = "unseen",
    };

    return names[status];
}
