/* encode.h - the queries of a task become token requests
 *
 * The split into tokens, the tokens that are scored and what is cut off are those of
 * lm-evaluation-harness' Hugging Face backend (version 0.4.13, batch size 1):
 *
 *   loglikelihood  white space at the end of the context moves to the continuation;
 *                  both together are encoded, and what is behind as many tokens as the
 *                  context has alone is the continuation; the context is as it is alone
 *   rolling        one request a window; their sums, in order, are added
 *   generate       the last tokens of the context that leave room for max_new_tokens
 *
 * Where lm-eval would end the job, a query is refused with its document's line: nothing
 * to score, no room for max_new_tokens. Two things it would stop at are done here: a
 * context without tokens is taken as an empty one, which is the prefix token, and of a
 * continuation that does not fit the last max_length tokens are scored.
 */

#ifndef CE_EVAL_ENCODE_H
#define CE_EVAL_ENCODE_H

#include "base/status.h"
#include "eval/encoder.h"
#include "eval/eval.h"
#include "eval/request_table.h"

#include <stdbool.h>
#include <stddef.h>

/* Where the task stands in the job: a job has several, and some queries are done. */
struct ce_encode_place {
    size_t first_query;    /* number of the task's first query in the job */
    size_t first_document; /* the same for documents: they are the groups */
    const bool *skip;      /* [queries] those that are left out; NULL: none */
};

/* Adds the requests of the task, in the order of its queries; with OpenMP. Not a single
 * request is added to the list when it fails. */
CE_MUST_CHECK enum ce_status ce_encode_task(const struct ce_encoder *encoder,
                                            const struct ce_task *task,
                                            const struct ce_encode_place *place,
                                            struct ce_request_list *list,
                                            struct ce_error *err);

#endif
