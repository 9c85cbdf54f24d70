#include "base/file.h"
#include "temporary.h"
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void mapping_shows_the_file(void **state)
{
    struct ce_file_map map;
    struct ce_error err;

    temporary_write(state, "a", "hello", 5);
    assert_int_equal(ce_file_map_open(&map, temporary_path(state, "a"), &err), CE_OK);
    assert_int_equal(map.bytes, 5);
    assert_memory_equal(map.data, "hello", 5);
    ce_file_map_close(&map);
    assert_null(map.data);
    ce_file_map_close(&map);
}

static void an_empty_file_maps_to_nothing(void **state)
{
    struct ce_file_map map;
    struct ce_error err;

    temporary_write(state, "a", "", 0);
    assert_int_equal(ce_file_map_open(&map, temporary_path(state, "a"), &err), CE_OK);
    assert_null(map.data);
    assert_int_equal(map.bytes, 0);
    ce_file_map_close(&map);
}

static void only_regular_files_are_mapped(void **state)
{
    struct ce_file_map map;
    struct ce_error err;
    const char *fifo = temporary_path(state, "fifo");

    assert_int_equal(ce_file_map_open(&map, temporary_path(state, ""), &err),
                     CE_ERR_IO);
    assert_non_null(strstr(err.text, "not a regular file"));
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(ce_file_map_open(&map, fifo, &err), CE_ERR_IO);
    assert_null(map.data);
    assert_int_equal(ce_file_map_open(&map, temporary_path(state, "gone"), &err),
                     CE_ERR_IO);
    assert_non_null(strstr(err.text, "/gone: No such file"));
}

static void assert_refused(const char *path, const char *what)
{
    int fd = 0;
    char *text = NULL;
    size_t bytes = 1;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_file_open(&fd, path, O_RDONLY, &err), CE_ERR_IO);
    assert_int_equal(fd, -1);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, what));
    assert_int_equal(ce_file_read(path, 100, &text, &bytes, &err), CE_ERR_IO);
    assert_null(text);
    assert_int_equal(ce_file_read_input(path, 100, &text, &bytes, &err), CE_ERR_IO);
    assert_non_null(strstr(err.text, what));
}

/* Without a writer an open of the FIFO would wait for ever, and so would this test. */
/* Sparse files: one beyond the limit and one beyond the memory that is left. */
static void files_that_are_too_large_are_refused_before_they_are_read(void **state)
{
    char *text = NULL;
    size_t bytes = 0;
    struct ce_error err = {.text = ""};
    const char *path = NULL;

    temporary_write(state, "a", "x", 1);
    path = temporary_path(state, "a");
    assert_int_equal(truncate(path, (off_t)1 << 40), 0);
    assert_int_equal(ce_file_read(path, (size_t)1 << 30, &text, &bytes, &err),
                     CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "larger than 1073741824 bytes"));
    assert_int_equal(setenv("CEMOE_MEMORY_LIMIT", "1000000000", 1), 0);
    assert_int_equal(ce_file_read(path, (size_t)1 << 42, &text, &bytes, &err),
                     CE_ERR_NOMEM);
    assert_non_null(strstr(err.text, "has 1048576.0 MiB, which do not fit into the "));
    assert_int_equal(unsetenv("CEMOE_MEMORY_LIMIT"), 0);
    assert_null(text);
}

static void what_is_no_regular_file_is_refused_by_name(void **state)
{
    const char *path = temporary_path(state, "here");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = -1;
    struct ce_error err;

    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused(path, ": is a FIFO, not a regular file");
    assert_int_equal(ce_file_open(&fd, path, O_WRONLY, &err), CE_ERR_IO);
    assert_non_null(strstr(err.text, ": is a FIFO, not a regular file"));
    assert_refused(temporary_path(state, ""), ": is a directory, not a regular file");
    assert_refused("/dev/zero", ": is a device, not a regular file");
    assert_refused("/dev/null", ": is a device, not a regular file");

    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s.s", path);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_refused(address.sun_path, ": is a socket, not a regular file");
    (void)close(listener);
}

/* As the shell gives <(echo typed); a socket may be one of MPI. */
static void a_pipe_of_the_shell_is_read_as_input(void **state)
{
    int ends[2] = {-1, -1};
    char path[64];
    char *text = NULL;
    size_t bytes = 0;
    struct ce_error err;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "typed", 5), 5);
    (void)close(ends[1]);
    (void)snprintf(path, sizeof(path), "/dev/fd/%d", ends[0]);
    assert_int_equal(ce_file_read(path, 100, &text, &bytes, &err), CE_ERR_IO);
    assert_int_equal(ce_file_read_input(path, 100, &text, &bytes, &err), CE_OK);
    assert_string_equal(text, "typed");
    free(text);
    (void)close(ends[0]);
    assert_int_equal(ce_file_read_input(path, 100, &text, &bytes, &err), CE_ERR_IO);

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
    assert_refused(path, ": is a socket, not a regular file");
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void reading_appends_a_nul(void **state)
{
    char *text;
    size_t bytes;
    struct ce_error err;

    temporary_write(state, "a", "hello", 5);
    assert_int_equal(ce_file_read(temporary_path(state, "a"), 5, &text, &bytes, &err),
                     CE_OK);
    assert_int_equal(bytes, 5);
    assert_string_equal(text, "hello");
    free(text);
}

