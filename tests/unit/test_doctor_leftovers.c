/* Files like those that killed jobs leave, and one that a process still has. */

#include "doctor_fixture.h"
#include "temporary.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static void write_file(void **state, const char *name)
{
    static char data[3 * 4096];

    temporary_write(state, name, data, sizeof(data));
}

static void files_of_ended_jobs_are_counted(void **state)
{
    struct temporary *temporary = *state;
    struct ce_leftovers leftovers;

    ce_leftovers_find(&leftovers, temporary->dir);
    assert_int_equal(leftovers.count, 0);
    write_file(state, "vader_segment.host.1000.5fe20001.0");
    write_file(state, "ucx_shm_posix_1a2b");
    write_file(state, "somebody.else");
    temporary_mkdir(state, "sm_segment.host.1000.1.0");
    ce_leftovers_find(&leftovers, temporary->dir);
    assert_int_equal(leftovers.count, 2);
    assert_in_range(leftovers.bytes, 2 * 3 * 4096, 20 * 4096);
    assert_non_null(strstr("vader_segment.host.1000.5fe20001.0 ucx_shm_posix_1a2b",
                           leftovers.first));
}

static void a_file_that_a_process_has_mapped_is_in_use(void **state)
{
    struct temporary *temporary = *state;
    struct ce_leftovers leftovers;

    write_file(state, "vader_segment.host.1000.5fe20001.0");
    int fd = open(temporary_path(state, "vader_segment.host.1000.5fe20001.0"), O_RDWR);
    void *memory = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

    assert_ptr_not_equal(memory, MAP_FAILED);
    assert_int_equal(close(fd), 0);
    ce_leftovers_find(&leftovers, temporary->dir);
    assert_int_equal(leftovers.count, 0);
    assert_int_equal(munmap(memory, 4096), 0);
    ce_leftovers_find(&leftovers, temporary->dir);
    assert_int_equal(leftovers.count, 1);
}

static void the_first_host_with_some_is_named(void **state)
{
    struct ce_rank_facts facts[] = {
        sound_rank("a", 0), sound_rank("b", 0), sound_rank("b", 1)};
    struct ce_findings findings = {0};

    (void)state;
    ce_check_leftovers(facts, 3, &findings);
    assert_all_well(&findings);
    findings.count = 0;
    facts[1].leftovers = facts[2].leftovers = (struct ce_leftovers){
        .count = 2, .bytes = 8 * MIB, .first = "vader_segment.b.0.1.0"};
    ce_check_leftovers(facts, 3, &findings);
    assert_int_equal(findings.count, 1);
    assert_finding(&findings,
                   0,
                   CE_VERDICT_WARNING,
                   "b: 2 files of ended jobs in /dev/shm have 8.0 MiB, one is "
                   "vader_segment.b.0.1.0");
}

#define WITH_FILES(test)                                                               \
    cmocka_unit_test_setup_teardown(test, temporary_setup, temporary_teardown)

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        WITH_FILES(files_of_ended_jobs_are_counted),
        WITH_FILES(a_file_that_a_process_has_mapped_is_in_use),
        cmocka_unit_test(the_first_host_with_some_is_named),
    };

    return cmocka_run_group_tests_name("doctor.leftovers", tests, NULL, NULL);
}
