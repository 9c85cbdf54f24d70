#include "base/file.h"
#include "eval/journal_lock.h"
#include "eval/journal_owner.h"
#include "temporary.h"
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 100

static enum ce_status
take(void **state, struct ce_journal_lock *lock, struct ce_error *err)
{
    return ce_journal_lock_take(lock, ((struct temporary *)*state)->dir, err);
}

static void expect_taken(void **state)
{
    struct ce_journal_lock lock;
    struct ce_error err = {.text = ""};

    if (take(state, &lock, &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(ce_journal_lock_check(&lock, &err), CE_OK);
    ce_journal_lock_release(&lock);
    assert_false(ce_file_exists(temporary_path(state, CE_JOURNAL_LOCK_NAME)));
}

static void expect_refused(void **state, const char *text)
{
    struct ce_journal_lock lock;
    struct ce_error err = {.text = ""};

    assert_int_equal(take(state, &lock, &err), CE_ERR_ARG);
    assert_int_equal(lock.fd, -1);
    if (strstr(err.text, text) == NULL) {
        fail_msg("%s", err.text);
    }
}

/* For how long the lock that is there was not renewed, as the refusal says it. */
static long quiet_seconds(void **state)
{
    struct ce_journal_lock lock;
    struct ce_error err = {.text = ""};
    long seconds = -1;

    assert_int_equal(take(state, &lock, &err), CE_ERR_ARG);
    const char *seen = strstr(err.text, "last seen ");

    assert_non_null(seen);
    assert_int_equal(sscanf(seen, "last seen %ld s ago; wait for it", &seconds), 1);
    return seconds;
}

/* Nothing but the lock itself may be left in the directory. */
static void expect_no_strays(void **state)
{
    assert_int_not_equal(rmdir(((struct temporary *)*state)->dir), 0);
    (void)unlink(temporary_path(state, CE_JOURNAL_LOCK_NAME));
    assert_int_equal(rmdir(((struct temporary *)*state)->dir), 0);
    assert_int_equal(mkdir(((struct temporary *)*state)->dir, 0755), 0);
}

static void test_held(void **state)
{
    struct ce_journal_lock lock;
    struct ce_error err = {.text = ""};
    char who[64];

    assert_int_equal(take(state, &lock, &err), CE_OK);
    (void)snprintf(who, sizeof(who), "process %ld on ", (long)getpid());
    expect_refused(state, who);
    assert_in_range(quiet_seconds(state), 0, 60);
    ce_journal_lock_beat(&lock);
    expect_no_strays(state);
    assert_int_equal(ce_journal_lock_check(&lock, &err), CE_ERR_IO);
    ce_journal_lock_release(&lock);
}

/* ---- races */

/* A child that waits for the end of `start`, says on `result` whether it got the lock,
 * waits for the end of `stop` and releases it, or not. */
static void contend(const char *dir, int start, int result, int stop, bool release)
{
    struct ce_journal_lock lock;
    struct ce_error err = {.text = ""};
    char byte;

    (void)!read(start, &byte, 1);
    enum ce_status status = ce_journal_lock_take(&lock, dir, &err);

    byte = status == CE_OK ? 'w' : 'l';
    if (status != CE_OK && status != CE_ERR_ARG) {
        (void)!write(STDERR_FILENO, err.text, strlen(err.text));
        byte = 'x';
    }
    (void)!write(result, &byte, 1);
    (void)!read(stop, &byte, 1);
    if (release) {
        ce_journal_lock_release(&lock);
    }
    _exit(0);
}

static void open_pipe(int ends[2])
{
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
}

/* One round of several contenders; returns how many won and counts failures. */
static int race(const char *dir, int contenders, bool release)
{
    int start[2];
    int result[2];
    int stop[2];
    int won = 0;

    open_pipe(start);
    open_pipe(result);
    open_pipe(stop);
    for (int i = 0; i < contenders; i++) {
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0) {
            (void)close(start[1]);
            (void)close(stop[1]);
            contend(dir, start[0], result[1], stop[0], release);
        }
    }
    (void)close(start[1]);
    for (int i = 0; i < contenders; i++) {
        char byte = 0;

        assert_int_equal(read(result[0], &byte, 1), 1);
        assert_int_not_equal(byte, 'x');
        won += byte == 'w';
    }
    (void)close(stop[1]);
    for (int i = 0; i < contenders; i++) {
        assert_true(wait(NULL) > 0);
    }
    (void)close(start[0]);
    (void)close(result[0]);
    (void)close(result[1]);
    (void)close(stop[0]);
    return won;
}

/* Half of the rounds find the lock of a process that ended without releasing it. */
static void test_race(void **state)
{
    const char *dir = ((struct temporary *)*state)->dir;

    for (int round = 0; round < ROUNDS; round++) {
        assert_int_equal(race(dir, 2, round % 2 == 0), 1);
    }
    for (int round = 0; round < ROUNDS / 4; round++) {
        assert_int_equal(race(dir, 5, round % 4 == 0), 1);
    }
    expect_taken(state);
}

/* ---- locks that others left */

static void
write_owner(void **state, const char *name, const struct ce_journal_owner *owner)
{
    char text[512];

    temporary_write(
        state, name, text, ce_journal_owner_print(owner, text, sizeof(text)));
}

static void make_old(void **state, const char *name, int seconds)
{
    struct timespec times[2];

    (void)clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= seconds;
    times[1] = times[0];
    assert_int_equal(utimensat(AT_FDCWD, temporary_path(state, name), times, 0), 0);
}

static struct ce_journal_owner foreigner(void)
{
    struct ce_journal_owner owner;

    ce_journal_owner_self(&owner);
    (void)snprintf(owner.host, sizeof(owner.host), "node17");
    (void)snprintf(owner.boot, sizeof(owner.boot), "another-boot");
    owner.since = 1760000000;
    return owner;
}

static void test_other_host(void **state)
{
    struct ce_journal_owner owner = foreigner();

    write_owner(state, CE_JOURNAL_LOCK_NAME, &owner);
    expect_refused(state, " on node17, since 2025-10-09T08:53:20Z");
    make_old(state, CE_JOURNAL_LOCK_NAME, CE_JOURNAL_STALE_S / 2);
    expect_refused(state, "this goes by itself after 120 s");
    make_old(state, CE_JOURNAL_LOCK_NAME, CE_JOURNAL_STALE_S + 1);
    expect_taken(state);
    write_owner(state, CE_JOURNAL_LOCK_NAME, &owner);
    make_old(state, CE_JOURNAL_LOCK_NAME, -3600); /* clocks are wrong */
    expect_refused(state, "last seen 0 s ago");
}

/* Of this boot, and the process is not there: at once. */
static void test_dead_process(void **state)
{
    struct ce_journal_owner owner;

    ce_journal_owner_self(&owner);
    write_owner(state, CE_JOURNAL_LOCK_NAME, &owner); /* nobody has a lock on it */
    expect_taken(state);
}

/* Held is alive, however old. */
static void test_held_and_old(void **state)
{
    struct ce_journal_lock lock;
    struct ce_error err = {.text = ""};

    assert_int_equal(take(state, &lock, &err), CE_OK);
    make_old(state, CE_JOURNAL_LOCK_NAME, 10 * CE_JOURNAL_STALE_S);
    assert_in_range(quiet_seconds(state), 1199, 1260);
    ce_journal_lock_beat(&lock);
    assert_in_range(quiet_seconds(state), 0, 60);
    ce_journal_lock_release(&lock);
}

/* Nobody is known to have it; only its age counts. */
static void test_garbage(void **state)
{
    temporary_write(state, CE_JOURNAL_LOCK_NAME, "", 0);
    expect_refused(state, "process 0 on unknown, since an unknown time");
    make_old(state, CE_JOURNAL_LOCK_NAME, CE_JOURNAL_STALE_S + 1);
    expect_taken(state);
}

/* A contender died between its claim and its lock. */
/* An open of the FIFO must not wait, and what a device gives is no owner. */
static void test_no_file(void **state)
{
    const char *path = temporary_path(state, CE_JOURNAL_LOCK_NAME);
    struct ce_journal_lock lock;
    struct ce_error err = {.text = ""};

    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(take(state, &lock, &err), CE_ERR_IO);
    assert_non_null(strstr(err.text, "cannot lock: is not a regular file"));
    assert_true(ce_file_exists(path));
}

static void test_left_claim(void **state)
{
    const char *claim = CE_JOURNAL_LOCK_NAME ".next";
    struct ce_journal_owner owner;

    ce_journal_owner_self(&owner);
    write_owner(state, CE_JOURNAL_LOCK_NAME, &owner);
    write_owner(state, claim, &owner);
    expect_taken(state);
    assert_false(ce_file_exists(temporary_path(state, claim)));
    owner = foreigner();
    write_owner(state, CE_JOURNAL_LOCK_NAME, &owner);
    make_old(state, CE_JOURNAL_LOCK_NAME, CE_JOURNAL_STALE_S + 1);
    write_owner(state, claim, &owner);
    expect_refused(state, ".next: another job writes here");
}

static void test_no_link(void **state)
{
    struct ce_journal_lock lock;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_journal_lock_take(&lock, temporary_path(state, "none"), &err),
                     CE_ERR_IO);
    assert_non_null(strstr(err.text, "journal.lock: cannot lock: No such file"));
}

