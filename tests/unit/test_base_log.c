#include "base/log.h"
#include "temporary.h"
#include "test.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* What one message puts on stderr. */
static const char *
logged(void **state, int rank, enum ce_log_level level, const char *message)
{
    static char text[4096];
    const char *path = temporary_path(state, "stderr");
    int saved = dup(STDERR_FILENO);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    ce_log_init(CE_LOG_INFO, rank);
    ce_log(level, "%s", message);
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);

    ssize_t bytes = pread(fd, text, sizeof(text) - 1, 0);

    (void)close(fd);
    assert_true(bytes >= 0);
    text[bytes] = '\0';
    return text;
}

static void levels_and_ranks_are_shown(void **state)
{
    assert_string_equal(logged(state, 0, CE_LOG_INFO, "ready"), "cemoe: ready\n");
    assert_string_equal(logged(state, 0, CE_LOG_WARN, "slow"),
                        "cemoe: warning: slow\n");
    assert_string_equal(logged(state, 3, CE_LOG_ERROR, "lost"),
                        "cemoe[rank 3]: error: lost\n");
}

static void messages_above_the_level_are_dropped(void **state)
{
    assert_string_equal(logged(state, 0, CE_LOG_DEBUG, "detail"), "");
}

static void control_characters_do_not_reach_the_terminal(void **state)
{
    assert_string_equal(logged(state, 0, CE_LOG_INFO, "a\033[31m\nb\x7f"),
                        "cemoe: a?[31m?b?\n");
}

static void bytes_beyond_ascii_stay(void **state)
{
    assert_string_equal(logged(state, 0, CE_LOG_INFO, "Größe"), "cemoe: Größe\n");
}

static void long_messages_are_cut_but_end_the_line(void **state)
{
    static char message[3000];

    memset(message, 'x', sizeof(message) - 1);
    const char *text = logged(state, 0, CE_LOG_INFO, message);
    size_t length = strlen(text);

    assert_true(length > 500 && length < sizeof(message));
    assert_int_equal(text[length - 1], '\n');
    assert_ptr_equal(strchr(text, '\n'), text + length - 1);
}

static void only_rank_0_speaks_for_all(void **state)
{
    (void)state;
    ce_log_init(CE_LOG_INFO, 0);
    assert_true(ce_log_is_speaker());
    ce_log_init(CE_LOG_INFO, 1);
    assert_false(ce_log_is_speaker());
}

#define WITH_FILES(test)                                                               \
    cmocka_unit_test_setup_teardown(test, temporary_setup, temporary_teardown)

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        WITH_FILES(levels_and_ranks_are_shown),
        WITH_FILES(messages_above_the_level_are_dropped),
        WITH_FILES(control_characters_do_not_reach_the_terminal),
        WITH_FILES(bytes_beyond_ascii_stay),
        WITH_FILES(long_messages_are_cut_but_end_the_line),
        cmocka_unit_test(only_rank_0_speaks_for_all),
    };

    return cmocka_run_group_tests_name("base.log", tests, NULL, NULL);
}
