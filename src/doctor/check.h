/* check.h - the checks: facts in, findings out
 *
 * Each adds at least one finding. Nothing here waits, communicates or prints.
 */

#ifndef CE_DOCTOR_CHECK_H
#define CE_DOCTOR_CHECK_H

#include "doctor/facts.h"
#include "doctor/finding.h"

/* How the job was started. */
struct ce_launch {
    int ranks;           /* that found each other */
    int slurm_tasks;     /* SLURM_NTASKS: of the job, 0 outside of one */
    const char *problem; /* why they did not find each other, or NULL */
};
void ce_check_launch(const struct ce_launch *launch, struct ce_findings *findings);

/* Threads against the processors each rank may run on, and those of its host. */
void ce_check_threads(const struct ce_rank_facts *facts,
                      size_t ranks,
                      struct ce_findings *findings);

/* Can every rank read the model, and is it the same everywhere? */
void ce_check_model(const struct ce_rank_facts *facts,
                    size_t ranks,
                    struct ce_findings *findings);

/* What the ranks of each host will take against what is free there. */
void ce_check_memory(const struct ce_rank_facts *facts,
                     size_t ranks,
                     struct ce_findings *findings);

/* UCX's settings and devices on each host. */
void ce_check_ucx(const struct ce_rank_facts *facts,
                  size_t ranks,
                  struct ce_findings *findings);

/* Shared memory of jobs that were killed, on any host. */
void ce_check_leftovers(const struct ce_rank_facts *facts,
                        size_t ranks,
                        struct ce_findings *findings);

/* Can files be made in the directory, or can it be made? Tries, and leaves nothing.
 * Only rank 0 writes there. `host` is this one. */
void ce_check_out(const char *path, const char *host, struct ce_findings *findings);

#endif
