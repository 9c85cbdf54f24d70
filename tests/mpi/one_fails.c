/* one_fails.c - one rank of a job fails: see ranks/one_fails.c
 *
 *     one_fails MODEL TRANSPORT SETTING...   a setting: NAME WIRE COMBINE OVERLAP SPLIT
 *                                            KIND...
 *
 * One engine for each setting, one after the other. For each kind of failure every rank
 * prints one line with what the call returned, which check_one_fails.py compares.
 */

#include "ranks/one_fails.h"

#include "base/log.h"
#include "ranks/require.h"

#define DEADLINE_MS 30000

static void print(void *context, const struct one_fails_end *end)
{
    (void)context;
    (void)printf("rank %d: %s: %s: %s of rank %d: %s\n",
                 end->rank,
                 end->setting,
                 end->kind,
                 ce_status_name(end->status),
                 end->err.rank,
                 end->status == CE_OK ? "" : end->err.text);
}

int main(int argc, char **argv)
{
    struct ce_transport *transport = NULL;
    struct ce_error err = {.text = ""};

    REQUIRE(argc > 3, "usage: one_fails MODEL TRANSPORT SETTING...");
    REQUIRE(ce_transport_create(&transport, argv[2], DEADLINE_MS, &err) == CE_OK,
            "%s",
            err.text);
    ce_log_init(CE_LOG_WARN, ce_transport_rank(transport));
    for (int i = 3; i < argc; i++) {
        one_fails_run(transport, argv[1], argv[i], print, NULL);
    }
    ce_transport_destroy(transport);
    return 0;
}
