#include "base/streams.h"
#include "temporary.h"
#include "test.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* Closes those of 0 to 2 whose bit is set, and lets the others print into nothing. */
static void close_some(int set)
{
    int null = open("/dev/null", O_RDWR);

    for (int fd = 0; fd <= 2; fd++) {
        (void)dup2(null, fd);
        if ((set & 1 << fd) != 0) {
            (void)close(fd);
        }
    }
    (void)close(null);
}

static bool is_null(int fd)
{
    struct stat info;

    return fstat(fd, &info) == 0 && S_ISCHR(info.st_mode) &&
           info.st_rdev == makedev(1, 3);
}

/* Runs in a child: its own assertions would print where nothing may. */
static int fill_some(int set, const char *path)
{
    close_some(set);
    ce_streams_open();
    for (int fd = 0; fd <= 2; fd++) {
        if (!is_null(fd)) {
            return 10 + fd;
        }
    }
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    if (file <= 2) {
        return 20;
    }
    (void)dprintf(1, "library\n");
    (void)dprintf(2, "log\n");
    ce_print("results %d\n", 1);
    return fflush(ce_results()) == 0 && lseek(file, 0, SEEK_END) == 0 ? 0 : 30;
}

static int run_child(int set, const char *path)
{
    int state = 0;
    pid_t child = fork();

    if (child == 0) {
        _exit(fill_some(set, path));
    }
    assert_true(waitpid(child, &state, 0) == child);
    assert_true(WIFEXITED(state));
    return WEXITSTATUS(state);
}

/* In all eight ways; nothing that is printed reaches the file that is opened next. */
static void closed_descriptors_are_filled(void **state)
{
    struct stat info;
    const char *path = temporary_path(state, "file");

    for (int set = 0; set < 8; set++) {
        assert_int_equal(run_child(set, path), 0);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_size, 0);
    }
}

static void read_all(void **state, const char *name, char *text, size_t size)
{
    FILE *file = fopen(temporary_path(state, name), "rb");

    assert_non_null(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    assert_int_equal(fclose(file), 0);
}

static void speak(int out, int log)
{
    (void)dup2(out, 1);
    (void)dup2(log, 2);
    ce_streams_open();
    (void)dprintf(1, "library\n");
    ce_print("%s\n", "results");
    (void)fflush(ce_results());
    ce_streams_restore();
    (void)dprintf(1, "successor\n");
    ce_streams_hide();
    (void)dprintf(1, "library again\n");
}

static void only_results_go_to_standard_output(void **state)
{
    char text[128];
    int status = 0;
    int out = open(temporary_path(state, "out"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    int log = open(temporary_path(state, "log"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    pid_t child = fork();

    if (child == 0) {
        speak(out, log);
        _exit(0);
    }
    assert_true(waitpid(child, &status, 0) == child);
    assert_int_equal(status, 0);
    (void)close(out);
    (void)close(log);
    read_all(state, "out", text, sizeof(text));
    assert_string_equal(text, "results\nsuccessor\n");
    read_all(state, "log", text, sizeof(text));
    assert_string_equal(text, "library\nlibrary again\n");
}

static void without_it_results_are_stdout(void **state)
{
    (void)state;
    assert_ptr_equal(ce_results(), stdout);
}

#define WITH_FILES(function)                                                           \
    cmocka_unit_test_setup_teardown(function, temporary_setup, temporary_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FILES(closed_descriptors_are_filled),
        WITH_FILES(only_results_go_to_standard_output),
        cmocka_unit_test(without_it_results_are_stdout),
    };

    return cmocka_run_group_tests_name("base.streams", tests, NULL, NULL);
}
