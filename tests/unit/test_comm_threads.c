/* What a group of threads adds to the suites of tests/conformance: how ranks end, and
 * what the others hear of it. */

#include "base/clock.h"
#include "base/log.h"
#include "comm/collective.h"
#include "comm/threads.h"
#include "comm/window.h"
#include "test.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RANKS = 4, LAST = RANKS - 1 };

#define LONG_MS  60000 /* a deadline that must not be what ends a wait */
#define SHORT_MS 100

static struct ce_threads_outcome outcome[RANKS];
static struct ce_error err;

static enum ce_status
run(ce_threads_function *function, uint64_t deadline_ms, void *context)
{
    memset(outcome, 0, sizeof(outcome));
    memset(&err, 0, sizeof(err));
    return ce_threads_run(RANKS, deadline_ms, function, context, outcome, &err);
}

static void wait_ms(long ms)
{
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};

    (void)nanosleep(&time, NULL);
}

static enum ce_status meet(struct ce_transport *t, struct ce_error *error)
{
    const struct ce_bytes *all = NULL;

    return ce_allgather(t, (struct ce_bytes){NULL, 0}, &all, error);
}

/* ---- a group ---- */

static enum ce_status
count_ranks(struct ce_transport *t, void *context, struct ce_error *error)
{
    atomic_int *seen = context;

    (void)error;
    assert_int_equal(t->ranks, RANKS);
    assert_int_equal(t->deadline_ms, LONG_MS);
    assert_string_equal(t->ops->name, "threads");
    assert_int_equal(ce_log_is_speaker(), t->rank == 0);
    atomic_fetch_add(&seen[t->rank], 1);
    return CE_OK;
}

static void every_rank_runs_once(void **state)
{
    (void)state;
    atomic_int seen[RANKS] = {0};

    assert_int_equal(run(count_ranks, LONG_MS, seen), CE_OK);
    for (int r = 0; r < RANKS; r++) {
        assert_int_equal(seen[r], 1);
        assert_int_equal(outcome[r].status, CE_OK);
    }
    assert_int_equal(ce_threads_run(RANKS, LONG_MS, count_ranks, seen, NULL, NULL),
                     CE_OK);
    assert_int_equal(seen[LAST], 2);
}

static void no_rank_is_refused(void **state)
{
    (void)state;
    assert_int_equal(ce_threads_run(0, LONG_MS, count_ranks, NULL, NULL, &err),
                     CE_ERR_ARG);
    assert_string_equal(err.text, "a group of 0 ranks");
}

static void nobody_can_ask_for_threads_by_name(void **state)
{
    (void)state;
    struct ce_transport *t = NULL;

    assert_int_equal(ce_transport_create(&t, "threads", LONG_MS, &err), CE_ERR_ARG);
    assert_null(t);
}

/* ---- ranks that do not come ---- */

static enum ce_status
last_fails(struct ce_transport *t, void *context, struct ce_error *error)
{
    (void)context;
    t->activity.step = 3;
    t->activity.stage = "experts";
    if (t->rank == LAST) {
        return ce_fail(error, CE_ERR_NUMERIC, "a number of rank %d", t->rank);
    }
    return meet(t, error);
}

/* What all but the last say: where they were, and what has become of it. */
static void check_left(const char *where, const char *what)
{
    char expected[200];

    for (int r = 0; r < LAST; r++) {
        (void)snprintf(
            expected, sizeof(expected), "rank %d: %srank 3 has %s", r, where, what);
        assert_int_equal(outcome[r].status, CE_ERR_COMM);
        assert_string_equal(outcome[r].err.text, expected);
        assert_int_equal(outcome[r].err.rank, r);
    }
}

/* The group returns the failure, not what the others make of it. */
static void who_fails_is_missed_at_once(void **state)
{
    (void)state;
    const uint64_t begin_ns = ce_clock_ns();

    assert_int_equal(run(last_fails, LONG_MS, NULL), CE_ERR_NUMERIC);
    assert_string_equal(err.text, "a number of rank 3");
    check_left("step 3, layer 0, stage experts: ", "left the job");
    assert_true(ce_clock_ns() - begin_ns < LONG_MS / 2 * 1000000ULL);
}

static enum ce_status
last_aborts(struct ce_transport *t, void *context, struct ce_error *error)
{
    (void)context;
    if (t->rank == LAST) {
        ce_transport_abort(t, 42);
        assert_true(t->failed);
        return CE_OK; /* which is no excuse */
    }
    return meet(t, error);
}

static void who_aborts_ends_all(void **state)
{
    (void)state;
    assert_int_equal(run(last_aborts, LONG_MS, NULL), CE_ERR_COMM);
    assert_string_equal(err.text, "rank 3: rank 3 has ended the job with exit code 42");
    check_left("", "ended the job with exit code 42");
}

/* Who has all messages of its own exchange hears of the abort as well, in the next. */
static enum ce_status
last_aborts_between(struct ce_transport *t, void *context, struct ce_error *error)
{
    (void)context;
    enum ce_status status = meet(t, error);

    if (status == CE_OK && t->rank == LAST) {
        ce_transport_abort(t, 1);
        return ce_fail(error, CE_ERR_IO, "aborted");
    }
    return status == CE_OK ? meet(t, error) : status;
}

static void what_was_sent_before_an_abort_arrives(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(run(last_aborts_between, LONG_MS, NULL), CE_ERR_IO);
        check_left("", "ended the job with exit code 1");
    }
}

