/* A list of requests has the same results on any number of ranks that are threads, also
 * with experts changed; it drains and quits on all when one asks for it. */

#include "base/log.h"
#include "comm/threads.h"
#include "comm/transport.h"
#include "ranks/scheduler.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEADLINE_MS 60000
#define MODEL       CE_MODEL_DIR
#define CHANGED                                                                        \
    "tables=" CE_MODEL_DIR "/ces-math.safetensors other=" CE_TEST_SOURCE_DIR           \
    "/golden/affine/compressed.safetensors"

enum { MOST_RANKS = 8 };

static struct scheduler_results alone;     /* in a process, no page shared */
static struct scheduler_results truncated; /* likewise, made with two experts less */

/* What one setting gives on `ranks` ranks. */
struct run {
    const char *words;
    struct scheduler_results results;
};

static enum ce_status
run_rank(struct ce_transport *transport, void *context, struct ce_error *err)
{
    struct run *run = context;
    struct scheduler_results *results = calloc(1, sizeof(*results));

    if (results == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for results");
    }
    scheduler_run(transport, MODEL, run->words, results);
    if (transport->rank == 0) {
        run->results = *results;
    }
    free(results);
    return CE_OK;
}

static const struct scheduler_results *run_on(int ranks, const char *words)
{
    static struct run run;
    struct ce_error err = {.text = ""};

    run.words = words;
    if (ce_threads_run(ranks, DEADLINE_MS, run_rank, &run, NULL, &err) != CE_OK) {
        fail_msg("%d ranks, %s: %s", ranks, words, err.text);
    }
    return &run.results;
}

static int run_alone(void **state)
{
    (void)state;
    struct ce_transport *transport = NULL;
    struct ce_error err = {.text = ""};

    ce_log_init(CE_LOG_WARN, 0);
    if (ce_transport_create(&transport, "self", DEADLINE_MS, &err) != CE_OK) {
        return -1;
    }
    scheduler_run(transport, MODEL, "unshared", &alone);
    scheduler_run(transport, MODEL, "truncated", &truncated);
    ce_transport_destroy(transport);
    return 0;
}

/* The numbers of ranks to try: fewer where a run takes many times as long. */
static bool runs_on(int ranks)
{
    return getenv("CEMOE_SANITIZED") != NULL ? ranks == 2 || ranks == 4
                                             : ranks <= 5 || ranks == MOST_RANKS;
}

static void assert_same(const struct scheduler_results *got,
                        const struct scheduler_results *wanted)
{
    for (size_t i = 0; i < SCHEDULER_REQUESTS; i++) {
        assert_int_equal(got->outcome[i].finish, wanted->outcome[i].finish);
        assert_int_equal(got->outcome[i].results, wanted->outcome[i].results);
        assert_int_equal(got->outcome[i].hash, wanted->outcome[i].hash);
    }
}

static void results_are_the_same_on_any_ranks(void **state)
{
    (void)state;
    static const char *const ways[] = {
        "", "unshared", "step-tokens=9", "step-tokens=512"};

    assert_int_equal(alone.summary.done, SCHEDULER_REQUESTS);
    for (int ranks = 1; ranks <= MOST_RANKS; ranks++) {
        for (size_t i = 0; runs_on(ranks) && i < sizeof(ways) / sizeof(ways[0]); i++) {
            const struct scheduler_results *got = run_on(ranks, ways[i]);

            assert_same(got, &alone);
            assert_int_equal(got->summary.pace, CE_PACE_GO_ON);
            assert_int_equal(got->summary.tokens + got->summary.reused,
                             alone.summary.tokens);
            assert_int_equal(got->summary.reused == 0,
                             strcmp(ways[i], "unshared") == 0);
        }
    }
}

/* The number of requests that have ended, each as it would have without an early end.
 */
static size_t count_ended(const struct scheduler_results *got)
{
    size_t ended = 0;

    for (size_t i = 0; i < SCHEDULER_REQUESTS; i++) {
        if (got->outcome[i].finish != CE_FINISH_NONE) {
            assert_int_equal(got->outcome[i].hash, alone.outcome[i].hash);
            ended++;
        }
    }
    return ended;
}

/* The last rank asks, all end: a drain with all that had begun, which is more than what
 * had ended by then. */
static void one_rank_ends_all(void **state)
{
    (void)state;
    for (int ranks = 1; ranks <= MOST_RANKS; ranks++) {
        if (runs_on(ranks) && ranks <= 4) { /* on more all may have begun */
            const struct scheduler_results *got = run_on(ranks, "quit");
            const size_t quit = count_ended(got);

            assert_int_equal(got->summary.pace, CE_PACE_QUIT);
            got = run_on(ranks, "drain");
            assert_int_equal(got->summary.pace, CE_PACE_DRAIN);
            assert_in_range(count_ended(got), quit + 1, SCHEDULER_REQUESTS - 1);
        }
    }
}

/* An engine that changes its experts has the results of one that was made so. */
static void changed_experts_are_as_if_made_so(void **state)
{
    (void)state;
    assert_int_not_equal(truncated.outcome[0].hash, alone.outcome[0].hash);
    for (int ranks = 1; ranks <= MOST_RANKS; ranks++) {
        if (runs_on(ranks)) {
            assert_same(run_on(ranks, CHANGED), &truncated);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_the_same_on_any_ranks),
        cmocka_unit_test(one_rank_ends_all),
        cmocka_unit_test(changed_experts_are_as_if_made_so),
    };

    return cmocka_run_group_tests(tests, run_alone, NULL);
}
