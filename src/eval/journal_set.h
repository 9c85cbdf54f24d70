/* journal_set.h - which items of a job are recorded: a bit each */

#ifndef CE_EVAL_JOURNAL_SET_H
#define CE_EVAL_JOURNAL_SET_H

#include "base/status.h"
#include "eval/journal.h"

#include <stdbool.h>

struct ce_journal_set {
    const struct ce_journal_header *header;
    uint64_t *first; /* [tasks + 1] number of queries before each task */
    unsigned char *bit;
};

/* Of a header that is checked and stays; all bits are clear. */
CE_MUST_CHECK enum ce_status
ce_journal_set_create(struct ce_journal_set *set,
                      const struct ce_journal_header *header,
                      struct ce_error *err);
void ce_journal_set_destroy(struct ce_journal_set *set); /* accepts a zeroed object */

/* Whether the job has such an item; the others ask only about those. */
bool ce_journal_set_may_have(const struct ce_journal_set *set,
                             const struct ce_journal_item *item);
bool ce_journal_set_has(const struct ce_journal_set *set,
                        const struct ce_journal_item *item);
void ce_journal_set_add(struct ce_journal_set *set, const struct ce_journal_item *item);

#endif
