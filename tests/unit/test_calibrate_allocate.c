#include "base/random.h"
#include "calibrate/allocate.h"
#include "test.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum {
    ITEMS = 4,
    CHOICES = 5,
};

struct problem {
    struct ce_allocate_choice choices[ITEMS][CHOICES];
    struct ce_allocate_item items[ITEMS];
};

static double random_of(uint64_t key, size_t i, size_t j)
{
    return ce_random_unit(key, i, j);
}

/* Convex: falling steps of equal bytes, each saving less. Not convex: any values. */
static void problem_create(struct problem *p, uint64_t key, bool convex)
{
    for (size_t i = 0; i < ITEMS; i++) {
        double error = 100 * (1 + random_of(key, i, 99));
        double saved = 30;

        for (size_t j = 0; j < CHOICES; j++) {
            p->choices[i][j] = (struct ce_allocate_choice){
                .bytes = 4 + 8 * j, .error = error, .rank = j};
            saved *= 0.3 + 0.6 * random_of(key, i, j);
            error = convex ? error - saved : 100 * random_of(key, i, j + 50);
        }
        p->items[i] = (struct ce_allocate_item){.choices = p->choices[i],
                                                .count = CHOICES,
                                                .factor = 0.5 + random_of(key, i, 98)};
    }
}

/* The least error within the budget, of all 5^4 ways. */
static double brute_force(const struct problem *p, uint64_t budget)
{
    double least = INFINITY;

    for (size_t way = 0; way < (size_t)CHOICES * CHOICES * CHOICES * CHOICES; way++) {
        size_t rest = way;
        uint64_t bytes = 0;
        double error = 0;

        for (size_t i = 0; i < ITEMS; i++) {
            const struct ce_allocate_choice *choice = &p->choices[i][rest % CHOICES];

            rest /= CHOICES;
            bytes += choice->bytes;
            error += choice->error * p->items[i].factor;
        }
        if (bytes <= budget && error < least) {
            least = error;
        }
    }
    return least;
}

static struct ce_allocate_sum allocate(struct problem *p, uint64_t budget)
{
    struct ce_allocate_sum sum;
    struct ce_error err;
    uint64_t bytes = 0;
    double error = 0;

    assert_int_equal(ce_allocate_budget(p->items, ITEMS, budget, &sum, &err), CE_OK);
    for (size_t i = 0; i < ITEMS; i++) {
        bytes += p->choices[i][p->items[i].chosen].bytes;
        error += p->choices[i][p->items[i].chosen].error * p->items[i].factor;
    }
    assert_int_equal(sum.bytes, bytes);
    assert_true(fabs(sum.error - error) < 1e-9);
    assert_true(bytes <= budget);
    return sum;
}

static void convex_curves_of_equal_steps_get_the_best_there_is(void **state)
{
    (void)state;
    for (uint64_t key = 0; key < 20; key++) {
        struct problem p;

        problem_create(&p, key, true);
        for (uint64_t budget = 16; budget <= 16 + 8 * 16 + 8; budget += 3) {
            assert_true(fabs(allocate(&p, budget).error - brute_force(&p, budget)) <
                        1e-9);
        }
    }
}

/* Any curves: never worse with more, the best where the hull has a corner, and no more
 * than one step of one expert from the best in between. */
static void any_curves_get_nearly_the_best(void **state)
{
    (void)state;
    for (uint64_t key = 100; key < 140; key++) {
        struct problem p;
        double last = INFINITY;

        problem_create(&p, key, false);
        for (uint64_t budget = 16; budget <= 160; budget++) {
            const struct ce_allocate_sum sum = allocate(&p, budget);
            const uint64_t longest = 8 * (uint64_t)(CHOICES - 1);

            assert_true(sum.error <= last + 1e-9);
            last = sum.error;
            assert_true(sum.error >= brute_force(&p, budget) - 1e-9);
            if (budget >= 16 + longest) {
                assert_true(sum.error <= brute_force(&p, budget - longest) + 1e-9);
            }
        }
        assert_true(fabs(last - brute_force(&p, 160)) < 1e-9);
    }
}

/* Errors of held-out rows rise again at the end: those ranks are never bought. */
static void ranks_that_make_it_worse_are_not_taken(void **state)
{
    static const struct ce_allocate_choice choices[] = {
        {.bytes = 10, .error = 5, .rank = 0},
        {.bytes = 20, .error = 6, .rank = 1},
        {.bytes = 30, .error = 3, .rank = 2},
        {.bytes = 40, .error = 3, .rank = 3},
        {.bytes = 50, .error = 4, .rank = 4},
    };
    struct ce_allocate_item item = {.choices = choices, .count = 5, .factor = 1};
    struct ce_allocate_sum sum;
    struct ce_error err;

    (void)state;
    assert_int_equal(ce_allocate_budget(&item, 1, 1000, &sum, &err), CE_OK);
    assert_int_equal(item.chosen, 2);
    assert_int_equal(ce_allocate_budget(&item, 1, 29, &sum, &err), CE_OK);
    assert_int_equal(item.chosen, 0);
}

