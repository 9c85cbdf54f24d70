/* check_threads.c - threads that would take turns on a processor
 *
 * mpirun binds each rank to one core unless told otherwise; the threads of the rank
 * then share it, which is the commonest reason for a slow job.
 */

#include "doctor/check.h"

#define CHECK "threads"

/* A rank alone against its own mask. */
static void check_ranks(const struct ce_rank_facts *facts,
                        size_t ranks,
                        struct ce_findings *findings)
{
    size_t crowded = 0;
    size_t first = 0;

    for (size_t r = 0; r < ranks; r++) {
        if (facts[r].threads > CPU_COUNT(&facts[r].allowed)) {
            first = crowded == 0 ? r : first;
            crowded++;
        }
    }
    if (crowded > 0) {
        ce_findings_add(
            findings,
            CHECK,
            CE_VERDICT_FAILED,
            "Bind each rank to as many cores as it has threads: mpirun --map-by "
            "slot:PE=T --bind-to core, or --bind-to none; srun --cpus-per-task=T. Or "
            "set OMP_NUM_THREADS to the cores a rank has.",
            "%zu of %zu ranks have more threads than processors; rank %zu on %s: %d "
            "threads (OMP_NUM_THREADS) on %d of %d processors",
            crowded,
            ranks,
            first,
            facts[first].host.name,
            facts[first].threads,
            CPU_COUNT(&facts[first].allowed),
            facts[first].online);
    }
}

/* The ranks of a host together: piled up on a few processors while others idle, or
 * simply too many. */
static void check_host(const struct ce_host_facts *host, struct ce_findings *findings)
{
    if (host->threads <= host->processors) {
        return;
    }
    if (host->processors < host->online) {
        ce_findings_add(
            findings,
            CHECK,
            CE_VERDICT_FAILED,
            "Ranks are bound on top of each other: ask for as many CPUs as tasks times "
            "threads (sbatch --cpus-per-task), do not start two mpirun at once, or "
            "use --bind-to none.",
            "the %zu ranks on %s with %d threads together may use only %d of its %d "
            "processors",
            host->ranks,
            host->name,
            host->threads,
            host->processors,
            host->online);
        return;
    }
    ce_findings_add(
        findings,
        CHECK,
        CE_VERDICT_WARNING,
        "Use fewer ranks per node or lower OMP_NUM_THREADS. Where it is meant, "
        "OMP_WAIT_POLICY=passive keeps those who wait from spinning.",
        "the %zu ranks on %s with %d threads together share its %d "
        "processors",
        host->ranks,
        host->name,
        host->threads,
        host->online);
}

void ce_check_threads(const struct ce_rank_facts *facts,
                      size_t ranks,
                      struct ce_findings *findings)
{
    size_t before = findings->count;

    check_ranks(facts, ranks, findings);
    for (size_t r = 0; findings->count == before && r < ranks; r++) {
        if (ce_facts_are_first(facts, r)) {
            struct ce_host_facts host = ce_facts_host(facts, ranks, r);

            check_host(&host, findings);
        }
    }
    if (findings->count == before) {
        ce_findings_add(findings,
                        CHECK,
                        CE_VERDICT_OK,
                        NULL,
                        "every thread has a processor of its own; rank 0 has %d on %d",
                        facts[0].threads,
                        CPU_COUNT(&facts[0].allowed));
    }
}
