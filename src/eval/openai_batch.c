/* openai_batch.c - the lines of a batch */

#include "eval/openai_batch.h"

#include "base/file.h"
#include "eval/encode_parts.h"
#include "eval/jsonl.h"
#include "eval/openai_parts.h"
#include "eval/request_task.h"

#include <stdlib.h>
#include <string.h>

#define MOST_BYTES ((size_t)4 << 30)

struct reader {
    struct ce_jsonl lines;
    struct ce_openai_batch *batch;
    const struct ce_encoder *encoder;
    struct ce_error *err;
};

static enum ce_status fail_memory(struct ce_error *err)
{
    return ce_fail(err, CE_ERR_NOMEM, "no memory for a batch");
}

static enum ce_status
add_line(struct reader *reader, json_t *object, struct ce_openai_line **line)
{
    struct ce_openai_batch *batch = reader->batch;
    size_t count = batch->task.documents;

    if ((count & (count - 1)) == 0) { /* full: the capacity is a power of two */
        size_t capacity = count == 0 ? 1 : 2 * count;
        struct ce_openai_line *grown =
            realloc(batch->line, capacity * sizeof(batch->line[0]));

        if (grown == NULL) {
            return fail_memory(reader->err);
        }
        batch->line = grown;
    }
    *line = &batch->line[count];
    **line = (struct ce_openai_line){.message = NULL};
    return ce_request_task_add_document(
        &batch->task, object, reader->lines.line, reader->err);
}

/* One model for all: the job has loaded one. */
static enum ce_status check_model(struct reader *reader, const char *model)
{
    struct ce_openai_batch *batch = reader->batch;

    if (batch->model == NULL) {
        batch->model = strdup(model);
        return batch->model != NULL ? CE_OK : fail_memory(reader->err);
    }
    if (strcmp(batch->model, model) != 0) {
        return ce_jsonl_fail(
            &reader->lines,
            reader->err,
            "model: is \"%.80s\", and that of the lines before \"%.80s\"",
            model,
            batch->model);
    }
    return CE_OK;
}

static bool is_string(const json_t *object, const char *key, const char *wanted)
{
    const char *value = json_string_value(json_object_get(object, key));

    return value != NULL && strcmp(value, wanted) == 0;
}

static const char *unknown_field(json_t *object)
{
    static const char *const known[] = {"custom_id", "method", "url", "body"};
    size_t found = 0;

    for (void *at = json_object_iter(object); at != NULL;
         at = json_object_iter_next(object, at)) {
        const char *key = json_object_iter_key(at);

        for (found = 0; found < 4 && strcmp(known[found], key) != 0;) {
            found++;
        }
        if (found == 4) {
            return key;
        }
    }
    return NULL;
}

/* What is around the body; false when memory runs out. */
static bool check_envelope(json_t *object, struct ce_openai_line *line)
{
    const char *unknown = unknown_field(object);
    const json_t *body = json_object_get(object, "body");

    if (unknown != NULL) {
        return ce_openai_refuse(
            line, unknown, NULL, "%s: is not a known field", unknown);
    }
    if (!is_string(object, "method", "POST")) {
        return ce_openai_refuse(line, "method", NULL, "method: is not POST");
    }
    if (!is_string(object, "url", "/v1/completions")) {
        return ce_openai_refuse(
            line, "url", "invalid_url", "url: only /v1/completions is supported");
    }
    if (!json_is_object(body)) {
        return ce_openai_refuse(line, "body", NULL, "body: is not a JSON object");
    }
    if (!json_is_string(json_object_get(body, "model"))) {
        return ce_openai_refuse(
            line, "model", NULL, "model: is missing or not a string");
    }
    return true;
}

static enum ce_status read_line(struct reader *reader, json_t *object)
{
    struct ce_openai_line *line = NULL;
    const json_t *body = json_object_get(object, "body");
    const char *model = json_string_value(json_object_get(body, "model"));
    const char *id = NULL;
    enum ce_status status =
        ce_jsonl_require_id(&reader->lines, object, "custom_id", &id, reader->err);

    if (status == CE_OK && model != NULL) {
        status = check_model(reader, model);
    }
    if (status == CE_OK) {
        status = add_line(reader, object, &line);
    }
    if (status != CE_OK) {
        return status;
    }
    if (!check_envelope(object, line)) {
        return fail_memory(reader->err);
    }
    return line->message != NULL
               ? CE_OK
               : ce_openai_read_body(&reader->batch->task,
                                     line,
                                     body,
                                     ce_tokenizer_size(reader->encoder->tokenizer),
                                     reader->err);
}

static enum ce_status read_lines(struct reader *reader)
{
    enum ce_status status = CE_OK;
    json_t *object = NULL;

    do {
        status = ce_jsonl_next(&reader->lines, &object, reader->err);
        if (status == CE_OK && object != NULL) {
            status = read_line(reader, object);
            json_decref(object);
        }
    } while (status == CE_OK && object != NULL);
    if (status == CE_OK && reader->batch->task.documents == 0) {
        status =
            ce_fail(reader->err, CE_ERR_FORMAT, "%s: no requests", reader->lines.path);
    }
    return status;
}

