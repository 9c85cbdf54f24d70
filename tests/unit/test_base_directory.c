#include "base/directory.h"
#include "base/file.h"
#include "temporary.h"
#include "test.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void assert_ok(enum ce_status status, const struct ce_error *err)
{
    if (status != CE_OK) {
        fail_msg("%s", err->text);
    }
}

static void put(const struct ce_directory_writer *writer, const char *name)
{
    struct ce_error err = {.text = ""};
    char *path = ce_path_join(writer->temporary, name);

    assert_ok(ce_file_write_atomic(path, "x", 1, &err), &err);
    free(path);
}

/* Names in the test's directory, but for dots. */
static int count_names(void **state)
{
    DIR *listing = opendir(((struct temporary *)*state)->dir);
    int count = 0;

    assert_non_null(listing);
    for (const struct dirent *entry = readdir(listing); entry != NULL;
         entry = readdir(listing)) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(listing);
    return count;
}

static void a_directory_is_made_with_its_parents(void **state)
{
    const char *file = temporary_path(state, "a/b/file");
    struct ce_error err = {.text = ""};
    struct stat info;

    assert_ok(ce_directory_make(temporary_path(state, "a/b//c/"), &err), &err);
    assert_int_equal(stat(temporary_path(state, "a/b/c"), &info), 0);
    assert_true(S_ISDIR(info.st_mode));
    assert_ok(ce_directory_make(temporary_path(state, "a/b"), &err), &err);
    assert_ok(ce_file_write_atomic(file, "x", 1, &err), &err);
    assert_int_equal(ce_directory_make(file, &err), CE_ERR_IO);
    assert_non_null(strstr(err.text, "not a directory"));
    assert_int_equal(ce_directory_make(temporary_path(state, "a/b/file/c"), &err),
                     CE_ERR_IO);
    assert_int_equal(ce_directory_make("", &err), CE_ERR_IO);
}

static void files_appear_with_the_commit(void **state)
{
    const char *path = temporary_path(state, "new");
    struct ce_directory_writer writer;
    struct ce_error err = {.text = ""};

    assert_ok(ce_directory_writer_open(&writer, temporary_path(state, "new//"), &err),
              &err);
    put(&writer, "a");
    put(&writer, "b");
    assert_false(ce_file_exists(path));
    assert_ok(ce_directory_writer_commit(&writer, &err), &err);
    ce_directory_writer_close(&writer);
    assert_true(ce_file_exists(temporary_path(state, "new/a")));
    assert_true(ce_file_exists(temporary_path(state, "new/b")));
    assert_int_equal(count_names(state), 1);
}

static void without_a_commit_nothing_is_left(void **state)
{
    struct ce_directory_writer writer;
    struct ce_error err = {.text = ""};

    assert_ok(ce_directory_writer_open(&writer, temporary_path(state, "new"), &err),
              &err);
    put(&writer, "a");
    ce_directory_writer_close(&writer);
    ce_directory_writer_close(&writer);
    assert_int_equal(count_names(state), 0);
}

static void an_empty_directory_is_taken(void **state)
{
    const char *path = temporary_path(state, "new");
    struct ce_directory_writer writer;
    struct ce_error err = {.text = ""};

    assert_int_equal(mkdir(path, 0700), 0);
    assert_ok(ce_directory_writer_open(&writer, path, &err), &err);
    put(&writer, "a");
    assert_ok(ce_directory_writer_commit(&writer, &err), &err);
    ce_directory_writer_close(&writer);
    assert_true(ce_file_exists(temporary_path(state, "new/a")));
}

static void assert_refused(const char *path, const char *reason)
{
    struct ce_directory_writer writer;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_directory_writer_open(&writer, path, &err), CE_ERR_IO);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, reason));
}

static void what_is_there_stays(void **state)
{
    const char *file = temporary_path(state, "file");
    const char *link = temporary_path(state, "link");
    struct ce_error err = {.text = ""};

    assert_ok(ce_file_write_atomic(file, "x", 1, &err), &err);
    assert_int_equal(symlink(".", link), 0);
    assert_refused(file, "not a directory");
    assert_refused(link, "not a directory");
    assert_refused(((struct temporary *)*state)->dir, "something in it");
    assert_refused(temporary_path(state, "none/new"), "No such file");
    assert_int_equal(count_names(state), 2);
}

/* Somebody else was faster. */
static void a_directory_that_came_meanwhile_stays(void **state)
{
    const char *path = temporary_path(state, "new");
    struct ce_directory_writer writer;
    struct ce_error err = {.text = ""};

    assert_ok(ce_directory_writer_open(&writer, path, &err), &err);
    put(&writer, "a");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_ok(ce_file_write_atomic(temporary_path(state, "new/b"), "x", 1, &err), &err);
    assert_int_equal(ce_directory_writer_commit(&writer, &err), CE_ERR_IO);
    ce_directory_writer_close(&writer);
    assert_true(ce_file_exists(temporary_path(state, "new/b")));
    assert_int_equal(count_names(state), 1);
}

#define WITH_FILES(test)                                                               \
    cmocka_unit_test_setup_teardown(test, temporary_setup, temporary_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FILES(a_directory_is_made_with_its_parents),
        WITH_FILES(files_appear_with_the_commit),
        WITH_FILES(without_a_commit_nothing_is_left),
        WITH_FILES(an_empty_directory_is_taken),
        WITH_FILES(what_is_there_stays),
        WITH_FILES(a_directory_that_came_meanwhile_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
