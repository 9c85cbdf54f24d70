/* inputs.h - everything an evaluation asks, in the order in which the journal counts it
 *
 *   --tasks, then request files, then OpenAI batches: each is a struct ce_task
 *
 * The queries of all of them are numbered through; so are the documents.
 */

#ifndef CE_EVAL_INPUTS_H
#define CE_EVAL_INPUTS_H

#include "base/status.h"
#include "eval/encoder.h"
#include "eval/eval.h"
#include "eval/openai_batch.h"

#include <stddef.h>
#include <stdint.h>

enum ce_input_kind {
    CE_INPUT_TASK = 0,
    CE_INPUT_REQUESTS, /* a request file */
    CE_INPUT_OPENAI,
};

struct ce_input {
    enum ce_input_kind kind;
    struct ce_task task;          /* CE_INPUT_OPENAI: zeroed */
    struct ce_openai_batch batch; /* CE_INPUT_OPENAI */
    size_t first_query;           /* number of its first query in the job */
    size_t first_document;
};

struct ce_inputs {
    struct ce_input *input;
    size_t count;
    size_t queries; /* of all */
    size_t documents;
};

struct ce_names {
    const char *const *name;
    size_t count;
};

struct ce_inputs_options {
    struct ce_names tasks; /* names or paths of descriptions */
    struct ce_names requests;
    struct ce_names batches;
    const char *data_dir; /* NULL: none */
    size_t limit;         /* documents of each of `tasks`; 0: all */
    size_t fewshot;       /* or CE_TASK_FEWSHOT_DEFAULT */
};

/* Opens all; CE_ERR_ARG where two have the same name, since their files would too.
 * ce_inputs_close frees, also after a failure. */
CE_MUST_CHECK enum ce_status ce_inputs_open(struct ce_inputs *inputs,
                                            const struct ce_inputs_options *options,
                                            const struct ce_encoder *encoder,
                                            struct ce_error *err);
void ce_inputs_close(struct ce_inputs *inputs); /* accepts a zeroed object */

/* Whatever its kind. */
const struct ce_task *ce_input_task(const struct ce_input *input);

#endif
