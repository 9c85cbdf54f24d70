/* sheet.h - the outcomes of a job, variant by variant and query by query
 *
 * What the journal had when it was opened. Texts belong to the journal.
 */

#ifndef CE_EVAL_SHEET_H
#define CE_EVAL_SHEET_H

#include "base/status.h"
#include "eval/eval.h"
#include "eval/inputs.h"
#include "eval/journal.h"
#include "eval/request_table.h"

#include <stdbool.h>
#include <stddef.h>

struct ce_sheet {
    size_t variants;
    size_t queries;             /* of the job */
    struct ce_outcome *outcome; /* [variants][queries] */
    size_t done;                /* of all variants */
};

/* The journal is one of these inputs and outlives the sheet. ce_sheet_free frees, also
 * after a failure. */
CE_MUST_CHECK enum ce_status ce_sheet_fill(struct ce_sheet *sheet,
                                           const struct ce_inputs *inputs,
                                           const struct ce_journal *journal,
                                           struct ce_error *err);
void ce_sheet_free(struct ce_sheet *sheet); /* accepts a zeroed object */

/* Of one variant, [queries]. */
const struct ce_outcome *ce_sheet_variant(const struct ce_sheet *sheet, size_t variant);
bool ce_sheet_is_complete(const struct ce_sheet *sheet);

/* Adds to the list what some variant has still to ask. Their number in the job is
 * `query` of a request. */
CE_MUST_CHECK enum ce_status ce_sheet_encode(const struct ce_sheet *sheet,
                                             const struct ce_inputs *inputs,
                                             const struct ce_encoder *encoder,
                                             struct ce_request_list *list,
                                             struct ce_error *err);

/* Records in the journal what is not done and not in the list either: texts that are
 * scored from their beginning and have no token. Their sum is 0, as in lm-eval. */
CE_MUST_CHECK enum ce_status ce_sheet_record_empty(const struct ce_sheet *sheet,
                                                   const struct ce_inputs *inputs,
                                                   const struct ce_request_list *list,
                                                   struct ce_journal *journal,
                                                   struct ce_error *err);

#endif
