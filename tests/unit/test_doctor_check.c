/* The checks, each with facts that pass and facts that do not. */

#include "doctor_fixture.h"
#include "temporary.h"

#include <unistd.h>

static void launch_of_all_tasks(void **state)
{
    struct ce_findings findings = {0};

    (void)state;
    ce_check_launch(&(struct ce_launch){.ranks = 4, .slurm_tasks = 4}, &findings);
    assert_all_well(&findings);
}

static void launch_as_singletons(void **state)
{
    struct ce_findings findings = {0};

    (void)state;
    ce_check_launch(
        &(struct ce_launch){.ranks = 1, .slurm_tasks = 4, .problem = "4 processes"},
        &findings);
    assert_finding(&findings, 0, CE_VERDICT_FAILED, "4 processes");
    assert_non_null(strstr(findings.item[0].advice, "--mpi=pmix"));
}

static void launch_of_fewer_ranks_than_tasks(void **state)
{
    struct ce_findings findings = {0};

    (void)state;
    ce_check_launch(&(struct ce_launch){.ranks = 1, .slurm_tasks = 4}, &findings);
    assert_finding(&findings, 0, CE_VERDICT_WARNING, "1 rank in", "4 tasks");
}

static void threads_with_a_processor_each(void **state)
{
    struct ce_rank_facts facts[] = {
        sound_rank("a", 0), sound_rank("a", 1), sound_rank("b", 0)};
    struct ce_findings findings = {0};

    (void)state;
    ce_check_threads(facts, 3, &findings);
    assert_all_well(&findings);
}

static void threads_of_a_rank_on_one_core(void **state)
{
    struct ce_rank_facts facts[] = {sound_rank("a", 0), sound_rank("b", 1)};
    struct ce_findings findings = {0};

    (void)state;
    facts[1].threads = 4;
    ce_check_threads(facts, 2, &findings);
    assert_int_equal(findings.count, 1);
    assert_finding(&findings,
                   0,
                   CE_VERDICT_FAILED,
                   "1 of 2 ranks",
                   "rank 1 on b",
                   "4 threads",
                   "1 of 4 processors");
    assert_non_null(strstr(findings.item[0].advice, "--map-by"));
}

static void ranks_bound_to_one_core(void **state)
{
    struct ce_rank_facts facts[] = {
        sound_rank("a", 0), sound_rank("b", 2), sound_rank("b", 2)};
    struct ce_findings findings = {0};

    (void)state;
    ce_check_threads(facts, 3, &findings);
    assert_int_equal(findings.count, 1);
    assert_finding(&findings, 0, CE_VERDICT_FAILED, "2 ranks on b", "only 1 of its 4");
}

static void more_threads_than_the_host_has_processors(void **state)
{
    struct ce_rank_facts facts[] = {sound_rank("a", 0), sound_rank("a", 0)};
    struct ce_findings findings = {0};

    (void)state;
    for (size_t r = 0; r < 2; r++) {
        facts[r].threads = 3;
        for (size_t i = 0; i < 4; i++) {
            CPU_SET(i, &facts[r].allowed);
        }
    }
    ce_check_threads(facts, 2, &findings);
    assert_int_equal(findings.count, 1);
    assert_finding(&findings, 0, CE_VERDICT_WARNING, "6 threads", "4 processors");
}

static void model_alike_everywhere(void **state)
{
    struct ce_rank_facts facts[] = {sound_rank("a", 0), sound_rank("b", 0)};
    struct ce_findings findings = {0};

    (void)state;
    ce_check_model(facts, 2, &findings);
    assert_all_well(&findings);
}

static void model_that_one_host_lacks(void **state)
{
    struct ce_rank_facts facts[] = {
        sound_rank("a", 0), sound_rank("b", 0), sound_rank("b", 1)};
    struct ce_findings findings = {0};

    (void)state;
    strcpy(facts[1].model_error, "/m: no such directory");
    strcpy(facts[2].model_error, "/m: no such directory");
    ce_check_model(facts, 3, &findings);
    assert_int_equal(findings.count, 1);
    assert_finding(&findings,
                   0,
                   CE_VERDICT_FAILED,
                   "2 of 3 ranks",
                   "rank 1 on b",
                   "/m: no such directory");
}

static void model_that_nobody_has(void **state)
{
    struct ce_rank_facts facts[] = {sound_rank("a", 0), sound_rank("b", 0)};
    struct ce_findings findings = {0};

    (void)state;
    strcpy(facts[0].model_error, "no such directory");
    strcpy(facts[1].model_error, "no such directory");
    ce_check_model(facts, 2, &findings);
    assert_finding(&findings, 0, CE_VERDICT_FAILED, "no rank", "no such directory");
}

