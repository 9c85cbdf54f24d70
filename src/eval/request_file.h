/* request_file.h - raw requests, one JSON object a line
 *
 *   {"id": "a", "type": "loglikelihood", "context": "1 + 1 =", "continuation": " 2"}
 *   {"id": "b", "type": "loglikelihood_rolling", "text": "A whole text."}
 *   {"id": "c", "type": "generate_until", "context": "Q: 1 + 1?\nA:", "until": ["\n"],
 *    "max_gen_toks": 16, "temperature": 0, "top_p": 1, "seed": 0}
 *
 * id, type and the texts are required; the others are as lm-eval has them where they
 * are left out: until ["\n\n"], max_gen_toks 256, temperature 0, top_p 1, seed 0.
 * `until` may be one string. A field that the type does not know is an error, as are an
 * id twice, a line that is not a JSON object, bytes that are not UTF-8 and a file
 * without requests. Blank lines are skipped.
 *
 * It becomes a task of CE_OUTPUT_REQUESTS: a document for each line, with the line's
 * object as its source and one query, whose `kind` and `generate` are its own. The
 * target of a document is "".
 */

#ifndef CE_EVAL_REQUEST_FILE_H
#define CE_EVAL_REQUEST_FILE_H

#include "base/status.h"
#include "eval/eval.h"

#include <stddef.h>

/* The task is named after the file, without folder and ending. ce_request_file_close
 * frees, also after a failure; ce_task_close does not know these tasks. Errors name
 * file, line and field. */
CE_MUST_CHECK enum ce_status
ce_request_file_open(struct ce_task *task, const char *path, struct ce_error *err);
/* The same from text in memory. */
CE_MUST_CHECK enum ce_status ce_request_file_parse(struct ce_task *task,
                                                   const char *text,
                                                   size_t bytes,
                                                   const char *path,
                                                   struct ce_error *err);
void ce_request_file_close(struct ce_task *task); /* accepts a zeroed task */

#endif
