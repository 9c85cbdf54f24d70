/* check_memory.c - will what the engine plans for fit? */

#include "doctor/check.h"

#define CHECK "memory"

/* Less than a tenth left: page cache, MPI and the launcher need some, too. */
static bool is_tight(const struct ce_host_facts *host)
{
    return host->planned > host->available - host->available / 10;
}

/* The host with the least left, by its first rank; ranks where none is planned for. */
static size_t find_fullest(const struct ce_rank_facts *facts, size_t ranks)
{
    size_t fullest = ranks;
    double most = -1;

    for (size_t r = 0; r < ranks; r++) {
        struct ce_host_facts host;

        if (!ce_facts_are_first(facts, r)) {
            continue;
        }
        host = ce_facts_host(facts, ranks, r);
        double share = (double)host.planned / ((double)host.available + 1);
        if (host.planned > 0 && share > most) {
            most = share;
            fullest = r;
        }
    }
    return fullest;
}

void ce_check_memory(const struct ce_rank_facts *facts,
                     size_t ranks,
                     struct ce_findings *findings)
{
    size_t fullest = find_fullest(facts, ranks);

    if (fullest == ranks) {
        ce_findings_add(findings,
                        CHECK,
                        CE_VERDICT_SKIPPED,
                        NULL,
                        "what the ranks need is not known without the model and each "
                        "other");
        return;
    }
    struct ce_host_facts host = ce_facts_host(facts, ranks, fullest);
    enum ce_verdict verdict = is_tight(&host) ? CE_VERDICT_WARNING : CE_VERDICT_OK;
    verdict = host.planned > host.available ? CE_VERDICT_FAILED : verdict;
    ce_findings_add(
        findings,
        CHECK,
        verdict,
        verdict == CE_VERDICT_OK
            ? NULL
            : "Dense weights are on every rank: fewer ranks per node with more threads "
              "each. Experts are spread: more nodes. Else --weights q8 or a packed "
              "model (cemoe pack), fewer --cache-tokens or --step-tokens; sbatch --mem "
              "may limit the job below the node.",
        "%s: %zu rank%s will take %.1f MiB, %.1f MiB are free",
        host.name,
        host.ranks,
        host.ranks == 1 ? "" : "s",
        (double)host.planned / 0x1p20,
        (double)host.available / 0x1p20);
}
