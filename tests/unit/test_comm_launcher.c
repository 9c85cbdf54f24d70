#include "comm/backend.h"
#include "test.h"

#include <stdlib.h>

static const char *const variables[] = {
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "PMI_RANK",
    "PMI_SIZE",
    "PMIX_RANK",
    "SLURM_PROCID",
    "SLURM_STEP_NUM_TASKS",
};

static int clear_environment(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        unsetenv(variables[i]);
    }
    return 0;
}

static void assert_launcher(int rank, int ranks, bool speaks_mpi)
{
    int found_rank = -1;
    int found_ranks = -1;

    ce_transport_launcher(&found_rank, &found_ranks);
    assert_int_equal(found_rank, rank);
    assert_int_equal(found_ranks, ranks);
    assert_int_equal(ce_launcher_speaks_mpi(), speaks_mpi);
}

static void alone_without_launcher(void **state)
{
    (void)state;
    assert_launcher(0, 1, false);
}

static void open_mpi_goes_before_slurm(void **state)
{
    (void)state;
    setenv("SLURM_PROCID", "0", 1);
    setenv("SLURM_STEP_NUM_TASKS", "2", 1);
    setenv("OMPI_COMM_WORLD_RANK", "3", 1);
    setenv("OMPI_COMM_WORLD_SIZE", "8", 1);
    assert_launcher(3, 8, true);
}

static void srun_with_pmix(void **state)
{
    (void)state;
    setenv("PMIX_RANK", "1", 1);
    setenv("SLURM_PROCID", "1", 1);
    setenv("SLURM_STEP_NUM_TASKS", "4", 1);
    assert_launcher(1, 4, true);
}

static void srun_without_mpi(void **state)
{
    (void)state;
    setenv("SLURM_PROCID", "1", 1);
    setenv("SLURM_STEP_NUM_TASKS", "4", 1);
    assert_launcher(1, 4, false);
}

static void batch_script_is_not_launched(void **state)
{
    (void)state;
    setenv("SLURM_PROCID", "0", 1);
    setenv("SLURM_NTASKS", "4", 1);
    assert_launcher(0, 1, false);
    unsetenv("SLURM_NTASKS");
}

static void pmix_without_a_size(void **state)
{
    (void)state;
    setenv("PMIX_RANK", "2", 1);
    assert_launcher(2, 0, true);
}

static void nonsense_is_not_a_launcher(void **state)
{
    (void)state;
    const char *const nonsense[] = {"", "x", "3x", "-1", "99999999999999999999"};

    setenv("PMI_SIZE", "4", 1);
    for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
        setenv("PMI_RANK", nonsense[i], 1);
        assert_launcher(0, 1, false);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(alone_without_launcher, clear_environment),
        cmocka_unit_test_setup(open_mpi_goes_before_slurm, clear_environment),
        cmocka_unit_test_setup(srun_with_pmix, clear_environment),
        cmocka_unit_test_setup(srun_without_mpi, clear_environment),
        cmocka_unit_test_setup(batch_script_is_not_launched, clear_environment),
        cmocka_unit_test_setup(pmix_without_a_size, clear_environment),
        cmocka_unit_test_setup(nonsense_is_not_a_launcher, clear_environment),
    };

    return cmocka_run_group_tests_name("comm.launcher", tests, NULL, NULL);
}
