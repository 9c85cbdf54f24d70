/* fewshot.h - the solved examples before a document
 *
 *   question + target_delimiter + answer + delimiter, once for each example
 *
 * Which examples: those that lm-evaluation-harness's samplers choose, whose random
 * numbers run on from document to document. So the documents must come in order.
 */

#ifndef CE_EVAL_FEWSHOT_H
#define CE_EVAL_FEWSHOT_H

#include "base/status.h"
#include "eval/description.h"
#include "eval/documents.h"
#include "eval/python_random.h"
#include "eval/strings.h"

#include <stddef.h>

struct ce_fewshot {
    const struct ce_description *description;
    size_t count; /* examples for each document */
    struct ce_documents documents;
    char **text;    /* [documents.count] an example as text; NULL until it is needed */
    size_t *pool;   /* [documents.count] those that are chosen from, when few are not */
    size_t *chosen; /* [count + 1] */
    struct ce_python_random random;
};

/* Reads the examples, unless `count` is 0. The description must live as long.
 * ce_fewshot_close frees, also after a failure. */
CE_MUST_CHECK enum ce_status ce_fewshot_open(struct ce_fewshot *fewshot,
                                             const struct ce_description *description,
                                             size_t count,
                                             const char *path,
                                             struct ce_error *err);
void ce_fewshot_close(struct ce_fewshot *fewshot);

/* Adds the examples for the next document. */
CE_MUST_CHECK enum ce_status ce_fewshot_add(struct ce_fewshot *fewshot,
                                            const json_t *document,
                                            struct ce_string *text,
                                            struct ce_error *err);

#endif
