/* journal_job.h - the header of a journal: what the job is, and whether it is the same
 */

#ifndef CE_EVAL_JOURNAL_JOB_H
#define CE_EVAL_JOURNAL_JOB_H

#include "base/status.h"
#include "eval/journal.h"

#include <stddef.h>

/* As many items as a job may have. */
#define CE_JOURNAL_MOST_ITEMS ((uint64_t)1 << 28)

struct ce_journal_job_storage;

/* A header that was read, with its memory. */
struct ce_journal_job {
    struct ce_journal_header header;
    struct ce_journal_job_storage *storage;
};

/* The message of a header. *message is malloc'ed; CE_ERR_ARG when there are no tasks or
 * variants, or more items than a journal may have. */
CE_MUST_CHECK enum ce_status ce_journal_job_pack(const struct ce_journal_header *header,
                                                 unsigned char **message,
                                                 size_t *bytes,
                                                 struct ce_error *err);

/* CE_ERR_UNSUPPORTED: of another version, CE_ERR_FORMAT: not possible. `path` is only
 * for the text. */
CE_MUST_CHECK enum ce_status ce_journal_job_parse(struct ce_journal_job *job,
                                                  const unsigned char *message,
                                                  size_t bytes,
                                                  const char *path,
                                                  struct ce_error *err);
void ce_journal_job_destroy(struct ce_journal_job *job); /* accepts a zeroed object */

/* CE_ERR_MISMATCH, with what differs, unless `here` is the job that `there` is of. */
CE_MUST_CHECK enum ce_status
ce_journal_job_compare(const struct ce_journal_header *there,
                       const struct ce_journal_header *here,
                       const char *path,
                       struct ce_error *err);

#endif
