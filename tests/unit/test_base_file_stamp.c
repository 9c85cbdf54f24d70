/* Files that change while they are used, and which file an address is of. */

#include "base/file.h"
#include "base/file_stamp.h"
#include "base/mapped.h"
#include "temporary.h"
#include "test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* A time of the content that no clock gives now. */
static void set_time(const char *path, long seconds)
{
    const struct timespec times[] = {{.tv_sec = 1}, {.tv_sec = seconds}};

    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

struct watched {
    struct ce_file_watch watch;
    const char *path;
};

static struct watched begin(void **state)
{
    struct watched watched = {.path = temporary_path(state, "file")};
    struct ce_error err = {.text = ""};

    write_text(watched.path, "before");
    set_time(watched.path, 1000);
    assert_int_equal(ce_file_watch_add(&watched.watch, watched.path, NULL, &err),
                     CE_OK);
    assert_int_equal(ce_file_watch_check(&watched.watch, true, &err), CE_OK);
    return watched;
}

static void end(struct watched *watched, const char *words, bool only_strictly)
{
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_file_watch_check(&watched->watch, true, &err), CE_ERR_IO);
    if (strstr(err.text, words) == NULL || strstr(err.text, watched->path) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    }
    assert_int_equal(ce_file_watch_check(&watched->watch, false, &err),
                     only_strictly ? CE_OK : CE_ERR_IO);
    ce_file_watch_free(&watched->watch);
}

static void a_written_file_is_found(void **state)
{
    struct watched watched = begin(state);

    write_text(watched.path, "BEFORE"); /* in place, of the same size */
    end(&watched, "changed while it was used: it was written to", false);
}

static void a_cut_file_is_found(void **state)
{
    struct watched watched = begin(state);

    assert_int_equal(truncate(watched.path, 2), 0);
    set_time(watched.path, 1000);
    end(&watched, "another size", false);
}

static void another_file_of_the_name_is_found(void **state)
{
    struct watched watched = begin(state);
    const char *other = temporary_path(state, "other");

    write_text(other, "before");
    set_time(other, 1000);
    assert_int_equal(rename(other, watched.path), 0);
    end(&watched, "another file has its name", false);
}

static void a_removed_file_is_found(void **state)
{
    struct watched watched = begin(state);

    assert_int_equal(unlink(watched.path), 0);
    end(&watched, "No such file", false);
}

static void a_file_that_comes_is_found(void **state)
{
    struct watched watched = {.path = temporary_path(state, "comes")};
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_file_watch_add(&watched.watch, watched.path, NULL, &err),
                     CE_OK);
    assert_int_equal(ce_file_watch_check(&watched.watch, true, &err), CE_OK);
    write_text(watched.path, "now");
    end(&watched, "it was not there before", false);
}

static void a_time_that_was_set_back_is_found_strictly(void **state)
{
    struct watched watched = begin(state);

    write_text(watched.path, "BEFORE");
    do { /* until the clock of the file system has gone on */
        set_time(watched.path, 1000);
        struct stat info;

        assert_int_equal(stat(watched.path, &info), 0);
        if ((int64_t)info.st_ctim.tv_sec * 1000000000 + info.st_ctim.tv_nsec !=
            watched.watch.file[0].stamp.changed_ns) {
            break;
        }
    } while (true);
    end(&watched, "was changed", true);
}

static void an_address_tells_its_file(void **state)
{
    const char *path = temporary_path(state, "mapped");
    struct ce_file_map map;
    struct ce_error err = {.text = ""};

    write_text(path, "some bytes");
    assert_int_equal(ce_file_map_open(&map, path, &err), CE_OK);
    const unsigned char *data = map.data;

    assert_string_equal(ce_mapped_find(data), path);
    assert_string_equal(ce_mapped_find(data + map.bytes - 1), path);
    assert_null(ce_mapped_find(data + map.bytes));
    assert_null(ce_mapped_find(&map));
    ce_file_map_close(&map);
    assert_null(ce_mapped_find(data));
}

#define TEST(name)                                                                     \
    cmocka_unit_test_setup_teardown(name, temporary_setup, temporary_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_written_file_is_found),
        TEST(a_cut_file_is_found),
        TEST(another_file_of_the_name_is_found),
        TEST(a_removed_file_is_found),
        TEST(a_time_that_was_set_back_is_found_strictly),
        TEST(a_file_that_comes_is_found),
        TEST(an_address_tells_its_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
