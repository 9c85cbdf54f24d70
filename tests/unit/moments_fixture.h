/* moments_fixture.h - random rows of an expert, and what sums over them are, one by one
 */

#ifndef CE_TESTS_UNIT_MOMENTS_FIXTURE_H
#define CE_TESTS_UNIT_MOMENTS_FIXTURE_H

#include "base/random.h"
#include "calibrate/moments.h"
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct sample {
    size_t rows;
    size_t hidden;
    size_t neurons; /* all of them are candidates, in reverse */
    float *x;       /* [rows][hidden] */
    float *y;       /* [rows][hidden] */
    float *h;       /* [rows][neurons] */
    float *weights; /* [rows] */
    uint32_t *candidates;
};

static inline double sample_random(uint64_t key, size_t at)
{
    return 2 * ce_random_unit(key, at, 0) - 1;
}

/* Values around 3, so that means matter, of x, y and h that are not independent. */
static inline struct sample
sample_create(uint64_t key, size_t rows, size_t hidden, size_t neurons)
{
    struct sample s = {.rows = rows, .hidden = hidden, .neurons = neurons};

    s.x = calloc(rows * hidden + 1, sizeof(float));
    s.y = calloc(rows * hidden + 1, sizeof(float));
    s.h = calloc(rows * neurons + 1, sizeof(float));
    s.weights = calloc(rows + 1, sizeof(float));
    s.candidates = calloc(neurons + 1, sizeof(uint32_t));
    for (size_t i = 0; i < rows; i++) {
        float *x = s.x + i * hidden;

        for (size_t j = 0; j < hidden; j++) {
            x[j] = (float)(3 + sample_random(key, i * hidden + j));
        }
        for (size_t j = 0; j < neurons; j++) {
            s.h[i * neurons + j] = x[j % hidden] * x[(j + 1) % hidden];
        }
        for (size_t j = 0; j < hidden; j++) {
            const double noise = sample_random(key + 1, i * hidden + j);

            s.y[i * hidden + j] =
                (float)((double)x[j] + 2 * (double)x[(j + 2) % hidden] + noise);
        }
        s.weights[i] = (float)(0.6 + 0.4 * sample_random(key + 2, i));
    }
    for (size_t j = 0; j < neurons; j++) {
        s.candidates[j] = (uint32_t)(neurons - 1 - j);
    }
    return s;
}

static inline void sample_destroy(struct sample *s)
{
    free(s->x);
    free(s->y);
    free(s->h);
    free(s->weights);
    free(s->candidates);
}

static inline struct ce_moments_rows
sample_rows(const struct sample *s, size_t first, size_t count)
{
    return (struct ce_moments_rows){
        .rows = count,
        .x = s->x + first * s->hidden,
        .x_stride = s->hidden,
        .y = s->y + first * s->hidden,
        .y_stride = s->hidden,
        .weights = s->weights + first,
        .h = s->neurons > 0 ? s->h + first * s->neurons : NULL,
        .h_stride = s->neurons,
        .candidates = s->candidates,
    };
}

/* Input `i` of a row: x, then the candidates. */
static inline double sample_input(const struct sample *s, size_t row, size_t i)
{
    return i < s->hidden
               ? (double)s->x[row * s->hidden + i]
               : (double)s->h[row * s->neurons + s->candidates[i - s->hidden]];
}

/* Moments in an arena of their own. */
struct moments_home {
    struct ce_arena arena;
    struct ce_moments moments;
};

static inline void
moments_create(struct moments_home *home, size_t hidden, size_t neurons)
{
    struct ce_error err;

    ce_arena_measure(&home->arena);
    (void)ce_moments_take(&home->moments, hidden, neurons, &home->arena);
    assert_int_equal(ce_arena_create(&home->arena, home->arena.used, &err), CE_OK);
    assert_true(ce_moments_take(&home->moments, hidden, neurons, &home->arena));
}

static inline void moments_destroy(struct moments_home *home)
{
    ce_arena_destroy(&home->arena);
}

/* Adds rows `first` to `first + count`, `chunk` a call. */
static inline void moments_add(struct ce_moments *moments,
                               const struct sample *s,
                               size_t first,
                               size_t count,
                               size_t chunk)
{
    float *scratch = calloc(ce_moments_scratch(moments, chunk) + 1, sizeof(float));
    struct ce_error err;

    for (size_t at = 0; at < count; at += chunk) {
        const size_t n = count - at < chunk ? count - at : chunk;
        const struct ce_moments_rows rows = sample_rows(s, first + at, n);

        assert_int_equal(ce_moments_add(moments, &rows, scratch, &err), CE_OK);
    }
    free(scratch);
}

/* All of a sample in chunks of 64. */
static inline void moments_of(struct moments_home *home, const struct sample *s)
{
    moments_create(home, s->hidden, s->neurons);
    moments_add(&home->moments, s, 0, s->rows, 64);
}

static inline void assert_near(double found, double wanted, double tolerance)
{
    if (!(fabs(found - wanted) <= tolerance * (1 + fabs(wanted)))) {
        fail_msg("%.9g is not %.9g", found, wanted);
    }
}

#endif
