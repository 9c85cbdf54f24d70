/* journal_lock.h - one job in a directory
 *
 * A file that says who has the directory: host, process, boot, since when. It appears
 * whole or not at all (a hard link of a finished file) and is
 *
 *   held      while its owner has a lock on it (fcntl, open file description), which
 *             ends with the process however it ends, on NFS with its lease;
 *   beating   while its time is renewed, by a thread of the owner every
 *             CE_JOURNAL_BEAT_S seconds.
 *
 * A held one is never taken. One of a dead process of this boot of this host is taken
 * at once; any other when it has not beaten for CE_JOURNAL_STALE_S seconds, by the
 * clock of the file system. An owner that lost it (it was suspended for long, or
 * somebody removed the file) is told so before it writes.
 */

#ifndef CE_EVAL_JOURNAL_LOCK_H
#define CE_EVAL_JOURNAL_LOCK_H

#include "base/status.h"

#include <stdbool.h>
#include <sys/types.h>

#define CE_JOURNAL_LOCK_NAME "journal.lock"

#define CE_JOURNAL_BEAT_S  10
#define CE_JOURNAL_STALE_S 120

struct ce_journal_lock {
    char *path;
    int fd; /* -1: not held */
    dev_t device;
    ino_t file;
};

/* CE_ERR_ARG: another job has it; the text says who, since when, and what to do. */
CE_MUST_CHECK enum ce_status ce_journal_lock_take(struct ce_journal_lock *lock,
                                                  const char *dir,
                                                  struct ce_error *err);
/* Accepts a zeroed object whose fd is -1. */
void ce_journal_lock_release(struct ce_journal_lock *lock);

void ce_journal_lock_beat(const struct ce_journal_lock *lock);
/* CE_ERR_IO when it is not ours any more. */
CE_MUST_CHECK enum ce_status ce_journal_lock_check(const struct ce_journal_lock *lock,
                                                   struct ce_error *err);

#endif
