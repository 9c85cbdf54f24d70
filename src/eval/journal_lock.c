/* journal_lock.c - takes, takes over, beats and releases the lock of a directory
 *
 * Our file is complete, synced and locked before a link gives it the lock's name: who
 * finds that name finds all of it. To take over, a contender
 *
 *   1. finds the lock dead, and keeps the lock on its file where the system has such
 *      locks, so that no other contender of this host finds the same;
 *   2. links its own file to LOCK.next, which only one can, and which is judged by the
 *      same rules should its owner die here;
 *   3. sees that the name still is the file that it judged, and renames its own over
 * it.
 */

#include "eval/journal_lock.h"

#include "base/clock.h"
#include "base/file.h"
#include "eval/journal_owner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Every turn but the last is another job that came or went meanwhile. */
#define MOST_TURNS 100

/* ---- a lock of the system on a descriptor */

enum grip {
    GRIP_TAKEN = 0, /* ours until the descriptor is closed */
    GRIP_HELD,      /* somebody else's, who is alive */
    GRIP_UNKNOWN,   /* the file system has none */
};

static enum grip take_grip(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(fd, F_OFD_SETLK, &whole) == 0) {
        return GRIP_TAKEN;
    }
    return errno == EAGAIN || errno == EACCES ? GRIP_HELD : GRIP_UNKNOWN;
}

/* ---- our own file, before it has a name that counts */

struct contender {
    const char *path;
    char *next;      /* PATH.next */
    char *temporary; /* only until the link */
    struct ce_journal_owner self;
    int fd;
    struct stat info;
};

static enum ce_status fail_errno(const char *path, struct ce_error *err)
{
    return ce_fail(err, CE_ERR_IO, "%s: cannot lock: %s", path, strerror(errno));
}

static void contender_destroy(struct contender *contender)
{
    if (contender->fd >= 0) {
        (void)unlink(contender->temporary);
        (void)close(contender->fd);
    }
    free(contender->next);
    free(contender->temporary);
}

/* The time of the file is the file system's idea of now. */
static bool write_self(struct contender *contender)
{
    char text[512];
    size_t bytes = ce_journal_owner_print(&contender->self, text, sizeof(text));
    ssize_t count = write(contender->fd, text, bytes);

    if (count >= 0 && (size_t)count < bytes) {
        errno = ENOSPC;
        return false;
    }
    return count >= 0 && fsync(contender->fd) == 0 &&
           fstat(contender->fd, &contender->info) == 0;
}

static enum ce_status
contender_create(struct contender *contender, const char *path, struct ce_error *err)
{
    *contender = (struct contender){.path = path, .fd = -1};
    ce_journal_owner_self(&contender->self);
    if (asprintf(&contender->next, "%s.next", path) < 0) {
        contender->next = NULL;
    }
    if (asprintf(&contender->temporary,
                 "%s.tmp-%s-%ld-%llx",
                 path,
                 contender->self.host,
                 contender->self.process,
                 (unsigned long long)ce_clock_ns()) < 0) {
        contender->temporary = NULL;
    }
    if (contender->next == NULL || contender->temporary == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory to lock", path);
    }
    contender->fd =
        open(contender->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (contender->fd < 0) {
        return fail_errno(path, err);
    }
    (void)take_grip(contender->fd); /* where there are none, the beats must do */
    return write_self(contender) ? CE_OK : fail_errno(path, err);
}

/* Gives our file another name; false with EEXIST when there is one. A server may carry
 * a link out and lose the answer, so the number of names is what counts. */
static bool link_self(const struct contender *contender, const char *name)
{
    struct stat info;

    if (link(contender->temporary, name) == 0) {
        return true;
    }
    int why = errno;
    bool linked = fstat(contender->fd, &info) == 0 && info.st_nlink == 2;

    errno = why;
    return linked;
}

/* ---- somebody else's file */

struct rival {
    const char *path;
    int fd;
    struct stat info;
    struct ce_journal_owner owner;
    long long quiet_s; /* since it was last renewed */
    bool dead;
};

static bool is_file(const char *path, const struct stat *file)
{
    struct stat info;

    return lstat(path, &info) == 0 && info.st_dev == file->st_dev &&
           info.st_ino == file->st_ino;
}

static bool is_dead(const struct rival *rival, const struct ce_journal_owner *self)
{
    enum grip grip = take_grip(rival->fd);

    if (grip == GRIP_HELD) {
        return false;
    }
    if (ce_journal_owner_is_here(&rival->owner, self) &&
        (grip == GRIP_TAKEN || ce_journal_owner_is_dead(&rival->owner, self))) {
        return true;
    }
    return rival->quiet_s >= CE_JOURNAL_STALE_S;
}

static enum ce_status fail_read(const char *path, struct ce_error *err)
{
    return errno == ESTALE ? CE_AGAIN : fail_errno(path, err);
}

static enum ce_status read_owner(struct rival *rival, struct ce_error *err)
{
    char text[512];

    if (fstat(rival->fd, &rival->info) != 0) {
        return fail_read(rival->path, err);
    }
    if (!S_ISREG(rival->info.st_mode)) {
        return ce_fail(
            err, CE_ERR_IO, "%s: cannot lock: is not a regular file", rival->path);
    }
    ssize_t bytes = pread(rival->fd, text, sizeof(text) - 1, 0);

    if (bytes < 0) {
        return fail_read(rival->path, err);
    }
    text[bytes] = '\0';
    (void)ce_journal_owner_parse(&rival->owner, text);
    return CE_OK;
}

/* CE_AGAIN: it is gone. CE_OK: the caller closes rival->fd. */
static enum ce_status judge(struct rival *rival,
                            const char *path,
                            const struct contender *contender,
                            struct ce_error *err)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    *rival = (struct rival){.path = path, .fd = fd};
    if (fd < 0) {
        return errno == ENOENT || errno == ESTALE ? CE_AGAIN : fail_errno(path, err);
    }
    enum ce_status status = read_owner(rival, err);

    if (status != CE_OK) {
        (void)close(fd);
        return status;
    }
    rival->quiet_s =
        (long long)contender->info.st_mtime - (long long)rival->info.st_mtime;
    rival->dead = is_dead(rival, &contender->self);
    return CE_OK;
}

