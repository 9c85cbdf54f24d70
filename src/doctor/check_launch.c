/* check_launch.c - did the processes become the ranks of one job? */

#include "doctor/check.h"

#define CHECK "launch"

void ce_check_launch(const struct ce_launch *launch, struct ce_findings *findings)
{
    if (launch->problem != NULL) {
        ce_findings_add(findings,
                        CHECK,
                        CE_VERDICT_FAILED,
                        "Start with mpirun, or srun --mpi=pmix (srun --mpi=list shows "
                        "whether Slurm has it). Without it every process would do the "
                        "whole job alone.",
                        "%s",
                        launch->problem);
    } else if (launch->slurm_tasks > launch->ranks) {
        ce_findings_add(findings,
                        CHECK,
                        CE_VERDICT_WARNING,
                        "If all tasks were meant: mpirun (without -n it takes as many "
                        "as there are), or srun --mpi=pmix; not the program alone.",
                        "%d rank%s in a Slurm job of %d tasks",
                        launch->ranks,
                        launch->ranks == 1 ? "" : "s",
                        launch->slurm_tasks);
    } else {
        ce_findings_add(findings,
                        CHECK,
                        CE_VERDICT_OK,
                        NULL,
                        "%d rank%s",
                        launch->ranks,
                        launch->ranks == 1 ? "" : "s");
    }
}
