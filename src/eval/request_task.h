/* request_task.h - a task that is made of a file of requests, line by line
 *
 * A document for each line, whose source is the line's object; queries as the line asks
 * them. There are no metrics, and the only filter is "none".
 */

#ifndef CE_EVAL_REQUEST_TASK_H
#define CE_EVAL_REQUEST_TASK_H

#include "eval/eval.h"

#include <stddef.h>

/* The bytes of the file are what the hash is of; the name is that of the file, without
 * folder and ending. ce_request_task_free frees, also after a failure. */
CE_MUST_CHECK enum ce_status ce_request_task_init(struct ce_task *task,
                                                  const char *path,
                                                  const void *text,
                                                  size_t bytes,
                                                  struct ce_error *err);
void ce_request_task_free(struct ce_task *task); /* accepts a zeroed task */

/* A document without queries yet; takes a reference of its own to the source. */
CE_MUST_CHECK enum ce_status ce_request_task_add_document(struct ce_task *task,
                                                          json_t *source,
                                                          size_t line,
                                                          struct ce_error *err);
/* A query of the last document: a zeroed one, valid until the next; what its fields are
 * made to point to belongs to the task. NULL: no memory. */
struct ce_query *ce_request_task_add_query(struct ce_task *task, struct ce_error *err);
/* Frees what the query has; who calls it takes the query out of the task. */
void ce_request_task_free_query(struct ce_query *query);

/* Stop strings from one string or a list of strings; NULL and null leave *settings.
 * False when it is neither; *status when memory runs out. */
bool ce_request_task_read_until(struct ce_generate_settings *settings,
                                const json_t *value,
                                enum ce_status *status,
                                struct ce_error *err);

#endif
