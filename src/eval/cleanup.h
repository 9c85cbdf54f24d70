/* cleanup.h - clean-ups that a task defines as a program, each by its name
 *
 * Source: lm_eval/tasks/hellaswag/utils.py and lm_eval/tasks/wikitext/
 * preprocess_wikitext.py of lm-evaluation-harness 0.4.13.
 */

#ifndef CE_EVAL_CLEANUP_H
#define CE_EVAL_CLEANUP_H

#include "base/status.h"
#include "eval/strings.h"

#include <jansson.h>

/* "wikitext": undoes the tokenisation of WikiText. */
void ce_cleanup_wikitext(struct ce_string *text);

/* Changes a document before any template sees it. Errors name the field, not the line,
 * which the caller knows. */
typedef enum ce_status ce_cleanup_function(json_t *document, struct ce_error *err);

/* "hellaswag": adds `query`, `choices` and `gold` made from the other fields; NULL for
 * a name that is not known. */
ce_cleanup_function *ce_cleanup_find(const char *name);

#endif
