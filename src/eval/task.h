/* task.h - a task description and documents become the queries of an evaluation
 *
 *   description.json ─┐
 *   documents.jsonl ──┼→ clean-up → template → struct ce_task: documents, queries
 *   examples.jsonl ───┘
 *
 * The strings of a query are byte for byte those that lm-evaluation-harness gives its
 * model for the same documents. deploy/tasks/README.md describes both formats.
 *
 * Queries of one document may share the same context string. With the metric
 * acc_mutual_info a document has two queries a choice: all with their context, then all
 * without; choice[i] is there for both.
 */

#ifndef CE_EVAL_TASK_H
#define CE_EVAL_TASK_H

#include "base/status.h"
#include "eval/eval.h"

#include <stddef.h>

/* Leave the number of examples to the description. */
#define CE_TASK_FEWSHOT_DEFAULT SIZE_MAX

struct ce_task_options {
    const char *description; /* path of the description */
    const char *part;        /* the subject of a task that has parts; NULL: all parts */
    const char *data_dir;    /* document files are searched here, then beside the
                                description; NULL: only there */
    size_t limit;            /* of documents, from the first; 0: all */
    size_t fewshot;          /* examples; or CE_TASK_FEWSHOT_DEFAULT */
};

/* Fills *task; ce_task_close frees it, also after a failure. Errors name file and field
 * or line. */
CE_MUST_CHECK enum ce_status ce_task_open(struct ce_task *task,
                                          const struct ce_task_options *options,
                                          struct ce_error *err);
void ce_task_close(struct ce_task *task); /* accepts a zeroed task */

/* Where a task's description is. */
struct ce_task_place {
    char *description; /* path */
    char *part;        /* NULL unless the name was that of a part: "mmlu_astronomy" */
};

/* `name` is a path (with a slash or ending in ".json") or the name of a description in
 * `dir` (may be NULL), or in share/cemoe/tasks or deploy/tasks under a folder that the
 * program is in. ce_task_place_free frees the place, also after a failure. The error
 * suggests a name and lists where was searched. */
CE_MUST_CHECK enum ce_status ce_task_find(struct ce_task_place *place,
                                          const char *name,
                                          const char *dir,
                                          struct ce_error *err);
void ce_task_place_free(struct ce_task_place *place);

#endif
