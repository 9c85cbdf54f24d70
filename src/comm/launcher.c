/* launcher.c - what the environment says about the job this process belongs to
 *
 * Read before any library is started, because starting MPI in a process that no
 * launcher started, or in one it cannot serve, ends the process.
 */

#include "comm/backend.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

struct launcher {
    const char *rank;
    const char *ranks;
    bool speaks_mpi;
};

/* In order of preference: an inner launcher's variables first, because mpirun
 * inside a Slurm job leaves those of Slurm in place. A batch script has
 * SLURM_PROCID too but is not a step, so it is not launched. */
static const struct launcher launchers[] = {
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", true}, /* Open MPI's mpirun */
    {"PMI_RANK", "PMI_SIZE", true},                         /* Hydra, srun --mpi=pmi2 */
    {"PMIX_RANK", "SLURM_STEP_NUM_TASKS", true},            /* srun --mpi=pmix */
    {"PMIX_RANK", NULL, true},                              /* other PMIx launchers */
    {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", false},        /* srun --mpi=none */
};

static bool read_number(const char *variable, int *number)
{
    const char *text = getenv(variable);
    char *end;

    if (text == NULL || *text == '\0') {
        return false;
    }
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || *end != '\0' || value < 0 || value > INT_MAX) {
        return false;
    }
    *number = (int)value;
    return true;
}

/* The launcher that started this process, or NULL. */
static const struct launcher *find_launcher(int *rank, int *ranks)
{
    for (size_t i = 0; i < sizeof(launchers) / sizeof(launchers[0]); i++) {
        const struct launcher *launcher = &launchers[i];

        *ranks = 0;
        if (read_number(launcher->rank, rank) &&
            (launcher->ranks == NULL || read_number(launcher->ranks, ranks))) {
            return launcher;
        }
    }
    return NULL;
}

void ce_transport_launcher(int *rank, int *ranks)
{
    if (find_launcher(rank, ranks) == NULL) {
        *rank = 0;
        *ranks = 1;
    }
}

bool ce_launcher_speaks_mpi(void)
{
    int rank;
    int ranks;
    const struct launcher *launcher = find_launcher(&rank, &ranks);

    return launcher != NULL && launcher->speaks_mpi;
}

const char *ce_launcher_rank_variable(void)
{
    int rank;
    int ranks;
    const struct launcher *launcher = find_launcher(&rank, &ranks);

    return launcher != NULL ? launcher->rank : NULL;
}
