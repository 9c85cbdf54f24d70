#include "moments_fixture.h"

#include <omp.h>

enum {
    HIDDEN = 70, /* two strips */
    NEURONS = 5,
    ROWS = 300,
};

/* sum w, sum w in, sum w out, or their products about the origins. */
static double
direct_xx(const struct sample *s, const struct ce_moments *m, size_t i, size_t j)
{
    double sum = 0;

    for (size_t row = 0; row < s->rows; row++) {
        const double a = (double)s->weights[row];

        sum += a * a * (sample_input(s, row, i) - (double)m->origin_x[i]) *
               (sample_input(s, row, j) - (double)m->origin_x[j]);
    }
    return sum;
}

static double
direct_xy(const struct sample *s, const struct ce_moments *m, size_t i, size_t j)
{
    double sum = 0;

    for (size_t row = 0; row < s->rows; row++) {
        const double a = (double)s->weights[row];

        sum += a * a * (sample_input(s, row, i) - (double)m->origin_x[i]) *
               ((double)s->y[row * s->hidden + j] - (double)m->origin_y[j]);
    }
    return sum;
}

static void assert_products(const struct sample *s, const struct ce_moments *m)
{
    for (size_t i = 0; i < m->inputs; i++) {
        for (size_t j = i; j < m->inputs; j++) {
            assert_near(m->xx[i * m->inputs + j], direct_xx(s, m, i, j), 1e-4);
        }
        for (size_t j = 0; j < m->hidden; j++) {
            assert_near(m->xy[i * m->hidden + j], direct_xy(s, m, i, j), 1e-4);
        }
    }
}

static void assert_sums(const struct sample *s, const struct ce_moments *m)
{
    double weight = 0;
    double squares = 0;
    double sum_x = 0;
    double sum_y = 0;
    double yy = 0;
    double total = 0;

    for (size_t row = 0; row < s->rows; row++) {
        const double w = (double)s->weights[row] * (double)s->weights[row];

        weight += w;
        squares += w * w;
        sum_x +=
            w * (sample_input(s, row, HIDDEN + 1) - (double)m->origin_x[HIDDEN + 1]);
        sum_y += w * ((double)s->y[row * HIDDEN + 3] - (double)m->origin_y[3]);
        for (size_t j = 0; j < HIDDEN; j++) {
            const double y = (double)s->y[row * HIDDEN + j];
            const double from = y - (double)m->origin_y[j];

            yy += w * from * from;
            total += w * y * y;
        }
    }
    assert_int_equal(m->rows, s->rows);
    assert_near(m->weight, weight, 1e-12);
    assert_near(m->weight_squares, squares, 1e-12);
    assert_near(ce_moments_effective_rows(m), weight * weight / squares, 1e-12);
    assert_near(m->sum_x[HIDDEN + 1], sum_x, 1e-5);
    assert_near(m->sum_y[3], sum_y, 1e-5);
    assert_near(m->yy, yy, 1e-6);
    assert_near(m->total, total, 1e-9);
}

static void sums_are_those_of_the_rows(void **state)
{
    struct sample s = sample_create(1, ROWS, HIDDEN, NEURONS);
    struct moments_home home;

    (void)state;
    moments_of(&home, &s);
    assert_sums(&s, &home.moments);
    assert_products(&s, &home.moments);
    moments_destroy(&home);
    sample_destroy(&s);
}

/* The origin is the weighted mean of the first 64 rows. */
static void origins_are_the_means_of_the_first_rows(void **state)
{
    struct sample s = sample_create(2, ROWS, HIDDEN, 0);
    struct moments_home home;
    double sum = 0;
    double weight = 0;

    (void)state;
    for (size_t row = 0; row < 64; row++) {
        const double w = (double)s.weights[row] * (double)s.weights[row];

        sum += w * (double)s.y[row * HIDDEN + 69];
        weight += w;
    }
    moments_of(&home, &s);
    assert_near(home.moments.origin_y[69], sum / weight, 1e-6);
    moments_destroy(&home);
    sample_destroy(&s);
}