static void reading_stops_at_the_limit(void **state)
{
    char *text;
    size_t bytes;
    struct ce_error err;

    temporary_write(state, "a", "hello", 5);
    assert_int_equal(ce_file_read(temporary_path(state, "a"), 4, &text, &bytes, &err),
                     CE_ERR_FORMAT);
    assert_null(text);
    assert_non_null(strstr(err.text, "/a: larger than 4 bytes"));
}

static void limit_zero_accepts_only_an_empty_file(void **state)
{
    char *text;
    size_t bytes;
    struct ce_error err;

    temporary_write(state, "a", "x", 1);
    temporary_write(state, "b", "", 0);
    assert_int_equal(ce_file_read(temporary_path(state, "a"), 0, &text, &bytes, &err),
                     CE_ERR_FORMAT);
    assert_int_equal(ce_file_read(temporary_path(state, "b"), 0, &text, &bytes, &err),
                     CE_OK);
    assert_string_equal(text, "");
    free(text);
}

static void large_files_are_read_whole(void **state)
{
    const size_t size = 300001;
    char *data = malloc(size);
    char *text;
    size_t bytes;
    struct ce_error err;

    for (size_t i = 0; i < size; i++) {
        data[i] = (char)(i * 7);
    }
    temporary_write(state, "a", data, size);
    assert_int_equal(
        ce_file_read(temporary_path(state, "a"), SIZE_MAX, &text, &bytes, &err), CE_OK);
    assert_int_equal(bytes, size);
    assert_memory_equal(text, data, size);
    free(text);
    free(data);
}

static void reading_what_is_not_there_says_so(void **state)
{
    char *text;
    size_t bytes;
    struct ce_error err;

    assert_int_equal(
        ce_file_read(temporary_path(state, "gone"), 10, &text, &bytes, &err),
        CE_ERR_IO);
    assert_non_null(strstr(err.text, "/gone: No such file"));
    assert_int_equal(ce_file_read(temporary_path(state, ""), 10, &text, &bytes, &err),
                     CE_ERR_IO);
    assert_non_null(strstr(err.text, "directory"));
}

static void dash_is_stdin(void **state)
{
    char *text;
    size_t bytes;
    struct ce_error err;
    int saved = dup(STDIN_FILENO);

    temporary_write(state, "a", "typed", 5);
    int fd = open(temporary_path(state, "a"), O_RDONLY);

    for (size_t i = 0; i < 2; i++) {
        assert_true(dup2(fd, STDIN_FILENO) >= 0);
        assert_true(lseek(fd, 0, SEEK_SET) == 0);
        assert_int_equal(
            ce_file_read_input(i == 0 ? "-" : "/dev/stdin", 100, &text, &bytes, &err),
            CE_OK);
        assert_string_equal(text, "typed");
        free(text);
    }
    assert_int_equal(ce_file_read("-", 100, &text, &bytes, &err), CE_ERR_IO);
    (void)dup2(saved, STDIN_FILENO);
    (void)close(fd);
    (void)close(saved);
}

static void assert_content(void **state, const char *name, const char *wanted)
{
    char *text;
    size_t bytes;
    struct ce_error err;

    assert_int_equal(
        ce_file_read(temporary_path(state, name), 1000, &text, &bytes, &err), CE_OK);
    assert_string_equal(text, wanted);
    free(text);
}

static int count_files(void **state)
{
    DIR *dir = opendir(temporary_path(state, ""));
    int count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    (void)closedir(dir);
    return count - 2; /* . and .. */
}

static void writing_replaces_and_leaves_nothing_behind(void **state)
{
    const char *path = temporary_path(state, "a");
    struct ce_error err;

    assert_int_equal(ce_file_write_atomic(path, "one", 3, &err), CE_OK);
    assert_content(state, "a", "one");
    path = temporary_path(state, "a");
    assert_int_equal(ce_file_write_atomic(path, "second", 6, &err), CE_OK);
    assert_content(state, "a", "second");
    path = temporary_path(state, "a");
    assert_int_equal(ce_file_write_atomic(path, NULL, 0, &err), CE_OK);
    assert_content(state, "a", "");
    assert_int_equal(count_files(state), 1);
}

static void pieces_are_written_in_order(void **state)
{
    const struct ce_file_piece pieces[] = {{"ab", 2}, {NULL, 0}, {"cd", 2}};
    struct ce_error err;

    assert_int_equal(
        ce_file_write_pieces_atomic(temporary_path(state, "a"), pieces, 3, &err),
        CE_OK);
    assert_content(state, "a", "abcd");
}

