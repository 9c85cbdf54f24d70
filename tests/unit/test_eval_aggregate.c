#include "eval/aggregate.h"
#include "test.h"

#include <math.h>

#define COUNT  ((size_t)3)
#define COPIES ((size_t)10000)

static const double value[COUNT] = {-1.5, -2.25, -0.5};
static const double weight[COUNT] = {3, 5, 2};

static const enum ce_aggregation every[] = {CE_AGGREGATE_MEAN,
                                            CE_AGGREGATE_PERPLEXITY,
                                            CE_AGGREGATE_WEIGHTED_PERPLEXITY,
                                            CE_AGGREGATE_BITS_PER_BYTE};

#define KINDS (sizeof(every) / sizeof(every[0]))

static void linear_values_have_the_aggregate_as_mean(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        double linear[COUNT];
        double expected = ce_aggregate(every[i], value, weight, COUNT);

        ce_aggregate_linearise(every[i], value, weight, COUNT, linear);
        assert_true(fabs(ce_aggregate_mean(linear, COUNT) - expected) < 1e-14);
    }
}

/* linear - aggregate is how fast the aggregate moves as one document gets more share:
 * here all are there many times, and one of them once more. */
static void linear_values_are_derivatives(void **state)
{
    (void)state;
    static double values[COUNT * COPIES + 1];
    static double weights[COUNT * COPIES + 1];

    for (size_t i = 0; i < COUNT * COPIES; i++) {
        values[i] = value[i % COUNT];
        weights[i] = weight[i % COUNT];
    }
    for (size_t kind = 0; kind < KINDS; kind++) {
        double linear[COUNT];
        double before = ce_aggregate(every[kind], value, weight, COUNT);

        ce_aggregate_linearise(every[kind], value, weight, COUNT, linear);
        for (size_t i = 0; i < COUNT; i++) {
            values[COUNT * COPIES] = value[i];
            weights[COUNT * COPIES] = weight[i];
            double after =
                ce_aggregate(every[kind], values, weights, COUNT * COPIES + 1);
            double speed = (after - before) * (double)(COUNT * COPIES + 1);

            assert_true(fabs(speed - (linear[i] - before)) < 1e-3);
        }
    }
}

static void an_error_needs_documents_and_draws(void **state)
{
    (void)state;
    struct ce_maybe error = {.known = true};
    struct ce_error err;

    for (size_t i = 0; i < KINDS; i++) {
        assert_int_equal(ce_aggregate_error(every[i], value, 1, 1000, &error, &err),
                         CE_OK);
        assert_false(error.known);
        assert_int_equal(ce_aggregate_error(every[i], value, COUNT, 0, &error, &err),
                         CE_OK);
        assert_false(error.known);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_values_have_the_aggregate_as_mean),
        cmocka_unit_test(linear_values_are_derivatives),
        cmocka_unit_test(an_error_needs_documents_and_draws),
    };

    return cmocka_run_group_tests_name("eval.aggregate", tests, NULL, NULL);
}
