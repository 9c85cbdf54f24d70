/* task_parts.h - what the files that make a task share */

#ifndef CE_EVAL_TASK_PARTS_H
#define CE_EVAL_TASK_PARTS_H

#include "eval/description.h"
#include "eval/documents.h"
#include "eval/fewshot.h"
#include "eval/task.h"

/* Makes the documents and queries of the task, which has its metrics already. Errors
 * name file and line. */
CE_MUST_CHECK enum ce_status ce_task_render(struct ce_task *task,
                                            const struct ce_description *description,
                                            const struct ce_documents *documents,
                                            struct ce_fewshot *fewshot,
                                            struct ce_error *err);

/* Of all that a query or a metric depends on. */
uint64_t ce_task_hash(const struct ce_task *task);

#endif
