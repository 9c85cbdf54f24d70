/* encode_parts.h - one query becomes one sequence of tokens, before it is cut to fit */

#ifndef CE_EVAL_ENCODE_PARTS_H
#define CE_EVAL_ENCODE_PARTS_H

#include "eval/encoder.h"
#include "eval/eval.h"

struct ce_encoded_query {
    struct ce_ids ids; /* context, then continuation; the caller frees them */
    size_t context;    /* how many of them; all, if there is nothing to score */
};

/* The context before, which the next query often has as well. Zero it first, free the
 * ids after the last query. */
struct ce_encoded_context {
    const char *text; /* without its trailing space; NULL: none yet */
    size_t bytes;
    struct ce_ids ids;
};

/* At least one token of context. `before` is of the same thread; its text belongs to a
 * query that must still be there. */
CE_MUST_CHECK enum ce_status ce_encode_query(const struct ce_encoder *encoder,
                                             const struct ce_query *query,
                                             struct ce_encoded_context *before,
                                             struct ce_encoded_query *encoded,
                                             struct ce_error *err);

#endif
