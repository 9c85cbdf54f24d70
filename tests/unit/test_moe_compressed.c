/* Theta against its definition in double precision, and its corner cases. */

#include "base/random.h"
#include "moe/compressed.h"
#include "test.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { EXPERTS = 8, HIDDEN = 24, INTERMEDIATE = 16, WIDTH = 24, MOST = 6 };

struct theta {
    float one[HIDDEN];
    float two[INTERMEDIATE];
    float three[HIDDEN];
};

static float table_data[EXPERTS][3][WIDTH];

static const struct ce_compressed_table no_table = {
    .width = WIDTH, .hidden = HIDDEN, .intermediate = INTERMEDIATE};

static struct ce_compressed_table table(void)
{
    struct ce_compressed_table t = no_table;

    t.data = &table_data[0][0][0];
    return t;
}

static void fill_table(float center, float spread)
{
    for (size_t i = 0; i < sizeof(table_data) / sizeof(float); i++) {
        (&table_data[0][0][0])[i] =
            center + spread * (float)(2 * ce_random_unit(1, i, 0) - 1);
    }
}

static unsigned compute(const struct ce_compressed_table *t,
                        const struct ce_pair *pair,
                        size_t count,
                        struct theta *theta)
{
    memset(theta, 0xff, sizeof(*theta)); /* NaN: what is not written shows */
    return ce_compressed_theta(t, pair, count, theta->one, theta->two, theta->three);
}

static void random_pairs(struct ce_pair *pair, size_t count, uint64_t seed)
{
    for (size_t j = 0; j < count; j++) {
        pair[j] = (struct ce_pair){
            .expert = (uint16_t)(ce_random_unit(seed, j, 0) * EXPERTS),
            .position = (uint16_t)j,
            .weight = (float)(0.001 + ce_random_unit(seed, j, 1)),
        };
    }
}

/* sum_j a_j / sum a * table[j][row][i] */
static double oracle(const struct ce_pair *pair, size_t count, size_t row, size_t i)
{
    double sum = 0;
    double value = 0;

    for (size_t j = 0; j < count; j++) {
        sum += (double)pair[j].weight;
        value += (double)pair[j].weight * (double)table_data[pair[j].expert][row][i];
    }
    return value / sum;
}

static void assert_ones(const float *row, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_true(fabsf(row[i] - 1) <= 4 * FLT_EPSILON);
    }
}

static void agrees_with_double_precision(void **state)
{
    (void)state;
    struct ce_compressed_table t = table();

    fill_table(1, 0.5F);
    for (uint64_t seed = 0; seed < 100; seed++) {
        size_t count = 1 + seed % MOST;
        struct ce_pair pair[MOST];
        struct theta theta;

        random_pairs(pair, count, seed);
        assert_int_equal(compute(&t, pair, count, &theta), 0);
        for (size_t i = 0; i < HIDDEN; i++) {
            assert_true(fabs((double)theta.one[i] - oracle(pair, count, 0, i)) < 1e-6);
            assert_true(fabs((double)theta.three[i] - oracle(pair, count, 2, i)) <
                        1e-6);
        }
        for (size_t i = 0; i < INTERMEDIATE; i++) {
            assert_true(fabs((double)theta.two[i] - oracle(pair, count, 1, i)) < 1e-6);
        }
    }
}

/* The normalised weights may miss 1 together by a few roundings, no more. */
static void a_table_of_ones_gives_one_to_rounding(void **state)
{
    (void)state;
    struct ce_compressed_table t = table();

    fill_table(1, 0);
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct ce_pair pair[MOST];
        struct theta theta;

        random_pairs(pair, MOST, seed);
        assert_int_equal(compute(&t, pair, MOST, &theta), 0);
        assert_ones(theta.one, HIDDEN);
        assert_ones(theta.two, INTERMEDIATE);
        assert_ones(theta.three, HIDDEN);
    }
}

static void no_table_has_the_bits_of_a_table_of_ones(void **state)
{
    (void)state;
    struct ce_compressed_table t = table();

    fill_table(1, 0);
    for (uint64_t seed = 0; seed < 100; seed++) {
        size_t count = 1 + seed % MOST;
        struct ce_pair pair[MOST];
        struct theta with;
        struct theta without;

        random_pairs(pair, count, seed);
        assert_int_equal(compute(&t, pair, count, &with), 0);
        assert_int_equal(compute(&no_table, pair, count, &without), 0);
        assert_memory_equal(&with, &without, sizeof(with));
    }
}

static void one_auxiliary_expert_gives_its_own_vectors(void **state)
{
    (void)state;
    struct ce_compressed_table t = table();
    struct ce_pair pair = {.expert = 5, .position = 3, .weight = 1e-30F};
    struct theta theta;

    fill_table(1, 0.5F);
    assert_int_equal(compute(&t, &pair, 1, &theta), 0);
    assert_memory_equal(theta.one, table_data[5][0], sizeof(theta.one));
    assert_memory_equal(theta.two, table_data[5][1], sizeof(theta.two));
    assert_memory_equal(theta.three, table_data[5][2], sizeof(theta.three));
}

/* Probabilities of a very sure router underflow to 0: no division by it. */
static void weights_that_vanish_give_the_plain_mean_and_say_so(void **state)
{
    (void)state;
    struct ce_compressed_table t = table();
    struct ce_pair vanished[] = {{1, 2, 0.0F}, {6, 3, 0.0F}};
    struct ce_pair equal[] = {{1, 2, 0.125F}, {6, 3, 0.125F}};
    struct theta got;
    struct theta wanted;

    fill_table(1, 0.5F);
    assert_int_equal(compute(&t, vanished, 2, &got), 1);
    assert_int_equal(compute(&t, equal, 2, &wanted), 0);
    assert_memory_equal(&got, &wanted, sizeof(got));
}

static void the_smallest_weights_are_still_weights(void **state)
{
    (void)state;
    struct ce_compressed_table t = table();
    struct ce_pair pair[] = {{1, 2, 3 * FLT_TRUE_MIN}, {6, 3, FLT_TRUE_MIN}};
    struct theta theta;

    fill_table(1, 0.5F);
    assert_int_equal(compute(&t, pair, 2, &theta), 0);
    for (size_t i = 0; i < HIDDEN; i++) {
        assert_true(fabs((double)theta.one[i] - oracle(pair, 2, 0, i)) < 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_double_precision),
        cmocka_unit_test(a_table_of_ones_gives_one_to_rounding),
        cmocka_unit_test(no_table_has_the_bits_of_a_table_of_ones),
        cmocka_unit_test(one_auxiliary_expert_gives_its_own_vectors),
        cmocka_unit_test(weights_that_vanish_give_the_plain_mean_and_say_so),
        cmocka_unit_test(the_smallest_weights_are_still_weights),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
