#include "comm/roll.h"
#include "temporary.h"
#include "test.h"

#include <string.h>

#define MS UINT64_C(1000000)

/* A process of a /proc of our own: rank, state and ticks; `waits`: it has the thread.
 */
static void put_process(
    void **state, int process, const char *environment, size_t bytes, const char *stat)
{
    char name[64];

    (void)snprintf(name, sizeof(name), "%d", process);
    (void)mkdir(temporary_path(state, name), 0755);
    (void)snprintf(name, sizeof(name), "%d/environ", process);
    temporary_write(state, name, environment, bytes);
    (void)snprintf(name, sizeof(name), "%d/stat", process);
    temporary_write(state, name, stat, strlen(stat));
}

static void
put_rank(void **state, int process, int rank, const char *state_letter, int ticks)
{
    char environment[128];
    char stat[128];
    int bytes = snprintf(environment,
                         sizeof(environment),
                         "HOME=/%cPMIX_NAMESPACE=job 1%cOMPI_COMM_WORLD_RANK=%d%c",
                         0,
                         0,
                         rank,
                         0);

    (void)snprintf(stat,
                   sizeof(stat),
                   "%d (ce) moe) %s 1 2 3 4 5 6 7 8 9 10 %d 1 0\n",
                   process,
                   state_letter,
                   ticks);
    put_process(state, process, environment, (size_t)bytes, stat);
}

static void put_thread(void **state, int process, const char *comm)
{
    char name[64];

    (void)snprintf(name, sizeof(name), "%d/task", process);
    (void)mkdir(temporary_path(state, name), 0755);
    (void)snprintf(name, sizeof(name), "%d/task/9", process);
    (void)mkdir(temporary_path(state, name), 0755);
    (void)snprintf(name, sizeof(name), "%d/task/9/comm", process);
    temporary_write(state, name, comm, strlen(comm));
}

static int setup(void **state)
{
    (void)setenv("PMIX_NAMESPACE", "job 1", 1);
    (void)setenv("OMPI_COMM_WORLD_RANK", "0", 1);
    (void)setenv("OMPI_COMM_WORLD_SIZE", "9", 1);
    (void)unsetenv("SLURM_JOB_ID");
    (void)unsetenv("SLURM_STEP_ID");
    return temporary_setup(state);
}

/* Rank 0, which is us, waits. */
static void put_ourselves(void **state)
{
    put_rank(state, 10, 0, "S", 5);
    put_thread(state, 10, CE_ROLL_THREAD "\n");
}

/* The number of ranks missing when it is looked at every 100 ms until `ms`. */
static size_t look_until(struct ce_roll *roll, uint64_t from, uint64_t ms)
{
    size_t missing = 0;

    for (; from <= ms; from += 100) {
        missing = ce_roll_look(roll, from * MS);
    }
    return missing;
}

static void expect(const struct ce_roll *roll, const char *wanted)
{
    char text[CE_ROLL_TEXT];

    ce_roll_describe(roll, text);
    assert_string_equal(text, wanted);
}

static void a_stopped_rank_is_named_at_the_deadline(void **state)
{
    struct ce_roll roll;

    put_ourselves(state);
    put_rank(state, 11, 1, "T", 5);
    put_thread(state, 11, CE_ROLL_THREAD "\n"); /* stopped while it waited */
    ce_roll_init(&roll, temporary_path(state, ""), 1000, false);
    assert_int_equal(look_until(&roll, 0, 900), 0);
    expect(&roll, "");
    assert_int_equal(look_until(&roll, 1000, 1000), 1);
    expect(&roll, "rank 1 (process 11 is stopped)");
    put_rank(state, 11, 1, "S", 5); /* continued */
    assert_int_equal(look_until(&roll, 1100, 1900), 0);
    ce_roll_fini(&roll);
}

static void a_rank_that_has_not_come_may_work(void **state)
{
    struct ce_roll roll;
    uint64_t ms = 0;

    put_ourselves(state);
    ce_roll_init(&roll, temporary_path(state, ""), 1000, false);
    for (int ticks = 0; ticks < 40; ticks++, ms += 100) { /* uses the processor */
        put_rank(state, 12, 2, "R", ticks);
        assert_int_equal(ce_roll_look(&roll, ms * MS), 0);
    }
    assert_int_equal(look_until(&roll, ms, ms + 800),
                     0); /* no more: waits for a disk */
    assert_int_equal(look_until(&roll, ms + 900, ms + 900), 1);
    expect(&roll, "rank 2 (process 12, ce) moe, has not come so far)");
    put_thread(state, 12, CE_ROLL_THREAD "\n");
    assert_int_equal(look_until(&roll, ms + 1000, ms + 3000), 0);
    ce_roll_fini(&roll);
}

/* Nobody looks while this process stands still: the others may have stood, too. */
static void time_without_a_look_does_not_count(void **state)
{
    struct ce_roll roll;

    put_ourselves(state);
    put_rank(state, 11, 1, "T", 5);
    ce_roll_init(&roll, temporary_path(state, ""), 1000, false);
    assert_int_equal(look_until(&roll, 0, 300), 0);
    assert_int_equal(look_until(&roll, 100000, 100500), 0);
    assert_int_equal(look_until(&roll, 100600, 100600), 1);
    ce_roll_fini(&roll);
}

