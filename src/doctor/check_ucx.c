/* check_ucx.c - is there a way from rank to rank, and is it the one that was meant? */

#include "doctor/check.h"

#define CHECK      "ucx"
#define MOST_HOSTS 3 /* that are described; others are mostly like them */

static const char look[] =
    "ucx_info -d shows the transports and devices of a node: name those, or unset the "
    "variable. Devices may have other names on other nodes.";

/* What the ranks of a host need. */
struct need {
    const char *host;
    bool neighbours; /* other ranks are on this host */
    bool network;    /* and on others */
};

static void check_devices(const struct need *need,
                          const struct ce_ucx_settings *ucx,
                          struct ce_findings *findings)
{
    if (ucx->no_device[0] != '\0') {
        ce_findings_add(findings,
                        CHECK,
                        ucx->has_device ? CE_VERDICT_WARNING : CE_VERDICT_FAILED,
                        look,
                        "%s: UCX_NET_DEVICES names \"%s\", but the devices are: %s",
                        need->host,
                        ucx->no_device,
                        ucx->devices);
    }
    if (need->network && ucx->unused_fabric[0] != '\0') {
        ce_findings_add(
            findings,
            CHECK,
            CE_VERDICT_WARNING,
            "UCX may have been built without verbs (ucx_info -v), the user may not "
            "open /dev/infiniband, or lock too little memory: ulimit -l should be "
            "unlimited.",
            "%s has the InfiniBand device %s, but UCX has no transport for it",
            need->host,
            ucx->unused_fabric);
    }
}

static void check_transports(const struct need *need,
                             const struct ce_ucx_settings *ucx,
                             struct ce_findings *findings)
{
    if (ucx->no_transport[0] != '\0') {
        ce_findings_add(findings,
                        CHECK,
                        CE_VERDICT_WARNING,
                        look,
                        "%s: UCX_TLS names \"%s\", of which there is nothing here",
                        need->host,
                        ucx->no_transport);
    }
    if (need->network && !ucx->reaches_hosts) {
        ce_findings_add(findings,
                        CHECK,
                        CE_VERDICT_FAILED,
                        look,
                        "%s: UCX_TLS and UCX_NET_DEVICES leave no way to other hosts",
                        need->host);
    }
    if (need->neighbours && !ucx->reaches_ranks) {
        ce_findings_add(findings,
                        CHECK,
                        CE_VERDICT_FAILED,
                        look,
                        "%s: UCX_TLS leaves no way to the other ranks of the host; sm "
                        "is shared memory",
                        need->host);
    }
}

static void check_host(const struct need *need,
                       const struct ce_ucx_settings *ucx,
                       struct ce_findings *findings)
{
    if (!ucx->known) {
        ce_findings_add(findings,
                        CHECK,
                        CE_VERDICT_WARNING,
                        NULL,
                        "%s: UCX does not say what it has",
                        need->host);
        return;
    }
    check_devices(need, ucx, findings);
    check_transports(need, ucx, findings);
}

void ce_check_ucx(const struct ce_rank_facts *facts,
                  size_t ranks,
                  struct ce_findings *findings)
{
    size_t before = findings->count;
    size_t described = 0;

    for (size_t r = 0; r < ranks && described < MOST_HOSTS; r++) {
        if (ce_facts_are_first(facts, r)) {
            struct ce_host_facts host = ce_facts_host(facts, ranks, r);
            const struct need need = {.host = host.name,
                                      .neighbours = host.ranks > 1,
                                      .network = host.ranks < ranks};
            size_t count = findings->count;

            check_host(&need, &facts[r].ucx, findings);
            described += findings->count > count;
        }
    }
    if (findings->count == before) {
        ce_findings_add(findings,
                        CHECK,
                        CE_VERDICT_OK,
                        NULL,
                        "network devices of %s: %s",
                        facts[0].host.name,
                        facts[0].ucx.devices[0] != '\0' ? facts[0].ucx.devices
                                                        : "none");
    }
}
