/* What a journal has after its process was killed, or its disk was full. */

#include "base/random.h"
#include "journal_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 50

/* ---- kill -9 */

/* Appends from where the journal ends, for ever; says on `progress` how many outcomes
 * are synced, each time. */
static void child_append(const char *dir, int progress)
{
    struct ce_journal_header header = fixture_header();
    struct ce_journal *journal = NULL;
    size_t count = 0;

    if (ce_journal_open(&journal, dir, &header, CE_JOURNAL_RESUME, NULL) != CE_OK) {
        _exit(1);
    }
    (void)ce_journal_entries(journal, &count);
    for (; count < FIXTURE_QUERIES; count++) {
        char text[64];
        struct ce_journal_item item = fixture_item(count);
        struct ce_outcome outcome = fixture_outcome(count, text);

        if (count % 7 == 0 && (ce_journal_sync(journal, NULL) != CE_OK ||
                               write(progress, &count, sizeof(count)) < 0)) {
            _exit(1);
        }
        if (ce_journal_append(journal, &item, &outcome, NULL) != CE_OK) {
            _exit(1);
        }
    }
    _exit(1);
}

/* Runs a child for a moment; returns how many outcomes it knew to be on the disk. */
static size_t run_and_kill(const char *dir, long microseconds)
{
    const struct timespec moment = {.tv_nsec = microseconds * 1000};
    size_t synced = 0;
    int progress[2];
    int code = 0;

    assert_int_equal(pipe2(progress, O_CLOEXEC), 0);
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        (void)close(progress[0]);
        child_append(dir, progress[1]);
    }
    (void)close(progress[1]);
    (void)nanosleep(&moment, NULL);
    assert_int_equal(kill(child, SIGKILL), 0);
    for (size_t word = 0; read(progress[0], &word, sizeof(word)) == sizeof(word);) {
        synced = word;
    }
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_true(WIFSIGNALED(code)); /* it had no reason to stop */
    (void)close(progress[0]);
    return synced;
}

/* It opens, has outcomes 0 to some number, and that is not less than what was synced.
 */
static size_t check_prefix(void **state, size_t synced)
{
    struct ce_journal *journal = fixture_open(state, CE_JOURNAL_RESUME);
    size_t notices = 0;
    size_t count = 0;
    const struct ce_journal_entry *entry = ce_journal_entries(journal, &count);
    const struct ce_journal_notice *notice = ce_journal_notices(journal, &notices);

    for (size_t i = 0; i < count; i++) {
        assert_int_equal(entry[i].item.query, i);
        assert_true(is_fixture_entry(&entry[i]));
    }
    assert_true(count >= synced);
    assert_true(notices == 0 || (notices == 1 && notice[0].kind == CE_JOURNAL_TORN));
    ce_journal_close(journal);
    return count;
}

static void test_killed(void **state)
{
    size_t before = 0;

    for (int round = 0; round < ROUNDS; round++) {
        long microseconds = (long)(20000 * ce_random_unit(5, (uint64_t)round, 0));
        size_t synced = run_and_kill(fixture_dir(state), microseconds);
        size_t count = check_prefix(state, synced);

        assert_true(count >= before);
        before = count;
    }
    assert_true(before > ROUNDS);
}

/* ---- no room */

static enum ce_status
append_until_failure(struct ce_journal *journal, size_t first, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t i = first; status == CE_OK; i++) {
        char text[64];
        struct ce_journal_item item = fixture_item(i);
        struct ce_outcome outcome = fixture_outcome(i, text);

        status = ce_journal_append(journal, &item, &outcome, err);
        if (status == CE_OK && i % 16 == 0) {
            status = ce_journal_sync(journal, err);
        }
    }
    return status;
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes == 0 ? limit.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Cut at every byte of a record: the file ends with a whole one, and all before the
 * failure are there. */
static void test_file_limit(void **state)
{
    const char *path = temporary_path(state, CE_JOURNAL_NAME);

    (void)signal(SIGXFSZ, SIG_IGN);
    for (rlim_t limit = 4000; limit < 4080; limit++) {
        struct ce_journal *journal = fixture_open(state, CE_JOURNAL_FRESH);
        struct ce_error err = {.text = ""};
        struct ce_error again = {.text = ""};
        struct stat info;

        limit_files(limit);
        assert_int_equal(append_until_failure(journal, 0, &err), CE_ERR_IO);
        assert_int_equal(ce_journal_sync(journal, &again), CE_ERR_IO);
        limit_files(0);
        assert_non_null(strstr(err.text, "cannot append: File too large"));
        assert_string_equal(err.text, again.text);
        ce_journal_close(journal);
        journal = fixture_open(state, CE_JOURNAL_READ);
        size_t notices = 0;

        (void)ce_journal_notices(journal, &notices);
        assert_int_equal(notices, 0);
        ce_journal_close(journal);
        assert_int_equal(stat(path, &info), 0);
        assert_true((rlim_t)info.st_size > limit - 100 &&
                    (rlim_t)info.st_size <= limit);
        assert_true(check_prefix(state, 16) > 16);
        assert_int_equal(unlink(path), 0);
    }
    (void)signal(SIGXFSZ, SIG_DFL);
}

/* A disk of 64 KiB; needs root. */
static void test_full_disk(void **state)
{
    const char *dir = fixture_dir(state);
    struct ce_error err = {.text = ""};
    size_t count = 0;

    if (mount("tmpfs", dir, "tmpfs", 0, "size=64k") != 0) {
        skip();
    }
    struct ce_journal *journal = fixture_open(state, CE_JOURNAL_FRESH);
    enum ce_status status = append_until_failure(journal, 0, &err);

    ce_journal_close(journal);
    journal = fixture_open(state, CE_JOURNAL_READ);
    const struct ce_journal_entry *entry = ce_journal_entries(journal, &count);
    bool alike = count > 0;

    for (size_t i = 0; i < count; i++) {
        alike = alike && entry[i].item.query == i && is_fixture_entry(&entry[i]);
    }
    ce_journal_close(journal);
    assert_int_equal(umount2(dir, MNT_DETACH), 0);
    assert_int_equal(status, CE_ERR_IO);
    assert_non_null(strstr(err.text, "No space left on device"));
    assert_true(alike && count > 200);
}

#define TEST(function)                                                                 \
    cmocka_unit_test_setup_teardown(function, temporary_setup, temporary_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_killed),
        TEST(test_file_limit),
        TEST(test_full_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