static void others_are_not_ours(void **state)
{
    static const char other_job[] = "PMIX_NAMESPACE=job 10\0OMPI_COMM_WORLD_RANK=1\0";
    static const char no_job[] = "OMPI_COMM_WORLD_RANK=1\0";
    struct ce_roll roll;

    put_ourselves(state);
    put_process(state, 20, other_job, sizeof(other_job) - 1, "20 (x) T 1 2");
    put_process(state, 21, no_job, sizeof(no_job) - 1, "21 (x) T 1 2");
    put_process(state, 22, "", 0, "22 (x) T 1 2");
    put_rank(state, 23, 3, "Z", 5); /* ended: the launcher sees that */
    put_thread(state, 20, "x\n");
    (void)mkdir(temporary_path(state, "self"), 0755);
    ce_roll_init(&roll, temporary_path(state, ""), 1000, false);
    assert_int_equal(look_until(&roll, 0, 3000), 0);
    assert_int_equal(roll.count, 1);
    ce_roll_fini(&roll);
    ce_roll_init(&roll, temporary_path(state, "not there"), 1000, false);
    assert_int_equal(look_until(&roll, 0, 3000), 0);
    ce_roll_fini(&roll);
}

/* A script that started the program has the same environment. */
static void a_wrapper_is_not_the_rank(void **state)
{
    struct ce_roll roll;

    put_ourselves(state);
    put_rank(state, 30, 4, "S", 5);
    put_rank(state, 31, 4, "S", 7);
    put_thread(state, 31, CE_ROLL_THREAD "\n");
    ce_roll_init(&roll, temporary_path(state, ""), 1000, false);
    assert_int_equal(look_until(&roll, 0, 3000), 0);
    assert_int_equal(roll.count, 2);
    assert_int_equal(roll.rank[0].process + roll.rank[1].process, 10 + 31);
    ce_roll_fini(&roll);
}

/* As one that was given --help alone. */
static void a_rank_may_not_end_at_the_start(void **state)
{
    struct ce_roll roll;

    (void)setenv("OMPI_COMM_WORLD_SIZE", "3", 1);
    (void)setenv("OMPI_COMM_WORLD_LOCAL_SIZE", "3", 1);
    put_ourselves(state);
    put_rank(state, 12, 2, "S", 5);
    put_thread(state, 12, CE_ROLL_THREAD "\n");
    ce_roll_init(&roll, temporary_path(state, ""), 1000, true);
    assert_int_equal(look_until(&roll, 0, 900), 0);
    assert_int_equal(look_until(&roll, 1000, 1000), 1);
    expect(&roll, "rank 1 (which has no process)");
    put_rank(state, 11, 1, "S", 5); /* after all */
    put_thread(state, 11, CE_ROLL_THREAD "\n");
    assert_int_equal(look_until(&roll, 1100, 3000), 0);
    ce_roll_fini(&roll);

    ce_roll_init(&roll, temporary_path(state, ""), 1000, false);
    assert_int_equal(look_until(&roll, 0, 500), 0);
    put_rank(state, 11, 1, "Z", 5); /* where it may end */
    assert_int_equal(look_until(&roll, 600, 3000), 0);
    ce_roll_fini(&roll);

    put_rank(state, 10, 0, "Z", 5); /* in a namespace of its own: it sees nobody */
    ce_roll_init(&roll, temporary_path(state, ""), 1000, true);
    assert_int_equal(look_until(&roll, 0, 3000), 0);
    ce_roll_fini(&roll);
    (void)unsetenv("OMPI_COMM_WORLD_LOCAL_SIZE");
}

static void many_are_counted(void **state)
{
    struct ce_roll roll;
    char text[CE_ROLL_TEXT];

    put_ourselves(state);
    for (int r = 0; r < 7; r++) {
        put_rank(state, 4000000 + r, 1000000 + r, "T", 5);
    }
    ce_roll_init(&roll, temporary_path(state, ""), 1000, false);
    assert_int_equal(look_until(&roll, 0, 1000), 7);
    ce_roll_describe(&roll, text);
    assert_non_null(strstr(text, " is stopped) and 3 more"));
    ce_roll_fini(&roll);
}

#define WITH_PROC(function)                                                            \
    cmocka_unit_test_setup_teardown(function, setup, temporary_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROC(a_stopped_rank_is_named_at_the_deadline),
        WITH_PROC(a_rank_that_has_not_come_may_work),
        WITH_PROC(time_without_a_look_does_not_count),
        WITH_PROC(others_are_not_ours),
        WITH_PROC(a_wrapper_is_not_the_rank),
        WITH_PROC(a_rank_may_not_end_at_the_start),
        WITH_PROC(many_are_counted),
    };

    return cmocka_run_group_tests_name("comm.roll", tests, NULL, NULL);
}
