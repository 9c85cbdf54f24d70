/* Conjugate gradients against elimination; exact sums in any order. */

#include "base/random.h"
#include "calibrate/conjugate.h"
#include "calibrate/exact.h"
#include "elimination.h"
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 30, UNKNOWNS = 12 };

static double draw(uint64_t series, size_t i)
{
    return 2 * ce_random_unit(series, i, 0) - 1;
}

static double a[ROWS][UNKNOWNS];
static double r[ROWS];

static void make_problem(void)
{
    for (size_t i = 0; i < ROWS; i++) {
        r[i] = draw(1, i);
        for (size_t j = 0; j < UNKNOWNS; j++) {
            a[i][j] = draw(2, i * UNKNOWNS + j) * (double)(1 + j);
        }
    }
}

static void multiply(const double *x, double *y)
{
    memset(y, 0, UNKNOWNS * sizeof(*y));
    for (size_t i = 0; i < ROWS; i++) {
        double sum = 0;

        for (size_t j = 0; j < UNKNOWNS; j++) {
            sum += a[i][j] * x[j];
        }
        for (size_t j = 0; j < UNKNOWNS; j++) {
            y[j] += a[i][j] * sum;
        }
    }
}

static double objective(const double *x, double lambda)
{
    double sum = 0;

    for (size_t i = 0; i < ROWS; i++) {
        double rest = r[i];

        for (size_t j = 0; j < UNKNOWNS; j++) {
            rest -= a[i][j] * x[j];
        }
        sum += rest * rest;
    }
    for (size_t j = 0; j < UNKNOWNS; j++) {
        sum += lambda * x[j] * x[j];
    }
    return sum;
}

/* x of (A^T A + lambda) x = A^T r by elimination. */
static void eliminate(double lambda, double *x)
{
    double m[UNKNOWNS][UNKNOWNS + 1] = {{0}};

    for (size_t i = 0; i < UNKNOWNS; i++) {
        for (size_t t = 0; t < ROWS; t++) {
            for (size_t j = 0; j < UNKNOWNS; j++) {
                m[i][j] += a[t][i] * a[t][j];
            }
            m[i][UNKNOWNS] += a[t][i] * r[t];
        }
        m[i][i] += lambda;
    }
    eliminate_rows(&m[0][0], UNKNOWNS, x);
}

static void open_conjugate(struct ce_conjugate *conjugate, struct ce_arena *arena)
{
    struct ce_error err = {.text = ""};
    struct ce_arena measure;

    *conjugate = (struct ce_conjugate){.n = UNKNOWNS};
    ce_arena_measure(&measure);
    (void)ce_conjugate_take(conjugate, &measure);
    assert_int_equal(ce_arena_create(arena, measure.used, &err), CE_OK);
    assert_true(ce_conjugate_take(conjugate, arena));
}

static void finds_what_elimination_finds(void **state)
{
    const double lambda = 0.7;
    struct ce_conjugate conjugate;
    struct ce_arena arena;
    double right[UNKNOWNS] = {0};
    double product[UNKNOWNS];
    double wanted[UNKNOWNS];

    (void)state;
    make_problem();
    eliminate(lambda, wanted);
    open_conjugate(&conjugate, &arena);
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t j = 0; j < UNKNOWNS; j++) {
            right[j] += a[i][j] * r[i];
        }
    }
    ce_conjugate_begin(&conjugate, right, lambda);
    for (size_t i = 0; i < UNKNOWNS; i++) {
        const double before = objective(conjugate.x, lambda);

        multiply(conjugate.direction, product);
        assert_true(ce_conjugate_step(&conjugate, product));
        /* What a step says it gained is what it gained. */
        assert_true(
            fabs(before - objective(conjugate.x, lambda) - conjugate.last_gain) < 1e-9);
    }
    for (size_t j = 0; j < UNKNOWNS; j++) {
        assert_true(fabs(conjugate.x[j] - wanted[j]) < 1e-6);
    }
    assert_true(ce_conjugate_is_done(&conjugate,
                                     1.01 * conjugate.last_gain / conjugate.gained));
    assert_false(ce_conjugate_is_done(&conjugate,
                                      0.99 * conjugate.last_gain / conjugate.gained));
    ce_arena_destroy(&arena);
}

static void has_nothing_to_do_without_a_right_side(void **state)
{
    const double zero[UNKNOWNS] = {0};
    struct ce_conjugate conjugate;
    struct ce_arena arena;

    (void)state;
    open_conjugate(&conjugate, &arena);
    ce_conjugate_begin(&conjugate, zero, 1.0);
    assert_false(ce_conjugate_step(&conjugate, zero));
    for (size_t j = 0; j < UNKNOWNS; j++) {
        assert_true(conjugate.x[j] == 0.0);
    }
    ce_arena_destroy(&arena);
}

/* ---- exact sums ---- */

enum { VALUES = 1000 };

static void sums_do_not_depend_on_order(void **state)
{
    struct ce_exact forward = {0, 0};
    struct ce_exact backward = {0, 0};
    struct ce_exact parts[3] = {{0, 0}, {0, 0}, {0, 0}};
    long double wanted = 0;

    (void)state;
    for (size_t i = 0; i < VALUES; i++) {
        /* Of sizes from 2^-40 to 2^31, of both signs. */
        const double value = ldexp(draw(3, i), (int)(i % 72) - 40);
        const double other =
            ldexp(draw(3, VALUES - 1 - i), (int)((VALUES - 1 - i) % 72) - 40);

        wanted += (long double)value;
        assert_true(ce_exact_add(&forward, value));
        assert_true(ce_exact_add(&backward, other));
        assert_true(ce_exact_add(&parts[i % 3], value));
    }
    ce_exact_merge(&parts[0], parts[2]);
    ce_exact_merge(&parts[0], parts[1]);
    assert_memory_equal(&forward, &backward, sizeof(forward));
    assert_memory_equal(&forward, &parts[0], sizeof(forward));
    assert_true(fabsl((long double)ce_exact_value(forward) - wanted) <
                1e-15L * fabsl(wanted) + 1e-15L);
}

static void sums_of_opposites_are_zero(void **state)
{
    static const double values[] = {1.0, -1.0, 0x1p-60, -0x1p-60, 0x1.8p31, -0x1.8p31};
    struct ce_exact sum = {0, 0};

    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        assert_true(ce_exact_add(&sum, values[i]));
        assert_true(ce_exact_value(sum) == (i % 2 == 0 ? values[i] : 0.0));
    }
}

static void what_does_not_fit_is_refused(void **state)
{
    struct ce_exact sum = {5, 0};

    (void)state;
    assert_false(ce_exact_add(&sum, CE_EXACT_LIMIT));
    assert_false(ce_exact_add(&sum, -CE_EXACT_LIMIT));
    assert_false(ce_exact_add(&sum, (double)NAN));
    assert_false(ce_exact_add(&sum, (double)INFINITY));
    assert_int_equal(sum.low, 5);
    assert_int_equal(sum.high, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_elimination_finds),
        cmocka_unit_test(has_nothing_to_do_without_a_right_side),
        cmocka_unit_test(sums_do_not_depend_on_order),
        cmocka_unit_test(sums_of_opposites_are_zero),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
