/* The router against softmax and top-k in double precision. */

#include "base/random.h"
#include "moe/router.h"
#include "test.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define MOST_EXPERTS 128

static const struct ce_kernels *kernels(void)
{
    return ce_kernels_get(CE_ISA_REF);
}

static void ties_go_to_the_lower_index(void **state)
{
    (void)state;
    float logits[] = {1, 3, 2, 3, 2, 3};
    uint16_t expert[5];
    float weight[5];

    ce_router_select(kernels(), logits, 6, 5, false, expert, weight);
    assert_int_equal(expert[0], 1);
    assert_int_equal(expert[1], 3);
    assert_int_equal(expert[2], 5);
    assert_int_equal(expert[3], 2);
    assert_int_equal(expert[4], 4);
    assert_true(weight[0] == weight[1] && weight[1] == weight[2]);
    assert_true(weight[2] > weight[3] && weight[3] == weight[4]);
}

static void all_equal_logits_take_the_first_experts(void **state)
{
    (void)state;
    float logits[16] = {0};
    uint16_t expert[16];
    float weight[16];

    ce_router_select(kernels(), logits, 16, 16, false, expert, weight);
    for (size_t i = 0; i < 16; i++) {
        assert_int_equal(expert[i], i);
        assert_true(weight[i] == 0.0625F);
    }
}

/* Far below the largest logit a probability is 0: still a choice, never twice. */
static void probabilities_of_zero_are_chosen_last_and_once(void **state)
{
    (void)state;
    float logits[] = {-500, -500, 0, -500};
    uint16_t expert[4];
    float weight[4];

    ce_router_select(kernels(), logits, 4, 4, true, expert, weight);
    assert_int_equal(expert[0], 2);
    assert_int_equal(expert[1], 0);
    assert_int_equal(expert[2], 1);
    assert_int_equal(expert[3], 3);
    assert_true(weight[0] == 1 && weight[1] == 0 && weight[3] == 0);
}

static void one_expert_of_one(void **state)
{
    (void)state;
    float logits[] = {-7};
    uint16_t expert;
    float weight;

    ce_router_select(kernels(), logits, 1, 1, true, &expert, &weight);
    assert_int_equal(expert, 0);
    assert_true(weight == 1);
}

static void probabilities_in_double(double *p, const float *logits, size_t n)
{
    double largest = -INFINITY;
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, (double)logits[i]);
    }
    for (size_t i = 0; i < n; i++) {
        p[i] = exp((double)logits[i] - largest);
        sum += p[i];
    }
    for (size_t i = 0; i < n; i++) {
        p[i] /= sum;
    }
}

/* The experts chosen, the order and the weights for one row of logits. */
static void check(const float *logits, size_t experts, size_t top_k, bool normalize)
{
    float copy[MOST_EXPERTS];
    double p[MOST_EXPERTS];
    uint16_t expert[MOST_EXPERTS];
    float weight[MOST_EXPERTS];
    bool chosen[MOST_EXPERTS] = {false};
    double sum = 0;

    memcpy(copy, logits, experts * sizeof(copy[0]));
    probabilities_in_double(p, logits, experts);
    ce_router_select(kernels(), copy, experts, top_k, normalize, expert, weight);
    for (size_t i = 0; i < top_k; i++) {
        assert_true(expert[i] < experts);
        assert_false(chosen[expert[i]]);
        assert_true(i == 0 || weight[i] <= weight[i - 1]);
        chosen[expert[i]] = true;
        sum += p[expert[i]];
    }
    for (size_t i = 0; i < top_k; i++) {
        double wanted = normalize ? p[expert[i]] / sum : p[expert[i]];

        assert_true(fabs((double)weight[i] - wanted) <= 4e-6 * wanted);
    }
    /* What was left out is not larger than the last that was taken. */
    for (size_t e = 0; e < experts; e++) {
        assert_true(chosen[e] || p[e] <= p[expert[top_k - 1]] * (1 + 4e-6));
    }
}

static void agrees_with_double_precision(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{16, 4}, {64, 8}, {64, 64}, {7, 3}, {128, 1}};

    for (uint64_t round = 0; round < 200; round++) {
        for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
            float logits[MOST_EXPERTS];

            for (size_t e = 0; e < sizes[s][0]; e++) {
                logits[e] = (float)(8 * ce_random_unit(round, s, e) - 4);
            }
            check(logits, sizes[s][0], sizes[s][1], false);
            check(logits, sizes[s][0], sizes[s][1], true);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ties_go_to_the_lower_index),
        cmocka_unit_test(all_equal_logits_take_the_first_experts),
        cmocka_unit_test(probabilities_of_zero_are_chosen_last_and_once),
        cmocka_unit_test(one_expert_of_one),
        cmocka_unit_test(agrees_with_double_precision),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
