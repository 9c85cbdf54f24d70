/* ranks.h - runs a suite on every rank of the transport that the environment gives
 *
 * CE_TEST_TRANSPORT names it. Without it a process alone tests `self`, and those of
 * mpirun the one that `auto` takes; `threads` are CE_TEST_RANKS threads of one process.
 * Every rank runs the same tests in the same order. A failed assertion leaves the
 * others waiting, so they fail too, at the deadline. Ranks other than 0 of mpirun print
 * only failures; threads print short lines, each rank its own.
 */

#ifndef CE_TESTS_CONFORMANCE_RANKS_H
#define CE_TESTS_CONFORMANCE_RANKS_H

#include "comm/threads.h"
#include "comm/transport.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEADLINE_MS 60000

static _Thread_local struct ce_transport *transport; /* of this rank */

/* Runs the tests on the transport of this rank; the number of those that failed. */
typedef int suite_function(void);

static inline enum ce_status
run_thread(struct ce_transport *mine, void *context, struct ce_error *err)
{
    suite_function *const *suite = context;

    transport = mine;
    int failed = (*suite)();
    return failed == 0 ? CE_OK
                       : ce_fail(err,
                                 CE_ERR_COMM,
                                 "rank %d: %d test(s) failed",
                                 mine->rank,
                                 failed);
}

static inline int run_threads(suite_function *suite)
{
    const char *ranks = getenv("CE_TEST_RANKS");
    struct ce_error err = {.text = ""};

    cmocka_set_message_output(CM_OUTPUT_TAP);
    if (ce_threads_run(ranks != NULL ? atoi(ranks) : 1,
                       DEADLINE_MS,
                       run_thread,
                       &suite,
                       NULL,
                       &err) != CE_OK) {
        (void)fprintf(stderr, "%s\n", err.text);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

static inline int run_process(suite_function *suite, const char *name)
{
    struct ce_error err = {.text = ""};

    if (ce_transport_create(&transport, name, DEADLINE_MS, &err) != CE_OK) {
        (void)fprintf(stderr, "%s\n", err.text);
        return EXIT_FAILURE;
    }
    if (transport->rank > 0) {
        /* Of cmocka's formats TAP is the one that keeps success off stderr. */
        cmocka_set_message_output(CM_OUTPUT_TAP);
        if (freopen("/dev/null", "w", stdout) == NULL) {
            return EXIT_FAILURE;
        }
    }
    int failed = suite();
    if (failed != 0) {
        ce_transport_abort(transport, EXIT_FAILURE);
    }
    ce_transport_destroy(transport);
    return failed;
}

static inline int run_on_ranks(suite_function *suite)
{
    const char *name = getenv("CE_TEST_TRANSPORT");

    name = name != NULL ? name : "auto";
    return strcmp(name, "threads") == 0 ? run_threads(suite) : run_process(suite, name);
}

#endif
