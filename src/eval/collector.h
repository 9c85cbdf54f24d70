/* collector.h - from the tokens of a schedule to outcomes in the journal
 *
 * On rank 0. Log-probabilities are added in the order of the tokens, then of the
 * windows of a text, in double: the sum does not depend on when they come. A query is
 * recorded as soon as all of it is there, whatever order queries end in.
 */

#ifndef CE_EVAL_COLLECTOR_H
#define CE_EVAL_COLLECTOR_H

#include "base/status.h"
#include "engine/scheduler.h"
#include "eval/inputs.h"
#include "eval/journal.h"
#include "eval/request_table.h"
#include "model/tokenizer/tokenizer.h"

#include <stddef.h>
#include <stdint.h>

/* All borrowed. */
struct ce_collector_parts {
    const struct ce_inputs *inputs;
    const struct ce_request_table *table;
    const struct ce_tokenizer *tokenizer;
    struct ce_journal *journal;
};

struct ce_collector {
    struct ce_collector_parts parts;
    uint32_t variant;
    struct ce_collected *request; /* [table->count] */
    size_t recorded;              /* queries */
};

/* For one variant. ce_collector_close frees, also after a failure. */
CE_MUST_CHECK enum ce_status ce_collector_open(struct ce_collector *collector,
                                               const struct ce_collector_parts *parts,
                                               uint32_t variant,
                                               struct ce_error *err);
void ce_collector_close(struct ce_collector *collector); /* accepts a zeroed object */

/* New tokens of a request of the table. Errors: those of the journal. */
CE_MUST_CHECK enum ce_status ce_collector_take(struct ce_collector *collector,
                                               size_t request,
                                               const struct ce_new_token *tokens,
                                               size_t count,
                                               enum ce_finish finish,
                                               struct ce_error *err);

#endif