/* Without origins this would lose all digits: deviations of 1 around 1e4. */
static void values_far_from_zero_keep_their_digits(void **state)
{
    struct sample s = sample_create(3, ROWS, HIDDEN, 0);
    struct moments_home home;

    (void)state;
    for (size_t i = 0; i < s.rows * HIDDEN; i++) {
        s.x[i] += 10000;
        s.y[i] -= 10000;
    }
    moments_of(&home, &s);
    assert_products(&s, &home.moments);
    moments_destroy(&home);
    sample_destroy(&s);
}

static void merged_moments_are_those_of_all_rows(void **state)
{
    struct sample s = sample_create(4, ROWS, HIDDEN, NEURONS);
    struct moments_home one;
    struct moments_home two;
    struct moments_home none;

    (void)state;
    moments_create(&one, HIDDEN, NEURONS);
    moments_create(&two, HIDDEN, NEURONS);
    moments_create(&none, HIDDEN, NEURONS);
    moments_add(&one.moments, &s, 0, 100, 64);
    moments_add(&two.moments, &s, 100, ROWS - 100, 64);
    ce_moments_merge(&one.moments, &two.moments);
    ce_moments_merge(&one.moments, &none.moments);
    assert_sums(&s, &one.moments);
    assert_products(&s, &one.moments);
    ce_moments_merge(&none.moments, &one.moments); /* into an empty one: the same */
    assert_sums(&s, &none.moments);
    assert_products(&s, &none.moments);
    moments_destroy(&one);
    moments_destroy(&two);
    moments_destroy(&none);
    sample_destroy(&s);
}

static void cleared_moments_take_another_expert(void **state)
{
    struct sample s = sample_create(5, ROWS, HIDDEN, NEURONS);
    struct sample other = sample_create(6, 100, HIDDEN, NEURONS);
    struct moments_home home;

    (void)state;
    moments_of(&home, &other);
    ce_moments_clear(&home.moments);
    moments_add(&home.moments, &s, 0, ROWS, 64);
    assert_sums(&s, &home.moments);
    assert_products(&s, &home.moments);
    moments_destroy(&home);
    sample_destroy(&s);
    sample_destroy(&other);
}

static void the_mean_output_of_a_layer(void **state)
{
    struct sample s = sample_create(7, ROWS, HIDDEN, 0);
    struct moments_home home;
    double sum[HIDDEN] = {[5] = 2};
    double wanted = 2;

    (void)state;
    for (size_t row = 0; row < s.rows; row++) {
        const double a = (double)s.weights[row];

        wanted += a * a * (double)s.y[row * HIDDEN + 5];
    }
    moments_of(&home, &s);
    assert_near(ce_moments_add_outputs(&home.moments, sum), home.moments.weight, 0);
    assert_near(sum[5], wanted, 1e-6);
    moments_destroy(&home);
    sample_destroy(&s);
}

/* Rows of no weight count for nothing, as the first ones too. */
static void rows_without_weight_are_nothing(void **state)
{
    struct sample s = sample_create(8, ROWS, HIDDEN, 0);
    struct moments_home home;

    (void)state;
    moments_create(&home, HIDDEN, 0);
    for (size_t i = 0; i < 100; i++) {
        s.weights[i] = 0;
    }
    moments_add(&home.moments, &s, 0, 64, 64);
    assert_int_equal(home.moments.rows, 0);
    assert_true(home.moments.origin_x[0] == 0);
    moments_add(&home.moments, &s, 64, ROWS - 64, 64);
    assert_int_equal(home.moments.rows, ROWS - 100);
    assert_products(&s, &home.moments);
    moments_destroy(&home);
    sample_destroy(&s);
}