static void equal_experts_are_served_in_their_order(void **state)
{
    static const struct ce_allocate_choice choices[] = {
        {.bytes = 10, .error = 5},
        {.bytes = 20, .error = 4},
    };
    struct ce_allocate_item items[3];
    struct ce_allocate_sum sum;
    struct ce_error err;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        items[i] =
            (struct ce_allocate_item){.choices = choices, .count = 2, .factor = 1};
    }
    assert_int_equal(ce_allocate_budget(items, 3, 50, &sum, &err), CE_OK);
    assert_int_equal(items[0].chosen, 1);
    assert_int_equal(items[1].chosen, 1);
    assert_int_equal(items[2].chosen, 0);
}

static void a_layer_that_matters_more_comes_first(void **state)
{
    struct problem p;
    struct ce_allocate_sum sum;

    (void)state;
    problem_create(&p, 7, true);
    p.items[3].factor = 1000;
    sum = allocate(&p, 16 + 8 * 4);
    assert_int_equal(p.items[3].chosen, 4);
    assert_int_equal(sum.bytes, 48);
}

static void a_budget_below_the_constants_is_refused(void **state)
{
    struct problem p;
    struct ce_allocate_sum sum;
    struct ce_error err;

    (void)state;
    problem_create(&p, 1, true);
    assert_int_equal(ce_allocate_budget(p.items, ITEMS, 15, &sum, &err), CE_ERR_ARG);
    assert_non_null(strstr(err.text, "15 bytes"));
    assert_non_null(strstr(err.text, " 16 of their constants"));
    p.choices[2][3].error = NAN;
    assert_int_equal(ce_allocate_budget(p.items, ITEMS, 99, &sum, &err),
                     CE_ERR_NUMERIC);
}

static void one_rank_for_all(void **state)
{
    static const struct ce_allocate_choice choices[] = {
        {.bytes = 10, .error = 5, .rank = 0, .neurons = 0},
        {.bytes = 30, .error = 2, .rank = 2, .neurons = 0},
        {.bytes = 20, .error = 4, .rank = 1, .neurons = 0},
        {.bytes = 80, .error = 1, .rank = 1, .neurons = 4},
        {.bytes = 70, .error = 1, .rank = 0, .neurons = 4},
    };
    struct ce_allocate_item items[2] = {
        {.choices = choices, .count = 5, .factor = 2},
        {.choices = choices, .count = 1, .factor = 1}, /* a constant is all it has */
    };
    struct ce_allocate_sum sum;

    (void)state;
    ce_allocate_uniform(items, 2, 2, 0, &sum);
    assert_int_equal(items[0].chosen, 1);
    assert_int_equal(items[1].chosen, 0);
    assert_int_equal(sum.bytes, 40);
    assert_true(sum.error == 9);
    ce_allocate_uniform(items, 2, 1, 5, &sum);
    assert_int_equal(items[0].chosen, 3);
    ce_allocate_uniform(items, 2, 64, 0, &sum);
    assert_int_equal(items[0].chosen, 1);
}

/* U V b, gate up down of OLMoE in BF16. */
static void bytes_are_those_of_the_tensors(void **state)
{
    (void)state;
    assert_int_equal(ce_allocate_bytes(2048, 0, 0), 4096);
    assert_int_equal(ce_allocate_bytes(2048, 32, 0), 4096 + 2 * 32 * 2048 * 2);
    assert_int_equal(ce_allocate_bytes(2048, 32, 8), 4096 + 262144 + 3 * 8 * 2048 * 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convex_curves_of_equal_steps_get_the_best_there_is),
        cmocka_unit_test(any_curves_get_nearly_the_best),
        cmocka_unit_test(ranks_that_make_it_worse_are_not_taken),
        cmocka_unit_test(equal_experts_are_served_in_their_order),
        cmocka_unit_test(a_layer_that_matters_more_comes_first),
        cmocka_unit_test(a_budget_below_the_constants_is_refused),
        cmocka_unit_test(one_rank_for_all),
        cmocka_unit_test(bytes_are_those_of_the_tensors),
    };

    return cmocka_run_group_tests_name("calibrate.allocate", tests, NULL, NULL);
}
