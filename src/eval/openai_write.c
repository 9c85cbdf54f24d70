/* openai_write.c - the output line of a request */

#include "base/hash.h"
#include "eval/openai_parts.h"
#include "model/tokenizer/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct writing {
    const struct ce_openai_batch *batch;
    const struct ce_document *document;
    const struct ce_openai_line *line;
    const struct ce_outcome *outcome;
    const char *custom_id;
    uint64_t hash; /* of job and custom_id */
};

/* Ids of different kinds differ also in their digits. */
static json_t *make_id(const struct writing *writing, const char *kind)
{
    return json_sprintf(
        "%s%016" PRIx64, kind, ce_hash_bytes(writing->hash, kind, strlen(kind)));
}

static json_t *or_null(const char *text)
{
    return text != NULL ? json_string(text) : json_null();
}

static json_t *describe_error(const struct ce_openai_line *line)
{
    return json_pack("{s:{s:s, s:s, s:o, s:o}}",
                     "error",
                     "message",
                     line->message,
                     "type",
                     "invalid_request_error",
                     "param",
                     or_null(line->param),
                     "code",
                     or_null(line->code));
}

/* The prompt as it was asked, or the text of its tokens. */
static enum ce_status append_prompt(const struct writing *writing,
                                    size_t index,
                                    struct ce_text *text,
                                    struct ce_error *err)
{
    const struct ce_query *query =
        &writing->batch->task.query[writing->document->first + index];

    if (query->context == NULL) {
        return ce_tokenizer_decode(
            writing->batch->tokenizer, query->ids, query->id_count, false, text, err);
    }
    return ce_text_append(
        text,
        (struct ce_span){.data = query->context, .bytes = strlen(query->context)},
        err);
}

static json_t *
describe_choice(const struct writing *writing, size_t index, struct ce_error *err)
{
    const struct ce_outcome *outcome = &writing->outcome[index];
    struct ce_text text = {.data = NULL};
    enum ce_status status =
        writing->line->echo ? append_prompt(writing, index, &text, err) : CE_OK;
    json_t *choice = NULL;

    if (status == CE_OK) {
        status = ce_text_append(
            &text,
            (struct ce_span){.data = outcome->text, .bytes = strlen(outcome->text)},
            err);
    }
    if (status == CE_OK) {
        choice = json_pack("{s:s%, s:i, s:n, s:s}",
                           "text",
                           text.data != NULL ? text.data : "",
                           text.bytes,
                           "index",
                           (int)index,
                           "logprobs",
                           "finish_reason",
                           outcome->by_length ? "length" : "stop");
    }
    ce_text_free(&text);
    return choice;
}

static json_t *describe_usage(const struct writing *writing)
{
    json_int_t prompt = 0;
    json_int_t completion = 0;

    for (size_t i = 0; i < writing->document->queries; i++) {
        const struct ce_query *query =
            &writing->batch->task.query[writing->document->first + i];

        prompt += (json_int_t)query->id_count;
        completion += (json_int_t)writing->outcome[i].tokens;
    }
    return json_pack("{s:I, s:I, s:I}",
                     "prompt_tokens",
                     prompt,
                     "completion_tokens",
                     completion,
                     "total_tokens",
                     prompt + completion);
}

static json_t *describe_completion(const struct writing *writing, struct ce_error *err)
{
    json_t *choices = json_array();

    for (size_t i = 0; i < writing->document->queries; i++) {
        if (json_array_append_new(choices, describe_choice(writing, i, err)) != 0) {
            json_decref(choices);
            return NULL;
        }
    }
    return json_pack("{s:o, s:s, s:i, s:s, s:o, s:o}",
                     "id",
                     make_id(writing, "cmpl-"),
                     "object",
                     "text_completion",
                     "created",
                     0,
                     "model",
                     writing->batch->model,
                     "choices",
                     choices,
                     "usage",
                     describe_usage(writing));
}

static bool is_done(const struct writing *writing)
{
    for (size_t i = 0; i < writing->document->queries; i++) {
        if (!writing->outcome[i].done) {
            return false;
        }
    }
    return true;
}

static json_t *describe_response(const struct writing *writing, struct ce_error *err)
{
    bool is_error = writing->line->message != NULL;

    if (!is_error && !is_done(writing)) {
        return json_null();
    }
    return json_pack("{s:i, s:o, s:o}",
                     "status_code",
                     is_error ? 400 : 200,
                     "request_id",
                     make_id(writing, "req_"),
                     "body",
                     is_error ? describe_error(writing->line)
                              : describe_completion(writing, err));
}

static json_t *describe_failure(const json_t *response)
{
    return json_is_null(response)
               ? json_pack("{s:s, s:s}",
                           "code",
                           "batch_cancelled",
                           "message",
                           "The job ended before this request was run.")
               : json_null();
}

static char *dump_line(const struct writing *writing, struct ce_error *err)
{
    json_t *response = describe_response(writing, err);
    json_t *failure = describe_failure(response);
    json_t *line = json_pack("{s:o, s:s, s:o, s:o}",
                             "id",
                             make_id(writing, "batch_req_"),
                             "custom_id",
                             writing->custom_id,
                             "response",
                             response,
                             "error",
                             failure);
    char *text = line != NULL ? json_dumps(line, JSON_COMPACT) : NULL;

    json_decref(line);
    return text;
}

enum ce_status ce_openai_batch_write(const struct ce_openai_batch *batch,
                                     size_t document,
                                     const struct ce_outcome *outcome,
                                     uint64_t job_hash,
                                     char **text,
                                     struct ce_error *err)
{
    struct writing writing = {.batch = batch,
                              .document = &batch->task.document[document],
                              .line = &batch->line[document],
                              .outcome = outcome};

    writing.custom_id =
        json_string_value(json_object_get(writing.document->source, "custom_id"));
    writing.hash = ce_hash_bytes(ce_hash_u64(CE_HASH_START, job_hash),
                                 writing.custom_id,
                                 strlen(writing.custom_id));
    *text = dump_line(&writing, err);
    return *text != NULL ? CE_OK
                         : ce_fail(err,
                                   CE_ERR_NOMEM,
                                   "the answer to \"%.80s\" cannot be written as JSON",
                                   writing.custom_id);
}