/* ---- owners */

static void test_owner(void **state)
{
    struct ce_journal_owner self;
    struct ce_journal_owner other;
    char text[512];
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        _exit(0);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    ce_journal_owner_self(&self);
    assert_true(self.started > 0 && self.processes > 0);
    (void)ce_journal_owner_print(&self, text, sizeof(text));
    assert_true(ce_journal_owner_parse(&other, text));
    assert_memory_equal(&other.process, &self.process, sizeof(self.process));
    assert_string_equal(other.boot, self.boot);
    assert_string_equal(other.host, self.host);
    assert_true(other.started == self.started && other.since == self.since);
    assert_false(ce_journal_owner_is_dead(&other, &self));
    other.started++;
    assert_true(ce_journal_owner_is_dead(&other, &self));
    other.processes++;
    assert_false(ce_journal_owner_is_dead(&other, &self));
    other = self;
    other.process = (long)child;
    assert_true(ce_journal_owner_is_dead(&other, &self));
    other.boot[0]++;
    assert_false(ce_journal_owner_is_here(&other, &self));
    assert_false(ce_journal_owner_is_dead(&other, &self));
    assert_false(ce_journal_owner_parse(&other, "host x process"));
}

#define TEST(function)                                                                 \
    cmocka_unit_test_setup_teardown(function, temporary_setup, temporary_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_held),
        TEST(test_race),
        TEST(test_other_host),
        TEST(test_dead_process),
        TEST(test_held_and_old),
        TEST(test_garbage),
        TEST(test_no_file),
        TEST(test_left_claim),
        TEST(test_no_link),
        TEST(test_owner),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
