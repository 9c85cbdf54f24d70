/* fit_fixture.h - fits of samples, and what they leave of each row */

#ifndef CE_TESTS_UNIT_FIT_FIXTURE_H
#define CE_TESTS_UNIT_FIT_FIXTURE_H

#include "calibrate/fit.h"
#include "moments_fixture.h"

struct fit_home {
    struct ce_arena arena;
    struct ce_fit fit;
};

static inline void fit_create(struct fit_home *home, size_t hidden, size_t most_rank)
{
    struct ce_error err;

    ce_arena_measure(&home->arena);
    (void)ce_fit_take(&home->fit, hidden, most_rank, &home->arena);
    assert_int_equal(ce_arena_create(&home->arena, home->arena.used, &err), CE_OK);
    assert_true(ce_fit_take(&home->fit, hidden, most_rank, &home->arena));
}

static inline void fit_destroy(struct fit_home *home)
{
    ce_arena_destroy(&home->arena);
}

/* With a workspace of just the size it asks for. */
static inline enum ce_status fit_solve(struct ce_fit *fit,
                                       const struct ce_moments *moments,
                                       const struct ce_moments *heldout,
                                       const struct ce_fit_neurons *neurons,
                                       const struct ce_fit_options *options,
                                       struct ce_error *err)
{
    const size_t kept = neurons != NULL ? neurons->count : 0;
    const size_t bytes = ce_fit_workspace_bytes(fit->hidden, options->most_rank, kept);
    void *workspace = aligned_alloc(64, bytes);
    enum ce_status status;

    assert_non_null(workspace);
    memset(workspace, 0xff, bytes); /* NaN in every number that is not written */
    status = ce_fit_solve(fit, moments, heldout, neurons, options, workspace, err);
    free(workspace);
    return status;
}

/* U V x + b of rank `rank` for one row, by definition. */
static inline void
fit_apply(double *out, const struct ce_fit *fit, size_t rank, const float *x)
{
    for (size_t j = 0; j < fit->hidden; j++) {
        out[j] = (double)fit->mean_y[j];
    }
    for (size_t i = 0; i < rank; i++) {
        double inner = 0;

        for (size_t j = 0; j < fit->hidden; j++) {
            inner += (double)fit->v[i * fit->hidden + j] *
                     ((double)x[j] - (double)fit->mean_x[j]);
        }
        for (size_t j = 0; j < fit->hidden; j++) {
            out[j] += (double)fit->u[i * fit->hidden + j] * inner;
        }
    }
}

/* sum w |y - kept neurons - U V x - b|^2, row by row. `down` is [candidates][hidden].
 */
static inline double fit_error(const struct ce_fit *fit,
                               size_t rank,
                               const struct sample *s,
                               const struct ce_fit_neurons *neurons)
{
    double *mapped = calloc(s->hidden, sizeof(*mapped));
    double error = 0;

    for (size_t row = 0; row < s->rows; row++) {
        const double a = (double)s->weights[row];

        fit_apply(mapped, fit, rank, s->x + row * s->hidden);
        for (size_t k = 0; neurons != NULL && k < neurons->count; k++) {
            const double h = sample_input(s, row, s->hidden + neurons->kept[k]);

            for (size_t j = 0; j < s->hidden; j++) {
                mapped[j] +=
                    h * (double)neurons->down[neurons->kept[k] * s->hidden + j];
            }
        }
        for (size_t j = 0; j < s->hidden; j++) {
            const double left = (double)s->y[row * s->hidden + j] - mapped[j];

            error += a * a * left * left;
        }
    }
    free(mapped);
    return error;
}

#endif