static void models_that_differ(void **state)
{
    struct ce_rank_facts facts[] = {sound_rank("a", 0), sound_rank("b", 0)};
    struct ce_findings findings = {0};

    (void)state;
    facts[1].config_hash = 8;
    ce_check_model(facts, 2, &findings);
    assert_finding(&findings, 0, CE_VERDICT_FAILED, "config.json on b", "rank 1");
}

static void memory_of_the_fullest_host(void **state)
{
    struct ce_rank_facts facts[] = {
        sound_rank("a", 0), sound_rank("b", 0), sound_rank("b", 1)};
    struct ce_findings findings = {0};

    (void)state;
    ce_check_memory(facts, 3, &findings);
    assert_all_well(&findings);
    assert_finding(&findings, 0, CE_VERDICT_OK, "b: 2 ranks", "20.0 MiB", "100.0 MiB");
}

/* Two nodes that are both called localhost, and two containers of one machine. */
static void hosts_are_told_apart_by_more_than_their_names(void **state)
{
    struct ce_rank_facts facts[] = {sound_rank("localhost", 0),
                                    sound_rank("localhost", 0)};
    struct ce_findings findings = {0};

    (void)state;
    facts[0].planned = facts[1].planned = 60 * MIB;
    facts[1].host.machine = facts[1].host.id = 77;
    ce_host_number(&facts[0].host, sizeof(facts[0]), 2);
    ce_check_memory(facts, 2, &findings);
    assert_finding(&findings, 0, CE_VERDICT_OK, "1 rank ", "60.0 MiB");
    assert_string_equal(facts[1].host.name, "localhost#2");
    findings.count = 0;
    facts[1].host.machine = facts[0].host.machine;
    ce_check_memory(facts, 2, &findings);
    assert_finding(&findings, 0, CE_VERDICT_FAILED, "1 rank ", "40.0 MiB are free");
    findings.count = 0;
    facts[0].machine_available = facts[1].machine_available = 1000 * MIB;
    ce_check_memory(facts, 2, &findings);
    assert_finding(&findings, 0, CE_VERDICT_OK, "1 rank ", "100.0 MiB are free");
}

static void memory_that_ranks_of_a_host_exceed_together(void **state)
{
    struct ce_rank_facts facts[] = {
        sound_rank("a", 0), sound_rank("b", 0), sound_rank("b", 1)};
    struct ce_findings findings = {0};

    (void)state;
    facts[1].planned = facts[2].planned = 48 * MIB;
    ce_check_memory(facts, 3, &findings);
    assert_finding(&findings, 0, CE_VERDICT_WARNING, "96.0 MiB");
    findings.count = 0;
    facts[2].planned = 53 * MIB;
    ce_check_memory(facts, 3, &findings);
    assert_finding(&findings, 0, CE_VERDICT_FAILED, "b: 2 ranks", "101.0 MiB");
    findings.count = 0;
    facts[1].planned = UINT64_MAX;
    ce_check_memory(facts, 3, &findings);
    assert_finding(&findings, 0, CE_VERDICT_FAILED, "b: 2 ranks");
}

static void memory_without_a_plan(void **state)
{
    struct ce_rank_facts facts[] = {sound_rank("a", 0)};
    struct ce_findings findings = {0};

    (void)state;
    facts[0].planned = 0;
    ce_check_memory(facts, 1, &findings);
    assert_finding(&findings, 0, CE_VERDICT_SKIPPED, "not known");
}

static void ucx_with_a_way_to_all(void **state)
{
    struct ce_rank_facts facts[] = {
        sound_rank("a", 0), sound_rank("a", 1), sound_rank("b", 0)};
    struct ce_findings findings = {0};

    (void)state;
    ce_check_ucx(facts, 3, &findings);
    assert_all_well(&findings);
}

static void ucx_without_what_its_settings_name(void **state)
{
    struct ce_rank_facts facts[] = {sound_rank("a", 0), sound_rank("b", 0)};
    struct ce_findings findings = {0};

    (void)state;
    strcpy(facts[1].ucx.no_device, "mlx5_0:1");
    strcpy(facts[1].ucx.no_transport, "rc_x");
    ce_check_ucx(facts, 2, &findings);
    assert_int_equal(findings.count, 2);
    assert_finding(&findings, 0, CE_VERDICT_WARNING, "b: ", "mlx5_0:1", "eth0");
    assert_finding(&findings, 1, CE_VERDICT_WARNING, "b: ", "rc_x");
    findings.count = 0;
    facts[1].ucx.has_device = false;
    ce_check_ucx(facts, 2, &findings);
    assert_finding(&findings, 0, CE_VERDICT_FAILED, "mlx5_0:1");
}

