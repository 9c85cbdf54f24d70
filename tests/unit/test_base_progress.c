#include "base/log.h"
#include "base/progress.h"
#include "temporary.h"
#include "test.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define GIB ((size_t)1 << 30)

static void a_line_stands_for_4_gib(void **state)
{
    struct ce_progress progress = {.verb = "carried", .total = 9 * GIB};
    char text[256];
    int saved = dup(STDERR_FILENO);
    int fd = open(temporary_path(state, "stderr"), O_RDWR | O_CREAT | O_TRUNC, 0600);

    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    ce_log_init(CE_LOG_INFO, 0);
    for (int i = 0; i < 9; i++) {
        ce_progress_add(&progress, GIB);
    }
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);

    ssize_t bytes = pread(fd, text, sizeof(text) - 1, 0);

    (void)close(fd);
    assert_true(bytes >= 0);
    text[bytes] = '\0';
    assert_string_equal(text,
                        "cemoe: carried 4096 of 9216 MiB\n"
                        "cemoe: carried 8192 of 9216 MiB\n");
    assert_int_equal(progress.done, progress.total);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_line_stands_for_4_gib, temporary_setup, temporary_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
