/* Made-up routers: chances that sum to k, loads as the rules say, distinct experts, the
 * same whoever draws them. */

#include "routing.h"
#include "test.h"

#include <math.h>
#include <string.h>

#define EXPERTS 64
#define TOP_K   8
#define TOKENS  20000
#define SEED    7
#define LATER   ((size_t)500)

static uint16_t expert[TOKENS * TOP_K];
static float weight[TOKENS * TOP_K];

/* Chances of a rule; and how often each expert was among the first `mains`, per token.
 */
static void draw(const char *text, double *chance, double *load, size_t mains)
{
    struct ce_routing routing = {
        .tokens = TOKENS, .top_k = TOP_K, .expert = expert, .weight = weight};
    struct routing_rule rule;
    struct ce_error err;
    double sum = 0.0;

    assert_int_equal(routing_parse(&rule, text, &err), CE_OK);
    assert_int_equal(routing_chances(&rule, SEED, EXPERTS, TOP_K, chance, &err), CE_OK);
    routing_draw(&routing, chance, EXPERTS, SEED, 0);
    memset(load, 0, EXPERTS * sizeof(load[0]));
    for (size_t t = 0; t < TOKENS; t++) {
        for (size_t i = 0; i < mains; i++) {
            load[expert[t * TOP_K + i]] += 1.0 / TOKENS;
        }
    }
    for (size_t e = 0; e < EXPERTS; e++) {
        assert_true(chance[e] > 0.0 && chance[e] <= 1.0);
        sum += chance[e];
    }
    assert_true(fabs(sum - TOP_K) < 1e-9);
}

static void check_loads(const char *text)
{
    double chance[EXPERTS];
    double load[EXPERTS];

    for (size_t mains = TOP_K / 2; mains <= TOP_K; mains += TOP_K / 2) {
        draw(text, chance, load, mains);
        for (size_t e = 0; e < EXPERTS; e++) {
            const double wanted = chance[e] * (double)mains / TOP_K;

            /* Five deviations of a count, and what Pareto sampling is off. */
            assert_true(fabs(load[e] - wanted) <
                        5.0 * sqrt(wanted / TOKENS) + 0.01 * wanted);
        }
    }
}

static void test_loads_follow_chances(void **state)
{
    (void)state;
    check_loads("uniform");
    check_loads("imbalance:2");
    check_loads("imbalance:4");
    check_loads("zipf");
    check_loads("zipf:2");
}

static void test_first_expert_has_the_ratio(void **state)
{
    double chance[EXPERTS];
    double load[EXPERTS];

    (void)state;
    draw("imbalance:4", chance, load, TOP_K);
    assert_true(fabs(chance[0] - 4.0 * TOP_K / EXPERTS) < 1e-6);
    assert_true(chance[0] > chance[1] && chance[EXPERTS - 2] > chance[EXPERTS - 1]);
    draw("uniform", chance, load, TOP_K);
    for (size_t e = 0; e < EXPERTS; e++) {
        assert_true(fabs(chance[e] - (double)TOP_K / EXPERTS) < 1e-12);
    }
}

static void test_experts_differ_and_weights_fall(void **state)
{
    double chance[EXPERTS];
    double load[EXPERTS];

    (void)state;
    draw("zipf:2", chance, load, TOP_K);
    for (size_t t = 0; t < TOKENS; t++) {
        uint64_t seen = 0;
        float sum = 0.0F;

        for (size_t i = 0; i < TOP_K; i++) {
            const size_t at = t * TOP_K + i;

            assert_false(seen >> expert[at] & 1);
            seen |= UINT64_C(1) << expert[at];
            assert_true(i == 0 || weight[at] < weight[at - 1]);
            sum += weight[at];
        }
        assert_true(fabsf(sum - 1.0F) < 1e-6F);
    }
}

static void test_tokens_do_not_depend_on_who_draws_them(void **state)
{
    double chance[EXPERTS];
    double load[EXPERTS];
    uint16_t later[10 * TOP_K];
    float weights[10 * TOP_K];
    struct ce_routing routing = {
        .tokens = 10, .top_k = TOP_K, .expert = later, .weight = weights};

    (void)state;
    draw("imbalance:2", chance, load, TOP_K);
    routing_draw(&routing, chance, EXPERTS, SEED, LATER);
    assert_memory_equal(later, expert + LATER * TOP_K, sizeof(later));
    routing_draw(&routing, chance, EXPERTS, SEED + 1, LATER);
    assert_true(memcmp(later, expert + LATER * TOP_K, sizeof(later)) != 0);
}

static void test_refuses_what_is_no_rule(void **state)
{
    static const char *const wrong[] = {"",
                                        "zip",
                                        "uniform:2",
                                        "imbalance",
                                        "imbalance:",
                                        "imbalance:0.5",
                                        "imbalance:x",
                                        "imbalance:nan",
                                        "zipf:-1",
                                        "zipf:1000"};
    struct routing_rule rule;
    struct ce_error err;
    double chance[EXPERTS];

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(routing_parse(&rule, wrong[i], &err), CE_ERR_ARG);
    }
    assert_int_equal(routing_parse(&rule, "imbalance:9", &err), CE_OK);
    assert_int_equal(routing_chances(&rule, SEED, EXPERTS, TOP_K, chance, &err),
                     CE_ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loads_follow_chances),
        cmocka_unit_test(test_first_expert_has_the_ratio),
        cmocka_unit_test(test_experts_differ_and_weights_fall),
        cmocka_unit_test(test_tokens_do_not_depend_on_who_draws_them),
        cmocka_unit_test(test_refuses_what_is_no_rule),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