/* Only where there are such ranks. */
static void ucx_without_a_way(void **state)
{
    struct ce_rank_facts facts[] = {
        sound_rank("a", 0), sound_rank("a", 1), sound_rank("b", 0)};
    struct ce_findings findings = {0};

    (void)state;
    for (size_t r = 0; r < 3; r++) {
        facts[r].ucx.reaches_hosts = false;
        facts[r].ucx.reaches_ranks = false;
    }
    ce_check_ucx(facts, 3, &findings);
    assert_int_equal(findings.count, 3);
    assert_finding(&findings, 0, CE_VERDICT_FAILED, "a: ", "other hosts");
    assert_finding(&findings, 1, CE_VERDICT_FAILED, "a: ", "other ranks");
    assert_finding(&findings, 2, CE_VERDICT_FAILED, "b: ", "other hosts");
    findings.count = 0;
    ce_check_ucx(facts, 1, &findings);
    assert_all_well(&findings);
}

static void ucx_with_an_idle_fabric(void **state)
{
    struct ce_rank_facts facts[] = {sound_rank("a", 0), sound_rank("b", 0)};
    struct ce_findings findings = {0};

    (void)state;
    strcpy(facts[0].ucx.unused_fabric, "mlx5_0");
    ce_check_ucx(facts, 2, &findings);
    assert_finding(&findings, 0, CE_VERDICT_WARNING, "a has", "mlx5_0");
}

static void ucx_of_many_hosts_is_told_of_a_few(void **state)
{
    struct ce_rank_facts facts[40];
    struct ce_findings findings = {0};
    char host[16];

    (void)state;
    for (int r = 0; r < 40; r++) {
        (void)snprintf(host, sizeof(host), "n%d", r);
        facts[r] = sound_rank(host, 0);
        facts[r].ucx.reaches_hosts = false;
    }
    ce_check_ucx(facts, 40, &findings);
    assert_int_equal(findings.count, 3);
}

static void out_that_can_be_written(void **state)
{
    struct ce_findings findings = {0};

    ce_check_out(temporary_path(state, ""), "a", &findings);
    ce_check_out(temporary_path(state, "not/there/yet"), "a", &findings);
    assert_int_equal(findings.count, 2);
    assert_finding(&findings, 0, CE_VERDICT_OK, " on a");
    assert_finding(&findings, 1, CE_VERDICT_OK, "not/there/yet");
    assert_int_equal(rmdir(temporary_path(state, "")), 0); /* nothing is left in it */
    assert_int_equal(mkdir(temporary_path(state, ""), 0700), 0);
}

static void out_that_cannot(void **state)
{
    struct ce_findings findings = {0};

    temporary_write(state, "file", "x", 1);
    ce_check_out(temporary_path(state, "file"), "a", &findings);
    ce_check_out(temporary_path(state, "file/out"), "a", &findings);
    ce_check_out("/proc/out", "a", &findings);
    assert_int_equal(findings.count, 3);
    assert_finding(&findings, 0, CE_VERDICT_FAILED, "file on a", "Not a directory");
    assert_finding(&findings, 1, CE_VERDICT_FAILED, "file/out", "Not a directory");
    assert_finding(&findings, 2, CE_VERDICT_FAILED, "/proc/out");
}

static void findings_beyond_the_last_are_dropped(void **state)
{
    struct ce_findings findings = {0};

    (void)state;
    for (int i = 0; i < CE_MOST_FINDINGS + 2; i++) {
        ce_findings_add(&findings, "x", CE_VERDICT_WARNING, NULL, "%d", i);
    }
    assert_int_equal(findings.count, CE_MOST_FINDINGS);
    assert_int_equal(ce_findings_worst(&findings), CE_VERDICT_WARNING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(launch_of_all_tasks),
        cmocka_unit_test(launch_as_singletons),
        cmocka_unit_test(launch_of_fewer_ranks_than_tasks),
        cmocka_unit_test(threads_with_a_processor_each),
        cmocka_unit_test(threads_of_a_rank_on_one_core),
        cmocka_unit_test(ranks_bound_to_one_core),
        cmocka_unit_test(more_threads_than_the_host_has_processors),
        cmocka_unit_test(model_alike_everywhere),
        cmocka_unit_test(model_that_one_host_lacks),
        cmocka_unit_test(model_that_nobody_has),
        cmocka_unit_test(models_that_differ),
        cmocka_unit_test(memory_of_the_fullest_host),
        cmocka_unit_test(memory_that_ranks_of_a_host_exceed_together),
        cmocka_unit_test(hosts_are_told_apart_by_more_than_their_names),
        cmocka_unit_test(memory_without_a_plan),
        cmocka_unit_test(ucx_with_a_way_to_all),
        cmocka_unit_test(ucx_without_what_its_settings_name),
        cmocka_unit_test(ucx_without_a_way),
        cmocka_unit_test(ucx_with_an_idle_fabric),
        cmocka_unit_test(ucx_of_many_hosts_is_told_of_a_few),
        cmocka_unit_test_setup_teardown(
            out_that_can_be_written, temporary_setup, temporary_teardown),
        cmocka_unit_test_setup_teardown(
            out_that_cannot, temporary_setup, temporary_teardown),
        cmocka_unit_test(findings_beyond_the_last_are_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
