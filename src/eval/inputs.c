/* inputs.c - opens tasks, request files and batches, and numbers their queries */

#include "eval/inputs.h"

#include "eval/metric.h"
#include "eval/request_file.h"
#include "eval/task.h"

#include <stdlib.h>

/* The journal and the table of requests count in 32 bits. */
#define MOST_QUERIES ((size_t)1 << 28)

const struct ce_task *ce_input_task(const struct ce_input *input)
{
    return input->kind == CE_INPUT_OPENAI ? &input->batch.task : &input->task;
}

static enum ce_status open_task(struct ce_input *input,
                                const char *name,
                                const struct ce_inputs_options *options,
                                struct ce_error *err)
{
    struct ce_task_place place = {0};
    enum ce_status status = ce_task_find(&place, name, options->data_dir, err);

    if (status == CE_OK) {
        const struct ce_task_options task = {.description = place.description,
                                             .part = place.part,
                                             .data_dir = options->data_dir,
                                             .limit = options->limit,
                                             .fewshot = options->fewshot};

        status = ce_task_open(&input->task, &task, err);
    }
    if (status == CE_OK) {
        status = ce_scores_check(&input->task, err);
    }
    ce_task_place_free(&place);
    return status;
}

/* Files have _ where a name has a slash. */
static bool name_the_same_file(const char *a, const char *b)
{
    while (*a != '\0' && (*a == '/' ? '_' : *a) == (*b == '/' ? '_' : *b)) {
        a++;
        b++;
    }
    return *a == *b;
}

static enum ce_status check_names(const struct ce_inputs *inputs, struct ce_error *err)
{
    const char *name = ce_input_task(&inputs->input[inputs->count - 1])->name;

    for (size_t i = 0; i + 1 < inputs->count; i++) {
        if (name_the_same_file(ce_input_task(&inputs->input[i])->name, name)) {
            return ce_fail(
                err,
                CE_ERR_ARG,
                "task %s is there twice: each needs a name of its own, since "
                "the files of the results are called after it",
                name);
        }
    }
    return CE_OK;
}

/* The newest input gets its numbers. */
static enum ce_status number(struct ce_inputs *inputs, struct ce_error *err)
{
    struct ce_input *input = &inputs->input[inputs->count - 1];
    const struct ce_task *task = ce_input_task(input);

    input->first_query = inputs->queries;
    input->first_document = inputs->documents;
    inputs->queries += task->queries;
    inputs->documents += task->documents;
    if (inputs->queries > MOST_QUERIES || inputs->documents > MOST_QUERIES) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "with task %s there are %zu queries, of which a job has %zu at "
                       "most: divide it",
                       task->name,
                       inputs->queries,
                       MOST_QUERIES);
    }
    return check_names(inputs, err);
}

static enum ce_status open_all(struct ce_inputs *inputs,
                               enum ce_input_kind kind,
                               const struct ce_names *names,
                               const struct ce_inputs_options *options,
                               const struct ce_encoder *encoder,
                               struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < names->count; i++) {
        struct ce_input *input = &inputs->input[inputs->count++];
        const char *name = names->name[i];

        input->kind = kind;
        if (kind == CE_INPUT_TASK) {
            status = open_task(input, name, options, err);
        } else if (kind == CE_INPUT_REQUESTS) {
            status = ce_request_file_open(&input->task, name, err);
        } else {
            status = ce_openai_batch_open(&input->batch, name, encoder, err);
        }
        if (status == CE_OK) {
            status = number(inputs, err);
        }
    }
    return status;
}

enum ce_status ce_inputs_open(struct ce_inputs *inputs,
                              const struct ce_inputs_options *options,
                              const struct ce_encoder *encoder,
                              struct ce_error *err)
{
    size_t count =
        options->tasks.count + options->requests.count + options->batches.count;
    enum ce_status status = CE_OK;

    *inputs = (struct ce_inputs){.input = calloc(count + 1, sizeof(inputs->input[0]))};
    if (inputs->input == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for %zu tasks", count);
    }
    status = open_all(inputs, CE_INPUT_TASK, &options->tasks, options, encoder, err);
    if (status == CE_OK) {
        status = open_all(
            inputs, CE_INPUT_REQUESTS, &options->requests, options, encoder, err);
    }
    if (status == CE_OK) {
        status =
            open_all(inputs, CE_INPUT_OPENAI, &options->batches, options, encoder, err);
    }
    return status;
}

static void close_input(struct ce_input *input)
{
    switch (input->kind) {
    case CE_INPUT_TASK:
        ce_task_close(&input->task);
        break;
    case CE_INPUT_REQUESTS:
        ce_request_file_close(&input->task);
        break;
    case CE_INPUT_OPENAI:
        ce_openai_batch_close(&input->batch);
        break;
    }
}

void ce_inputs_close(struct ce_inputs *inputs)
{
    for (size_t i = 0; i < inputs->count; i++) {
        close_input(&inputs->input[i]);
    }
    free(inputs->input);
    *inputs = (struct ce_inputs){.input = NULL};
}
