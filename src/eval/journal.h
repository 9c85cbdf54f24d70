/* journal.h - what an evaluation has finished, in a file that loses nothing
 *
 * DIR/journal.pb (proto/journal.proto) starts with what the job is and then has one
 * record an outcome. It only ever grows: a killed job leaves at most a torn record at
 * its end, which the next open cuts off. DIR/journal.lock keeps a second job out
 * (journal_lock.h).
 *
 * One process, rank 0, has it open for writing. Append and sync may be called from
 * several threads at once, not from a signal handler. A journal is not for a process
 * that forks afterwards: the child would have its lock but not its thread.
 */

#ifndef CE_EVAL_JOURNAL_H
#define CE_EVAL_JOURNAL_H

#include "base/status.h"
#include "eval/eval.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CE_JOURNAL_NAME "journal.pb"

/* A record reaches the disk at most this much later, whatever the job does. */
#define CE_JOURNAL_SYNC_MS 1000
/* As many bytes wait for that at most; the append that would add more writes them. */
#define CE_JOURNAL_SYNC_BYTES ((size_t)1 << 20)

struct ce_journal_field {
    const char *name;
    const char *value; /* NULL, for ce_journal_open: known later */
};

struct ce_journal_task {
    const char *name;
    uint64_t queries;
};

/* What the job is. The fields, tasks and variants must be alike to resume; order counts
 * for tasks and variants only, because items name them by index. The rest is what the
 * final files say about the job and is taken from the journal, so that they do not tell
 * how often it was killed. */
struct ce_journal_header {
    const struct ce_journal_field *field; /* fingerprint; each name once */
    size_t fields;
    const struct ce_journal_task *task; /* at least one */
    size_t tasks;
    const char *const *variant; /* such as "compressed"; at least one */
    size_t variants;
    const struct ce_journal_field *note; /* kept, not compared */
    size_t notes;
    const char *program; /* name and version of what made it; not compared */
    uint64_t start_ns;   /* Unix time */
};

struct ce_journal_item {
    uint32_t variant; /* index */
    uint32_t task;    /* index */
    uint64_t query;   /* of the task */
};

struct ce_journal_entry {
    struct ce_journal_item item;
    struct ce_outcome outcome; /* done is true */
};

enum ce_journal_mode {
    CE_JOURNAL_RESUME = 0, /* continues the one that is there, or makes one */
    CE_JOURNAL_FRESH,      /* makes one; refuses when there is one */
    CE_JOURNAL_READ,       /* changes nothing, takes no lock; also while a job writes */
};

enum ce_journal_notice_kind {
    CE_JOURNAL_TORN = 0,  /* the end of a record is missing; cut off unless read only */
    CE_JOURNAL_DAMAGED,   /* bytes in the middle that are no record; they stay */
    CE_JOURNAL_INVALID,   /* a whole record of an item that the job does not have */
    CE_JOURNAL_DUPLICATE, /* an item once more; the first record counts */
};

/* Something that was wrong with the file and costs at most the outcomes in those bytes.
 */
struct ce_journal_notice {
    enum ce_journal_notice_kind kind;
    uint64_t offset;
    uint64_t bytes;
    struct ce_journal_item item; /* INVALID and DUPLICATE */
};

struct ce_journal;

/* The directory must exist. `header` may be NULL for CE_JOURNAL_READ: anything is read.
 * With a field that is known later the journal is locked, what is known is compared,
 * and what is there can be read; nothing is written before ce_journal_confirm.
 * CE_ERR_MISMATCH: another job, the text names what differs and both values.
 * CE_ERR_UNSUPPORTED: another version of the format. CE_ERR_ARG: locked by somebody
 * (the text says by whom), there although it should be fresh, or not there to read.
 * CE_ERR_FORMAT: not a journal, or both copies of its header are damaged. The caller
 * closes it; *journal is NULL after a failure. */
CE_MUST_CHECK enum ce_status ce_journal_open(struct ce_journal **journal,
                                             const char *dir,
                                             const struct ce_journal_header *header,
                                             enum ce_journal_mode mode,
                                             struct ce_error *err);
/* Compares the fields that were not known, or makes the journal if there was none;
 * `header` is that of open with a value for each. Errors: those of open. */
CE_MUST_CHECK enum ce_status ce_journal_confirm(struct ce_journal *journal,
                                                const struct ce_journal_header *header,
                                                struct ce_error *err);
/* Writes what was appended and releases the lock. Sync first: this cannot say whether
 * it worked. Accepts NULL. */
void ce_journal_close(struct ce_journal *journal);

/* As the file has it; where there is none yet, as the caller of open said it. */
const struct ce_journal_header *ce_journal_header(const struct ce_journal *journal);

/* What was finished when it was opened, by variant, task and query. Belongs to the
 * journal, the texts too. */
const struct ce_journal_entry *ce_journal_entries(const struct ce_journal *journal,
                                                  size_t *count);

/* What was wrong with it when it was opened, by offset. */
const struct ce_journal_notice *ce_journal_notices(const struct ce_journal *journal,
                                                   size_t *count);
/* A notice as a sentence that starts with the path. */
void ce_journal_notice_print(const struct ce_journal *journal,
                             const struct ce_journal_notice *notice,
                             char *text,
                             size_t bytes);

/* Records an outcome; outcome->done is not looked at. Returns before it is on the disk.
 * After a write failed, here or in the journal's own thread, this and sync return that
 * failure for ever: the file ends with the last whole record that could be written. An
 * item that is already recorded is CE_ERR_ARG. */
CE_MUST_CHECK enum ce_status ce_journal_append(struct ce_journal *journal,
                                               const struct ce_journal_item *item,
                                               const struct ce_outcome *outcome,
                                               struct ce_error *err);
/* Returns when everything appended before is on the disk. */
CE_MUST_CHECK enum ce_status ce_journal_sync(struct ce_journal *journal,
                                             struct ce_error *err);

#endif