/* ---- lengths */

static enum ce_status encode_prompt(const struct ce_encoder *encoder,
                                    struct ce_query *query,
                                    struct ce_error *err)
{
    struct ce_encoded_context before = {.text = NULL};
    struct ce_encoded_query encoded = {.context = 0};
    enum ce_status status = CE_OK;

    if (query->ids != NULL) {
        return CE_OK;
    }
    status = ce_encode_query(encoder, query, &before, &encoded, err);
    query->ids = encoded.ids.id;
    query->id_count = encoded.ids.count;
    ce_ids_free(&before.ids);
    return status;
}

static enum ce_status encode_prompts(struct reader *reader)
{
    struct ce_task *task = &reader->batch->task;
    enum ce_status first = CE_OK;

#pragma omp parallel for schedule(dynamic, 16)
    for (size_t i = 0; i < task->queries; i++) {
        struct ce_error mine = {.text = ""};
        enum ce_status status = encode_prompt(reader->encoder, &task->query[i], &mine);

        if (status != CE_OK) {
#pragma omp critical(ce_openai_failure)
            {
                first = status;
                if (reader->err != NULL) {
                    *reader->err = mine;
                }
            }
        }
    }
    return first;
}

static enum ce_status check_length(struct reader *reader, size_t document)
{
    struct ce_openai_batch *batch = reader->batch;
    const struct ce_document *one = &batch->task.document[document];
    size_t most = reader->encoder->max_length;

    for (size_t i = 0; i < one->queries; i++) {
        const struct ce_query *query = &batch->task.query[one->first + i];
        size_t wanted = query->generate->max_new_tokens;

        if (query->id_count + wanted > most &&
            !ce_openai_refuse(&batch->line[document],
                              "prompt",
                              "context_length_exceeded",
                              "This model's maximum context length is %zu tokens, "
                              "however you requested %zu tokens (%zu in your prompt; "
                              "%zu for the completion).",
                              most,
                              query->id_count + wanted,
                              query->id_count,
                              wanted)) {
            return fail_memory(reader->err);
        }
    }
    return CE_OK;
}

/* A line that is an error asks nothing. */
static void drop_queries(struct ce_openai_batch *batch)
{
    struct ce_task *task = &batch->task;
    size_t kept = 0;

    for (size_t i = 0; i < task->documents; i++) {
        struct ce_document *document = &task->document[i];
        size_t first = document->first;

        document->first = kept;
        for (size_t j = 0; j < document->queries; j++) {
            if (batch->line[i].message != NULL) {
                ce_request_task_free_query(&task->query[first + j]);
            } else {
                task->query[kept++] = task->query[first + j];
            }
        }
        document->queries = kept - document->first;
    }
    task->queries = kept;
}

static enum ce_status check_lengths(struct reader *reader)
{
    enum ce_status status = encode_prompts(reader);

    for (size_t i = 0; status == CE_OK && i < reader->batch->task.documents; i++) {
        status = check_length(reader, i);
    }
    if (status == CE_OK) {
        drop_queries(reader->batch);
    }
    return status;
}

enum ce_status ce_openai_batch_parse(struct ce_openai_batch *batch,
                                     const char *text,
                                     size_t bytes,
                                     const char *path,
                                     const struct ce_encoder *encoder,
                                     struct ce_error *err)
{
    struct reader reader = {.batch = batch, .encoder = encoder, .err = err};
    enum ce_status status;

    *batch = (struct ce_openai_batch){.tokenizer = encoder->tokenizer};
    status = ce_request_task_init(&batch->task, path, text, bytes, err);
    if (status == CE_OK) {
        status = ce_jsonl_init(&reader.lines, path, text, bytes, err);
    }
    if (status == CE_OK) {
        status = read_lines(&reader);
    }
    if (status == CE_OK) {
        status = check_lengths(&reader);
    }
    ce_jsonl_fini(&reader.lines);
    return status;
}

enum ce_status ce_openai_batch_open(struct ce_openai_batch *batch,
                                    const char *path,
                                    const struct ce_encoder *encoder,
                                    struct ce_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    enum ce_status status = ce_file_read(path, MOST_BYTES, &text, &bytes, err);

    *batch = (struct ce_openai_batch){.model = NULL};
    if (status == CE_OK) {
        status = ce_openai_batch_parse(batch, text, bytes, path, encoder, err);
        free(text);
    }
    return status;
}

void ce_openai_batch_close(struct ce_openai_batch *batch)
{
    for (size_t i = 0; batch->line != NULL && i < batch->task.documents; i++) {
        free(batch->line[i].message);
    }
    ce_request_task_free(&batch->task);
    free(batch->line);
    free(batch->model);
    *batch = (struct ce_openai_batch){.model = NULL};
}

bool ce_openai_batch_is_error(const struct ce_openai_batch *batch, size_t document)
{
    return batch->line[document].message != NULL;
}
