#include "comm/backend.h"
#include "comm/transport.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

/* These tests are about a process that nobody launched. */
static int leave_launcher(void **state)
{
    (void)state;
    unsetenv("OMPI_COMM_WORLD_RANK");
    unsetenv("OMPI_COMM_WORLD_SIZE");
    unsetenv("PMI_RANK");
    unsetenv("PMIX_RANK");
    unsetenv("SLURM_PROCID");
    return 0;
}

static void auto_is_self_when_alone(void **state)
{
    (void)state;
    struct ce_transport *t = NULL;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_transport_create(&t, "auto", 250, &err), CE_OK);
    assert_ptr_equal(t->ops, &ce_transport_self);
    assert_int_equal(t->rank, 0);
    assert_int_equal(t->ranks, 1);
    assert_int_equal(t->deadline_ms, 250);
    ce_transport_abort(t, 1);
    ce_transport_destroy(t);
    ce_transport_destroy(NULL);
}

static void every_name_names_its_table(void **state)
{
    (void)state;
    const char *const *names = ce_transport_names();

    assert_string_equal(names[0], ce_transport_self.name);
    assert_string_equal(names[1], ce_transport_mpi.name);
    assert_string_equal(names[2], ce_transport_ucx.name);
    assert_null(names[3]);
}

static void unknown_name_is_refused(void **state)
{
    (void)state;
    struct ce_transport *t = (void *)state;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_transport_create(&t, "pigeon", 0, &err), CE_ERR_ARG);
    assert_null(t);
    assert_string_equal(err.text,
                        "there is no transport 'pigeon', only auto, self, mpi, ucx");
}

static void self_in_a_launch_of_several_is_refused(void **state)
{
    (void)state;
    struct ce_transport *t = NULL;
    struct ce_error err = {.text = ""};

    setenv("OMPI_COMM_WORLD_RANK", "1", 1);
    setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
    assert_int_equal(ce_transport_create(&t, "self", 0, &err), CE_ERR_ARG);
    assert_null(t);
    assert_non_null(strstr(err.text, "each would do the whole job alone"));
    leave_launcher(state);
}

/* Tasks that srun starts without MPI support cannot find each other: better
 * refused than done once by each. */
static void auto_under_plain_srun_is_refused(void **state)
{
    (void)state;
    struct ce_transport *t = NULL;
    struct ce_error err = {.text = ""};

    setenv("SLURM_PROCID", "0", 1);
    setenv("SLURM_STEP_NUM_TASKS", "2", 1);
    assert_int_equal(ce_transport_create(&t, "auto", 0, &err), CE_ERR_ARG);
    assert_non_null(strstr(err.text, "srun --mpi=pmix"));
    setenv("SLURM_STEP_NUM_TASKS", "1", 1);
    assert_int_equal(ce_transport_create(&t, "auto", 0, &err), CE_OK);
    ce_transport_destroy(t);
    leave_launcher(state);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auto_is_self_when_alone),
        cmocka_unit_test(every_name_names_its_table),
        cmocka_unit_test(unknown_name_is_refused),
        cmocka_unit_test(self_in_a_launch_of_several_is_refused),
        cmocka_unit_test(auto_under_plain_srun_is_refused),
    };

    return cmocka_run_group_tests_name("comm.transport", tests, leave_launcher, NULL);
}
