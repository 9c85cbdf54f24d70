#include "base/clock.h"
#include "test.h"

#include <time.h>

static void clock_runs_forward_in_nanoseconds(void **state)
{
    (void)state;
    const struct timespec pause = {.tv_nsec = 2000000};
    uint64_t start = ce_clock_ns();

    (void)nanosleep(&pause, NULL);
    uint64_t passed = ce_clock_ns() - start;

    assert_true(passed >= 2000000);
    assert_true(passed < UINT64_C(60) * 1000000000);
}

static void an_end_lies_as_far_ahead_as_it_was_asked_for(void **state)
{
    (void)state;
    for (uint64_t ms = 0; ms < 3000; ms += 999) {
        uint64_t before = ce_clock_ns();
        struct timespec end = ce_clock_in_ms(ms);
        uint64_t end_ns = (uint64_t)end.tv_sec * 1000000000 + (uint64_t)end.tv_nsec;

        assert_in_range(end.tv_nsec, 0, 999999999);
        assert_true(end_ns >= before + ms * 1000000);
        assert_true(end_ns <= ce_clock_ns() + ms * 1000000);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clock_runs_forward_in_nanoseconds),
        cmocka_unit_test(an_end_lies_as_far_ahead_as_it_was_asked_for),
    };

    return cmocka_run_group_tests_name("base.clock", tests, NULL, NULL);
}
