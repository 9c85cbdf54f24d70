/* journal_file.h - the end of a journal: records gather in memory and go out together
 *
 * Two buffers, so that records are appended while others are written: a disk that takes
 * its time does not stop the job. All functions but open and close may be called from
 * several threads.
 */

#ifndef CE_EVAL_JOURNAL_FILE_H
#define CE_EVAL_JOURNAL_FILE_H

#include "base/status.h"
#include "eval/journal.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct ce_journal_buffer {
    unsigned char *data;
    size_t bytes;
    size_t capacity;
};

struct ce_journal_file {
    char *path;
    int fd;
    uint32_t header_crc;
    pthread_mutex_t writer; /* one writes at a time; taken before the other */
    struct ce_journal_buffer writing;
    pthread_mutex_t lock; /* of all below */
    struct ce_journal_buffer pending;
    uint64_t written; /* where pending goes */
    enum ce_status failure;
    struct ce_error why;
};

/* The file is cut to `end`, where records will be appended. */
CE_MUST_CHECK enum ce_status ce_journal_file_open(struct ce_journal_file *file,
                                                  const char *path,
                                                  uint64_t end,
                                                  uint32_t header_crc,
                                                  struct ce_error *err);
/* What is pending is lost. */
void ce_journal_file_close(struct ce_journal_file *file);

/* *pending is the number of bytes that wait now. */
CE_MUST_CHECK enum ce_status ce_journal_file_append(struct ce_journal_file *file,
                                                    const struct ce_journal_item *item,
                                                    const struct ce_outcome *outcome,
                                                    size_t *pending,
                                                    struct ce_error *err);
/* Writes what is pending to the disk. After a failure the file is cut behind the last
 * whole record. */
CE_MUST_CHECK enum ce_status ce_journal_file_sync(struct ce_journal_file *file,
                                                  struct ce_error *err);

/* From now on everything fails with this; the first failure stays. */
void ce_journal_file_fail(struct ce_journal_file *file,
                          enum ce_status status,
                          const struct ce_error *why);

#endif
