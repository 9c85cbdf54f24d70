/* check_leftovers.c - shared memory of jobs that were killed */

#include "doctor/check.h"

#define CHECK "leftovers"

/* The first host that has some; a job that was killed was on many alike. */
void ce_check_leftovers(const struct ce_rank_facts *facts,
                        size_t ranks,
                        struct ce_findings *findings)
{
    size_t found = ranks;
    size_t hosts = 0;

    for (size_t r = 0; r < ranks; r++) {
        if (ce_facts_are_first(facts, r) && facts[r].leftovers.count > 0) {
            found = found == ranks ? r : found;
            hosts++;
        }
    }
    if (found == ranks) {
        ce_findings_add(
            findings, CHECK, CE_VERDICT_OK, NULL, "no shared memory of ended jobs");
        return;
    }
    ce_findings_add(findings,
                    CHECK,
                    CE_VERDICT_WARNING,
                    "They take memory until they are removed, with rm on that host, or "
                    "until it starts again. No process that can be seen uses them.",
                    "%s: %zu file%s of ended jobs in %s have %.1f MiB, one is %s%s",
                    facts[found].host.name,
                    facts[found].leftovers.count,
                    facts[found].leftovers.count == 1 ? "" : "s",
                    CE_LEFTOVERS_FOLDER,
                    (double)facts[found].leftovers.bytes / 0x1p20,
                    facts[found].leftovers.first,
                    hosts > 1 ? "; other hosts have some, too" : "");
}
