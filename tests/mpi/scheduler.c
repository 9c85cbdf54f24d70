/* scheduler.c - a list of requests over the ranks of a job: see ranks/scheduler.c
 *
 *     scheduler MODEL SETTING...     a setting: words as in "drain step-tokens=9"
 *
 * One engine for each setting, one after the other. Rank 0 prints a line for every
 * request that has ended, with a hash of its results, and a summary, which
 * check_scheduler.py compares between runs. CE_TEST_TRANSPORT names the transport.
 */

#include "ranks/scheduler.h"

#include "base/log.h"
#include "comm/transport.h"
#include "ranks/require.h"

#include <inttypes.h>

static void print(const struct scheduler_results *results)
{
    const struct ce_schedule_summary *summary = &results->summary;

    for (size_t i = 0; i < SCHEDULER_REQUESTS; i++) {
        const struct scheduler_outcome *outcome = &results->outcome[i];

        if (outcome->finish != CE_FINISH_NONE) {
            (void)printf("request %zu: %" PRIu32 " %s %016" PRIx64 "\n",
                         i,
                         outcome->results,
                         ce_finish_name((enum ce_finish)outcome->finish),
                         outcome->hash);
        }
    }
    (void)printf("pace %d, steps %zu, tokens %" PRIu64 ", reused %" PRIu64 "\n",
                 (int)summary->pace,
                 summary->steps,
                 summary->tokens,
                 summary->reused);
}

int main(int argc, char **argv)
{
    static struct scheduler_results results;
    struct ce_transport *transport = NULL;
    struct ce_error err = {.text = ""};
    const char *name = getenv("CE_TEST_TRANSPORT");

    REQUIRE(argc > 2, "usage: scheduler MODEL SETTING...");
    REQUIRE(ce_transport_create(
                &transport, name != NULL ? name : "auto", 30000, &err) == CE_OK,
            "%s",
            err.text);
    ce_log_init(CE_LOG_WARN, ce_transport_rank(transport));
    for (int i = 2; i < argc; i++) {
        scheduler_run(transport, argv[1], argv[i], &results);
        if (ce_transport_rank(transport) == 0) {
            print(&results);
        }
    }
    ce_transport_destroy(transport);
    return 0;
}