static enum ce_status
last_hangs(struct ce_transport *t, void *context, struct ce_error *error)
{
    atomic_int *waiting = context;

    if (t->rank == LAST) {
        while (atomic_load(waiting) < LAST) {
            wait_ms(1);
        }
        ce_transport_fail(t); /* does not wait for the others when it leaves */
        return CE_OK;
    }
    enum ce_status status = meet(t, error);
    atomic_fetch_add(waiting, 1);
    return status;
}

/* The first to give up leaves; those after it may see that before their deadline. */
static void who_hangs_is_named_after_the_deadline(void **state)
{
    (void)state;
    atomic_int waiting = 0;

    assert_int_equal(run(last_hangs, SHORT_MS, &waiting), CE_ERR_TIMEOUT);
    assert_non_null(
        strstr(err.text, "control round 1: no message after 100 ms from rank 3 (of 4"));
    assert_int_equal(outcome[LAST].status, CE_OK);
    for (int r = 0; r < LAST; r++) {
        assert_true(outcome[r].status == CE_ERR_TIMEOUT ||
                    (outcome[r].status == CE_ERR_COMM &&
                     strstr(outcome[r].err.text, "has left the job") != NULL));
    }
}

static enum ce_status
last_comes_late(struct ce_transport *t, void *context, struct ce_error *error)
{
    (void)context, (void)error;
    if (t->rank == LAST) {
        wait_ms(SHORT_MS);
    }
    return CE_OK;
}

static void ranks_wait_for_each_other_at_the_end(void **state)
{
    (void)state;
    assert_int_equal(run(last_comes_late, LONG_MS, NULL), CE_OK);
}

static enum ce_status
last_does_not_prepare(struct ce_transport *t, void *context, struct ce_error *error)
{
    const struct ce_message_size size[CE_SLOT_COUNT] = {{64, 64}, {64, 64}, {64, 64}};

    (void)context;
    return t->rank == LAST ? ce_fail(error, CE_ERR_NOMEM, "no memory")
                           : ce_transport_prepare(t, size, error);
}

static void who_does_not_prepare_is_missed(void **state)
{
    (void)state;
    assert_int_equal(run(last_does_not_prepare, LONG_MS, NULL), CE_ERR_NOMEM);
    check_left("", "left the job");
}

static enum ce_status
last_does_not_meet(struct ce_transport *t, void *context, struct ce_error *error)
{
    struct ce_window *window = NULL;
    enum ce_status status = ce_window_create(&window, t, 1000, error);

    (void)context;
    if (status == CE_OK) {
        status = t->rank == LAST ? ce_fail(error, CE_ERR_ARG, "does not meet")
                                 : ce_window_meet(window, error);
    }
    ce_window_destroy(window);
    return status;
}

static void who_is_missing_at_a_window_is_missed_at_once(void **state)
{
    (void)state;
    assert_int_equal(run(last_does_not_meet, LONG_MS, NULL), CE_ERR_ARG);
    check_left("", "left the job");
}

/* ---- memory ---- */

/* What is written into reserved memory is read there. */
static enum ce_status
write_in_place(struct ce_transport *t, void *context, struct ce_error *error)
{
    const void **written = context; /* [from][to] */
    enum ce_status status = ce_exchange_open(t, CE_SLOT_DISPATCH, error);

    for (int to = 0; status == CE_OK && to < RANKS; to++) {
        unsigned char *data = ce_exchange_reserve(t, CE_SLOT_DISPATCH, to, 100);

        assert_true((data == NULL) == (to == t->rank));
        if (data != NULL) {
            memset(data, 10 * t->rank + to, 100);
        }
        written[t->rank * RANKS + to] = data;
        status = ce_exchange_send(t,
                                  CE_SLOT_DISPATCH,
                                  to,
                                  (struct ce_bytes){data, data != NULL ? 100 : 0},
                                  error);
    }
    if (status == CE_OK) {
        status = ce_exchange_finish(t, CE_SLOT_DISPATCH, error);
    }
    for (int from = 0; status == CE_OK && from < RANKS; from++) {
        const struct ce_bytes got = t->slot[CE_SLOT_DISPATCH].received[from];

        assert_ptr_equal(got.data, written[from * RANKS + t->rank]);
        if (from != t->rank) {
            assert_int_equal(((const unsigned char *)got.data)[99],
                             10 * from + t->rank);
        }
    }
    return status;
}

static void reserved_memory_is_where_it_is_read(void **state)
{
    (void)state;
    const void *written[RANKS * RANKS] = {NULL};

    assert_int_equal(run(write_in_place, LONG_MS, written), CE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rank_runs_once),
        cmocka_unit_test(no_rank_is_refused),
        cmocka_unit_test(nobody_can_ask_for_threads_by_name),
        cmocka_unit_test(who_fails_is_missed_at_once),
        cmocka_unit_test(who_aborts_ends_all),
        cmocka_unit_test(what_was_sent_before_an_abort_arrives),
        cmocka_unit_test(who_hangs_is_named_after_the_deadline),
        cmocka_unit_test(ranks_wait_for_each_other_at_the_end),
        cmocka_unit_test(who_does_not_prepare_is_missed),
        cmocka_unit_test(who_is_missing_at_a_window_is_missed_at_once),
        cmocka_unit_test(reserved_memory_is_where_it_is_read),
    };

    /* A failed assertion of a rank ends the program with its text: only that of the
     * thread that runs a test could end the test. */
    return setenv("CMOCKA_TEST_ABORT", "1", 1) == 0
               ? cmocka_run_group_tests(tests, NULL, NULL)
               : 1;
}
