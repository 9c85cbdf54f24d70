/* The directory trees of both versions, written into a temporary directory. */

#include "base/cgroup.h"
#include "temporary.h"
#include "test.h"

#include <string.h>

static void write_text(void **state, const char *name, const char *text)
{
    temporary_write(state, name, text, strlen(text));
}

/* `format` takes the temporary directory where the mount point stands. */
static uint64_t
left(void **state, const char *mountinfo_format, const char *cgroup_text)
{
    struct temporary *temporary = *state;
    char mountinfo[512];
    const char *mount = strstr(mountinfo_format, "DIR");

    (void)snprintf(mountinfo,
                   sizeof(mountinfo),
                   "22 1 0:20 / /proc rw - proc proc rw\n%.*s%s%s",
                   (int)(mount - mountinfo_format),
                   mountinfo_format,
                   temporary->dir,
                   mount + 3);
    write_text(state, "mountinfo", mountinfo);
    write_text(state, "cgroup", cgroup_text);
    return ce_cgroup_memory_left(temporary_path(state, "mountinfo"),
                                 temporary_path(state, "cgroup"));
}

static const char version_2_at_root[] =
    "30 22 0:26 / DIR rw,nosuid - cgroup2 cgroup2 rw\n";
static const char version_1_at_root[] =
    "35 32 0:31 / DIR rw shared:9 - cgroup cgroup rw,cpu,memory\n";

static void without_files_there_is_no_limit(void **state)
{
    (void)state;
    assert_true(ce_cgroup_memory_left("/nowhere", "/nowhere") == UINT64_MAX);
}

static void version_2_leaves_limit_minus_use(void **state)
{
    temporary_mkdir(state, "job");
    write_text(state, "job/memory.max", "1000000\n");
    write_text(state, "job/memory.current", "300000\n");
    assert_int_equal(left(state, version_2_at_root, "nonsense\n0::/job\n"), 700000);
}

static void page_cache_counts_as_free(void **state)
{
    temporary_mkdir(state, "job");
    write_text(state, "job/memory.max", "1000000\n");
    write_text(state, "job/memory.current", "300000\n");
    write_text(
        state,
        "job/memory.stat",
        "anon 7\nfile 200000\ninactive_file 150000\nactive_file 50000\nslab 1\n");
    assert_int_equal(left(state, version_2_at_root, "0::/job\n"), 900000);
}

/* All that is file but cannot be dropped at once, each with a number of its own. */
static void page_cache_that_stays_counts_as_used(void **state)
{
    temporary_mkdir(state, "job");
    write_text(state, "job/memory.max", "1000000\n");
    write_text(state, "job/memory.current", "900000\n");
    write_text(state,
               "job/memory.stat",
               "anon 100000\nfile 800000\nshmem 100000\nfile_dirty 20000\n"
               "file_writeback 3000\ninactive_file 300000\nactive_file 400000\n"
               "unevictable 400\n");
    assert_int_equal(left(state, version_2_at_root, "0::/job\n"), 776600);
}

/* Locked pages are on no list of files: what is listed bounds what can go. */
static void page_cache_beyond_the_lists_counts_as_used(void **state)
{
    temporary_mkdir(state, "job");
    write_text(state, "job/memory.max", "1000000\n");
    write_text(state, "job/memory.current", "900000\n");
    write_text(state,
               "job/memory.stat",
               "file 800000\ninactive_file 10000\nactive_file 20000\n");
    assert_int_equal(left(state, version_2_at_root, "0::/job\n"), 130000);
}

static void max_is_no_limit(void **state)
{
    temporary_mkdir(state, "job");
    write_text(state, "job/memory.max", "max\n");
    write_text(state, "job/memory.current", "300000\n");
    assert_true(left(state, version_2_at_root, "0::/job\n") == UINT64_MAX);
}

static void a_parent_can_be_tighter(void **state)
{
    temporary_mkdir(state, "job");
    temporary_mkdir(state, "job/step");
    write_text(state, "job/step/memory.max", "1000000\n");
    write_text(state, "job/step/memory.current", "0\n");
    write_text(state, "job/memory.max", "600000\n");
    write_text(state, "job/memory.current", "100000\n");
    assert_int_equal(left(state, version_2_at_root, "0::/job/step\n"), 500000);
}

static void use_beyond_the_limit_leaves_nothing(void **state)
{
    write_text(state, "memory.max", "1000\n");
    write_text(state, "memory.current", "5000\n");
    assert_int_equal(left(state, version_2_at_root, "0::/\n"), 0);
}

static void version_1_is_found_by_its_controller(void **state)
{
    temporary_mkdir(state, "job");
    write_text(state, "job/memory.limit_in_bytes", "1000000\n");
    write_text(state, "job/memory.usage_in_bytes", "400000\n");
    write_text(
        state,
        "job/memory.stat",
        "cache 5\ninactive_file 1\ntotal_cache 90000\ntotal_shmem 20000\ntotal_dirty "
        "7000\n"
        "total_writeback 300\ntotal_inactive_file 50000\ntotal_active_file 40000\n");
    assert_int_equal(left(state, version_1_at_root, "5:cpu,memory:/job\n0::/\n"),
                     662700);
    assert_true(left(state, version_1_at_root, "5:memory2:/job\n") == UINT64_MAX);
}

static void other_version_1_controllers_do_not_count(void **state)
{
    write_text(state, "memory.limit_in_bytes", "1000\n");
    assert_true(left(state,
                     "35 32 0:31 / DIR rw - cgroup cgroup rw,cpuset\n",
                     "5:memory:/\n") == UINT64_MAX);
}

/* A container sees its own group mounted as the root. */
static void the_root_of_the_mount_is_cut_off_the_path(void **state)
{
    temporary_mkdir(state, "step");
    write_text(state, "memory.max", "9000\n");
    write_text(state, "step/memory.max", "4000\n");
    assert_int_equal(left(state,
                          "30 22 0:26 /docker/x DIR rw - cgroup2 cgroup2 rw\n",
                          "0::/docker/x/step\n"),
                     4000);
    assert_int_equal(left(state,
                          "30 22 0:26 /docker/x DIR rw - cgroup2 cgroup2 rw\n",
                          "0::/docker/xyz/step\n"),
                     9000);
}

#define WITH_FILES(test)                                                               \
    cmocka_unit_test_setup_teardown(test, temporary_setup, temporary_teardown)

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_files_there_is_no_limit),
        WITH_FILES(version_2_leaves_limit_minus_use),
        WITH_FILES(page_cache_counts_as_free),
        WITH_FILES(page_cache_that_stays_counts_as_used),
        WITH_FILES(page_cache_beyond_the_lists_counts_as_used),
        WITH_FILES(max_is_no_limit),
        WITH_FILES(a_parent_can_be_tighter),
        WITH_FILES(use_beyond_the_limit_leaves_nothing),
        WITH_FILES(version_1_is_found_by_its_controller),
        WITH_FILES(other_version_1_controllers_do_not_count),
        WITH_FILES(the_root_of_the_mount_is_cut_off_the_path),
    };

    return cmocka_run_group_tests_name("base.cgroup", tests, NULL, NULL);
}