static void bits_do_not_depend_on_threads(void **state)
{
    enum { WIDE = 1100 }; /* tiles: three across, the last one narrow */
    struct sample s = sample_create(9, 96, WIDE, 0);
    struct moments_home one;
    struct moments_home more;
    const int threads = omp_get_max_threads();

    (void)state;
    omp_set_num_threads(1);
    moments_of(&one, &s);
    omp_set_num_threads(3);
    moments_of(&more, &s);
    omp_set_num_threads(threads);
    for (size_t i = 0; i < WIDE; i++) {
        assert_memory_equal(one.moments.xx + i * WIDE + i,
                            more.moments.xx + i * WIDE + i,
                            (WIDE - i) * sizeof(float));
    }
    assert_memory_equal(one.moments.xy, more.moments.xy, sizeof(float) * WIDE * WIDE);
    assert_memory_equal(one.moments.sum_x, more.moments.sum_x, sizeof(double) * WIDE);
    assert_true(one.moments.yy == more.moments.yy);
    moments_destroy(&one);
    moments_destroy(&more);
    sample_destroy(&s);
}

static void
expect_numeric(float *spoilt, float value, struct sample *s, const char *text)
{
    struct moments_home home;
    struct ce_error err;
    const struct ce_moments_rows rows = sample_rows(s, 0, 10);
    float *scratch = NULL;
    const float kept = *spoilt;

    moments_create(&home, s->hidden, s->neurons);
    scratch = calloc(ce_moments_scratch(&home.moments, 10), sizeof(float));
    *spoilt = value;
    assert_int_equal(ce_moments_add(&home.moments, &rows, scratch, &err),
                     CE_ERR_NUMERIC);
    assert_non_null(strstr(err.text, text));
    *spoilt = kept;
    free(scratch);
    moments_destroy(&home);
}

static void not_finite_rows_are_an_error(void **state)
{
    struct sample s = sample_create(10, 10, HIDDEN, NEURONS);

    (void)state;
    expect_numeric(&s.x[3 * HIDDEN + 69], NAN, &s, "inputs");
    expect_numeric(&s.x[HIDDEN], -INFINITY, &s, "inputs");
    expect_numeric(&s.h[2 * NEURONS + 1], INFINITY, &s, "activations");
    expect_numeric(&s.y[9 * HIDDEN + 1], NAN, &s, "outputs");
    expect_numeric(&s.weights[4], INFINITY, &s, "weights");
    sample_destroy(&s);
}

static void a_set_that_does_not_fit_is_refused(void **state)
{
    struct ce_arena arena;
    struct ce_error err;
    struct ce_moments moments;

    (void)state;
    ce_arena_measure(&arena);
    assert_false(ce_moments_take(&moments, HIDDEN, NEURONS, &arena));
    const size_t bytes = arena.used;

    assert_true(bytes >= sizeof(float) * (HIDDEN + NEURONS) * (2 * HIDDEN + NEURONS));
    assert_int_equal(ce_arena_create(&arena, bytes - 64, &err), CE_OK);
    assert_false(ce_moments_take(&moments, HIDDEN, NEURONS, &arena));
    ce_arena_destroy(&arena);
    ce_arena_measure(&arena);
    assert_false(ce_moments_take(&moments, SIZE_MAX / 2, 0, &arena));
    assert_true(arena.used == SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_the_rows),
        cmocka_unit_test(origins_are_the_means_of_the_first_rows),
        cmocka_unit_test(values_far_from_zero_keep_their_digits),
        cmocka_unit_test(merged_moments_are_those_of_all_rows),
        cmocka_unit_test(cleared_moments_take_another_expert),
        cmocka_unit_test(the_mean_output_of_a_layer),
        cmocka_unit_test(rows_without_weight_are_nothing),
        cmocka_unit_test(bits_do_not_depend_on_threads),
        cmocka_unit_test(not_finite_rows_are_an_error),
        cmocka_unit_test(a_set_that_does_not_fit_is_refused),
    };

    return cmocka_run_group_tests_name("calibrate.moments", tests, NULL, NULL);
}
