#include "base/patience.h"
#include "test.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS UINT64_C(1000000)

static void ends_at_the_deadline(void **state)
{
    struct ce_patience patience;
    const uint64_t began = 12345 * MS;

    (void)state;
    ce_patience_begin_at(&patience, 100, began);
    for (uint64_t ms = 1; ms < 100; ms++) {
        assert_false(ce_patience_is_over_at(&patience, began + ms * MS));
    }
    assert_true(ce_patience_is_over_at(&patience, began + 100 * MS));
}

static void zero_waits_for_ever(void **state)
{
    struct ce_patience patience;

    (void)state;
    ce_patience_begin_at(&patience, 0, 0);
    assert_false(ce_patience_is_over_at(&patience, UINT64_MAX));
}

/* Polled every millisecond, but for an hour in the middle. */
static void an_hour_that_nobody_polled_does_not_count(void **state)
{
    struct ce_patience patience;
    const uint64_t hour = 3600000 * MS;

    (void)state;
    ce_patience_begin_at(&patience, 3000, 0);
    for (uint64_t ms = 1; ms <= 1000; ms++) {
        assert_false(ce_patience_is_over_at(&patience, ms * MS));
    }
    for (uint64_t ms = 1000; ms < 2600; ms++) { /* the gap counts 375 ms */
        assert_false(ce_patience_is_over_at(&patience, hour + ms * MS));
    }
    assert_true(ce_patience_is_over_at(&patience, hour + 2625 * MS));
}

/* Stopped and continued again and again, as gang scheduling does. */
static void polls_that_all_come_late_find_an_end(void **state)
{
    static const struct {
        uint64_t deadline_ms;
        int polls;
    } wanted[] = {{80, 8}, {1000, 8}, {8000, 8}, {120000, 120}};

    (void)state;
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        struct ce_patience patience;
        int polls = 1;

        ce_patience_begin_at(&patience, wanted[i].deadline_ms, 0);
        while (!ce_patience_is_over_at(&patience, (uint64_t)polls * 600000 * MS)) {
            polls++;
        }
        assert_int_equal(polls, wanted[i].polls);
    }
}

static void poll_for(struct ce_patience *patience, bool *over)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    for (int i = 0; i < 10 && !*over; i++) {
        *over = ce_patience_is_over(patience);
        (void)nanosleep(&moment, NULL);
    }
}

/* By the clock: stopped for longer than the deadline between polls. */
static int child(void)
{
    struct ce_patience patience;
    bool over = false;

    ce_patience_begin(&patience, 400);
    poll_for(&patience, &over);
    (void)raise(SIGSTOP);
    poll_for(&patience, &over);
    return over ? 1 : 0;
}

static void a_stop_does_not_count(void **state)
{
    const struct timespec longer = {.tv_nsec = 600000000};
    int status = 0;
    pid_t process = fork();

    (void)state;
    if (process == 0) {
        _exit(child());
    }
    assert_true(waitpid(process, &status, WUNTRACED) == process);
    assert_true(WIFSTOPPED(status));
    (void)nanosleep(&longer, NULL);
    assert_int_equal(kill(process, SIGCONT), 0);
    assert_true(waitpid(process, &status, 0) == process);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_at_the_deadline),
        cmocka_unit_test(zero_waits_for_ever),
        cmocka_unit_test(an_hour_that_nobody_polled_does_not_count),
        cmocka_unit_test(polls_that_all_come_late_find_an_end),
        cmocka_unit_test(a_stop_does_not_count),
    };

    return cmocka_run_group_tests_name("base.patience", tests, NULL, NULL);
}
