/* journal_outcome.h - an item and its outcome as a record of the journal */

#ifndef CE_EVAL_JOURNAL_OUTCOME_H
#define CE_EVAL_JOURNAL_OUTCOME_H

#include "base/status.h"
#include "eval/journal.h"

#include <stddef.h>

/* Bytes of its message. */
size_t ce_journal_outcome_bytes(const struct ce_journal_item *item,
                                const struct ce_outcome *outcome);
/* Writes that many. */
void ce_journal_outcome_pack(const struct ce_journal_item *item,
                             const struct ce_outcome *outcome,
                             unsigned char *message);

/* The text is malloc'ed. CE_ERR_FORMAT: not such a message; the text of the error is
 * not written then, because a journal goes on after it. */
CE_MUST_CHECK enum ce_status ce_journal_outcome_parse(struct ce_journal_entry *entry,
                                                      const unsigned char *message,
                                                      size_t bytes,
                                                      struct ce_error *err);

#endif
