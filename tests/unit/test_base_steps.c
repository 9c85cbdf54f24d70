/* The budget of steps of the searches in one text. */

#include "base/steps.h"
#include "test.h"

/* Searches that each need `steps`, until the budget is used up or `most` are done. */
static size_t count_searches(struct ce_steps *budget, unsigned long steps, size_t most)
{
    for (size_t i = 0; i < most; i++) {
        unsigned long limit = ce_steps_first(budget);

        while (limit > 0 && limit < steps) {
            limit = ce_steps_more(budget, limit);
        }
        if (limit == 0) {
            return i;
        }
    }
    return most;
}

static void short_searches_are_free(void **state)
{
    (void)state;
    struct ce_steps steps;

    ce_steps_begin(&steps, 0);
    assert_int_equal(count_searches(&steps, 60, 2000000), 2000000);
}

/* 2^25 steps for a text without bytes, three times as many for one of a MiB: a search
 * of 2^20 is charged a part of that. */
static void long_searches_use_the_budget_up(void **state)
{
    (void)state;
    struct ce_steps steps;

    ce_steps_begin(&steps, 0);
    size_t count = count_searches(&steps, 1UL << 20, 1000);

    assert_in_range(count, 32, 128);
    assert_int_equal(ce_steps_first(&steps), 0);
    ce_steps_begin(&steps, (size_t)1 << 20);
    assert_in_range(count_searches(&steps, 1UL << 20, 1000), 2 * count, 4 * count);
}

static void one_search_may_take_much_of_the_budget(void **state)
{
    (void)state;
    struct ce_steps steps;

    ce_steps_begin(&steps, 0);
    assert_int_equal(count_searches(&steps, 20000000, 1), 1);
    ce_steps_begin(&steps, 0);
    assert_int_equal(count_searches(&steps, 40000000, 1), 0);
}

static void counted_steps_are_taken_too(void **state)
{
    (void)state;
    struct ce_steps steps;

    ce_steps_begin(&steps, 0);
    assert_true(ce_steps_take(&steps, 1UL << 24));
    assert_false(ce_steps_take(&steps, 1UL << 30));
    assert_int_equal(ce_steps_first(&steps), 0);
}

/* As if the thread had begun the text long ago. */
static void processor_time_is_bounded(void **state)
{
    (void)state;
    struct ce_steps steps;

    ce_steps_begin(&steps, 0);
    assert_true(steps.latest_ns > 0);
    steps.latest_ns = 0;
    assert_in_range(count_searches(&steps, 1, 1000), 1, 256);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_searches_are_free),
        cmocka_unit_test(long_searches_use_the_budget_up),
        cmocka_unit_test(one_search_may_take_much_of_the_budget),
        cmocka_unit_test(counted_steps_are_taken_too),
        cmocka_unit_test(processor_time_is_bounded),
    };

    return cmocka_run_group_tests_name("base.steps", tests, NULL, NULL);
}
