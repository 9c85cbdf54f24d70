/* results_parts.h - what the files of results.h share */

#ifndef CE_EVAL_RESULTS_PARTS_H
#define CE_EVAL_RESULTS_PARTS_H

#include "eval/digest.h"
#include "eval/results.h"

/* "directory/KIND_TIME.ending", with "_NAME" behind KIND if there is a name, whose
 * slashes are replaced; to be freed, NULL when out of memory. */
char *ce_results_path(const struct ce_results_job *job,
                      const char *kind,
                      const char *name,
                      const char *ending);

/* "directory/NAME_output.jsonl"; as above. */
char *ce_results_path_of_batch(const char *directory, const char *name);

/* Writes a value as Python prints it with indent 2, and takes it over; NULL is out of
 * memory. */
CE_MUST_CHECK enum ce_status ce_results_put_json(const struct ce_results_job *job,
                                                 const char *kind,
                                                 json_t *value,
                                                 struct ce_error *err);
/* The same with text. */
CE_MUST_CHECK enum ce_status ce_results_put_text(const struct ce_results_job *job,
                                                 const char *kind,
                                                 char *text,
                                                 struct ce_error *err);

/* samples_TASK_TIME.jsonl; `hash` is lm-eval's task hash: of the document, prompt and
 * target hashes of all lines. */
CE_MUST_CHECK enum ce_status
ce_results_write_samples(const struct ce_results_job *job,
                         const struct ce_results_task *task,
                         char hash[CE_DIGEST_BYTES],
                         struct ce_error *err);

/* The content of results_TIME.json; hash [tasks]. NULL when out of memory. */
json_t *ce_results_summary(const struct ce_results_job *job,
                           const struct ce_results_task *task,
                           size_t tasks,
                           const char (*hash)[CE_DIGEST_BYTES]);

/* lm-eval's generation settings of a query, as it logs them. NULL: out of memory. */
json_t *ce_results_generation(const struct ce_generate_settings *settings);

#endif