/* A claim that is not the lock yet reads the same: its owner is about to have it. */
static enum ce_status refuse(const struct rival *rival, struct ce_error *err)
{
    char since[32] = "an unknown time";
    time_t seconds = (time_t)rival->owner.since;
    struct tm parts;

    if (rival->owner.since > 0 && gmtime_r(&seconds, &parts) != NULL) {
        (void)strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", &parts);
    }
    return ce_fail(
        err,
        CE_ERR_ARG,
        "%.200s: another job writes here: process %ld on %s, since %s, last "
        "seen %lld s ago; wait for it or use another directory. If it has "
        "ended without a trace, this goes by itself after %d s; to force it, "
        "remove the file",
        rival->path,
        rival->owner.process,
        rival->owner.host,
        since,
        rival->quiet_s > 0 ? rival->quiet_s : 0,
        CE_JOURNAL_STALE_S);
}

/* ---- taking over */

/* PATH.next is there: CE_AGAIN when that is over. */
static enum ce_status pass_claim(const struct contender *contender,
                                 struct ce_error *err)
{
    struct rival claim;
    enum ce_status status = judge(&claim, contender->next, contender, err);

    if (status != CE_OK) {
        return status;
    }
    status = CE_AGAIN;
    if (!claim.dead) {
        status = refuse(&claim, err);
    } else if (is_file(claim.path, &claim.info)) {
        (void)unlink(claim.path);
    }
    (void)close(claim.fd);
    return status;
}

/* From a dead rival. CE_AGAIN: somebody else was faster. */
static enum ce_status replace(const struct contender *contender,
                              const struct rival *rival,
                              struct ce_error *err)
{
    if (!link_self(contender, contender->next)) {
        return errno == EEXIST ? pass_claim(contender, err)
                               : fail_errno(contender->next, err);
    }
    enum ce_status status = CE_AGAIN;

    if (is_file(rival->path, &rival->info)) {
        status = rename(contender->next, rival->path) == 0
                     ? CE_OK
                     : fail_errno(rival->path, err);
    }
    if (status != CE_OK) {
        (void)unlink(contender->next);
    }
    return status;
}

/* One turn: CE_AGAIN when what was there has changed meanwhile. */
static enum ce_status try_once(const struct contender *contender, struct ce_error *err)
{
    struct rival rival;

    if (link_self(contender, contender->path)) {
        return CE_OK;
    }
    if (errno != EEXIST) {
        return fail_errno(contender->path, err);
    }
    enum ce_status status = judge(&rival, contender->path, contender, err);

    if (status != CE_OK) {
        return status;
    }
    status = rival.dead ? replace(contender, &rival, err) : refuse(&rival, err);
    (void)close(rival.fd);
    return status;
}

static enum ce_status compete(const struct contender *contender, struct ce_error *err)
{
    enum ce_status status = CE_AGAIN;

    for (int turn = 0; status == CE_AGAIN && turn < MOST_TURNS; turn++) {
        status = try_once(contender, err);
    }
    return status != CE_AGAIN ? status
                              : ce_fail(err,
                                        CE_ERR_ARG,
                                        "%s: other jobs come and go here: try again",
                                        contender->path);
}

enum ce_status ce_journal_lock_take(struct ce_journal_lock *lock,
                                    const char *dir,
                                    struct ce_error *err)
{
    struct contender contender;

    *lock = (struct ce_journal_lock){.path = ce_path_join(dir, CE_JOURNAL_LOCK_NAME),
                                     .fd = -1};
    if (lock->path == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory to lock it", dir);
    }
    enum ce_status status = contender_create(&contender, lock->path, err);

    if (status == CE_OK) {
        status = compete(&contender, err);
    }
    if (status == CE_OK) {
        (void)unlink(contender.temporary);
        lock->fd = contender.fd;
        lock->device = contender.info.st_dev;
        lock->file = contender.info.st_ino;
        contender.fd = -1;
    }
    contender_destroy(&contender);
    if (status != CE_OK) {
        ce_journal_lock_release(lock);
    }
    return status;
}

/* ---- having it */

void ce_journal_lock_release(struct ce_journal_lock *lock)
{
    if (lock->fd >= 0) {
        const struct stat own = {.st_dev = lock->device, .st_ino = lock->file};

        if (is_file(lock->path, &own)) {
            (void)unlink(lock->path);
        }
        (void)close(lock->fd);
    }
    free(lock->path);
    *lock = (struct ce_journal_lock){.fd = -1};
}

void ce_journal_lock_beat(const struct ce_journal_lock *lock)
{
    (void)futimens(lock->fd, NULL);
}

enum ce_status ce_journal_lock_check(const struct ce_journal_lock *lock,
                                     struct ce_error *err)
{
    struct stat info;
    bool there = lstat(lock->path, &info) == 0;

    /* A file system that does not answer is not somebody else. */
    if (there ? info.st_dev == lock->device && info.st_ino == lock->file
              : errno != ENOENT) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_IO,
                   "%s: not this job's any more: somebody removed it or took it over "
                   "while this process stood still; nothing more is written",
                   lock->path);
}