static void a_reader_of_the_old_file_keeps_it(void **state)
{
    struct ce_file_map map;
    struct ce_error err;

    temporary_write(state, "a", "old", 3);
    assert_int_equal(ce_file_map_open(&map, temporary_path(state, "a"), &err), CE_OK);
    assert_int_equal(ce_file_write_atomic(temporary_path(state, "a"), "x", 1, &err),
                     CE_OK);
    assert_memory_equal(map.data, "old", 3);
    ce_file_map_close(&map);
}

static void devices_links_and_directories_are_not_replaced(void **state)
{
    struct ce_error err;

    temporary_write(state, "a", "kept", 4);
    temporary_mkdir(state, "dir");
    assert_int_equal(symlink("a", temporary_path(state, "link")), 0);
    assert_int_equal(ce_file_write_atomic(temporary_path(state, "link"), "x", 1, &err),
                     CE_ERR_IO);
    assert_non_null(strstr(err.text, "/link: not a regular file"));
    assert_int_equal(ce_file_write_atomic(temporary_path(state, "dir"), "x", 1, &err),
                     CE_ERR_IO);
    assert_int_equal(ce_file_write_atomic("/dev/null", "x", 1, &err), CE_ERR_IO);
    assert_content(state, "a", "kept");
}

static void a_missing_directory_is_named(void **state)
{
    struct ce_error err;

    assert_int_equal(ce_file_write_atomic(temporary_path(state, "no/a"), "x", 1, &err),
                     CE_ERR_IO);
    assert_non_null(strstr(err.text, "/no/a: No such file or directory"));
}

static void only_a_commit_shows_what_was_put(void **state)
{
    struct ce_file_writer writer;
    struct ce_error err;
    const char *path = temporary_path(state, "a");

    temporary_write(state, "a", "old", 3);
    assert_int_equal(ce_file_writer_open(&writer, path, &err), CE_OK);
    assert_int_equal(ce_file_writer_put(&writer, 3, "d", 1, &err), CE_OK);
    ce_file_writer_close(&writer);
    assert_content(state, "a", "old");
    ce_file_writer_close(&writer);

    assert_int_equal(ce_file_writer_open(&writer, path, &err), CE_OK);
    assert_int_equal(ce_file_writer_put(&writer, 3, "d", 1, &err), CE_OK);
    assert_int_equal(ce_file_writer_put(&writer, 0, "abc", 3, &err), CE_OK);
    assert_content(state, "a", "old");
    assert_int_equal(ce_file_writer_commit(&writer, &err), CE_OK);
    ce_file_writer_close(&writer);
    assert_content(state, "a", "abcd");
    assert_int_equal(count_files(state), 1);
}

/* Stands for a full disk: the write fails in the middle. */
static void a_failed_write_keeps_the_old_file(void **state)
{
    struct rlimit before;
    struct rlimit small;
    struct ce_error err;
    char data[100] = "";

    temporary_write(state, "a", "old", 3);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 64;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(
        ce_file_write_atomic(temporary_path(state, "a"), data, sizeof(data), &err),
        CE_ERR_IO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_non_null(strstr(err.text, "/a: File too large"));
    assert_content(state, "a", "old");
    assert_int_equal(count_files(state), 1);
}

static void existence_and_names(void **state)
{
    char *path = ce_path_join("dir", "name");
    char *rooted = ce_path_join("/", "name");

    temporary_write(state, "a", "", 0);
    assert_true(ce_file_exists(temporary_path(state, "a")));
    assert_false(ce_file_exists(temporary_path(state, "b")));
    assert_string_equal(path, "dir/name");
    assert_string_equal(rooted, "/name");
    free(path);
    free(rooted);
}

#define WITH_FILES(test)                                                               \
    cmocka_unit_test_setup_teardown(test, temporary_setup, temporary_teardown)

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        WITH_FILES(mapping_shows_the_file),
        WITH_FILES(an_empty_file_maps_to_nothing),
        WITH_FILES(only_regular_files_are_mapped),
        WITH_FILES(reading_appends_a_nul),
        WITH_FILES(reading_stops_at_the_limit),
        WITH_FILES(limit_zero_accepts_only_an_empty_file),
        WITH_FILES(large_files_are_read_whole),
        WITH_FILES(reading_what_is_not_there_says_so),
        WITH_FILES(dash_is_stdin),
        WITH_FILES(what_is_no_regular_file_is_refused_by_name),
        WITH_FILES(a_pipe_of_the_shell_is_read_as_input),
        WITH_FILES(writing_replaces_and_leaves_nothing_behind),
        WITH_FILES(pieces_are_written_in_order),
        WITH_FILES(a_reader_of_the_old_file_keeps_it),
        WITH_FILES(devices_links_and_directories_are_not_replaced),
        WITH_FILES(a_missing_directory_is_named),
        WITH_FILES(only_a_commit_shows_what_was_put),
        WITH_FILES(a_failed_write_keeps_the_old_file),
        WITH_FILES(existence_and_names),
        WITH_FILES(files_that_are_too_large_are_refused_before_they_are_read),
    };

    return cmocka_run_group_tests_name("base.file", tests, NULL, NULL);
}
