/* openai_batch.h - batches of completions in OpenAI's format, one JSON object a line
 *
 *   in   {"custom_id": "a", "method": "POST", "url": "/v1/completions",
 *         "body": {"model": "m", "prompt": "1 + 1 =", "max_tokens": 4}}
 *   out  {"id": "batch_req_...", "custom_id": "a",
 *         "response": {"status_code": 200, "request_id": "...", "body": {...}},
 *         "error": null}
 *
 * A body may have prompt (a string, a list of strings, of token ids, or of lists of
 * token ids), max_tokens, temperature, top_p, seed, stop, echo, user, and what asks for
 * nothing beyond: n 1, best_of 1, stream false, penalties of 0, and null. What else it
 * has makes the line an error of status 400 whose text names the field; so does a
 * prompt that leaves no room for max_tokens. The other lines are not touched by that.
 * Nothing is cut off silently: a prompt is run whole or not at all.
 *
 * Refused as a whole, with the line: what is not a JSON object, a custom_id that is
 * missing or there twice, a second model, a file without lines.
 *
 * It becomes a task of CE_OUTPUT_REQUESTS whose documents are the lines and whose
 * queries are the prompts; a line that is an error has no query. Nothing in the output
 * depends on a clock: ids are made from the custom_id and the hash of the job, and
 * "created" is 0.
 */

#ifndef CE_EVAL_OPENAI_BATCH_H
#define CE_EVAL_OPENAI_BATCH_H

#include "base/status.h"
#include "eval/encoder.h"
#include "eval/eval.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ce_openai_batch {
    struct ce_task task;
    char *model;                          /* that all lines name; NULL: none does */
    const struct ce_tokenizer *tokenizer; /* borrowed from the encoder */
    struct ce_openai_line *line;          /* [documents] */
};

/* Prompts are encoded here, with OpenMP, since their lengths decide about errors. The
 * task is named after the file, without folder and ending. ce_openai_batch_close frees,
 * also after a failure; it, not the task, owns what the task points to. */
CE_MUST_CHECK enum ce_status ce_openai_batch_open(struct ce_openai_batch *batch,
                                                  const char *path,
                                                  const struct ce_encoder *encoder,
                                                  struct ce_error *err);
/* The same from text in memory. */
CE_MUST_CHECK enum ce_status ce_openai_batch_parse(struct ce_openai_batch *batch,
                                                   const char *text,
                                                   size_t bytes,
                                                   const char *path,
                                                   const struct ce_encoder *encoder,
                                                   struct ce_error *err);
void ce_openai_batch_close(struct ce_openai_batch *batch); /* accepts a zeroed object */

/* The document's line is an error, of which OpenAI keeps a file of its own. */
bool ce_openai_batch_is_error(const struct ce_openai_batch *batch, size_t document);

/* The output line of a document, without the newline; the caller frees *text. `outcome`
 * are those of the document's queries, in order; one that is not done makes the line an
 * error "batch_cancelled". */
CE_MUST_CHECK enum ce_status ce_openai_batch_write(const struct ce_openai_batch *batch,
                                                   size_t document,
                                                   const struct ce_outcome *outcome,
                                                   uint64_t job_hash,
                                                   char **text,
                                                   struct ce_error *err);

#endif
