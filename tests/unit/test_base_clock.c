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

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clock_runs_forward_in_nanoseconds),
    };

    return cmocka_run_group_tests_name("base.clock", tests, NULL, NULL);
}
