/* request_file.c - raw requests */

#include "eval/request_file.h"

#include "base/file.h"
#include "eval/jsonl.h"
#include "eval/request_task.h"

#include <stdlib.h>
#include <string.h>

#define MOST_BYTES ((size_t)4 << 30)

struct reader {
    struct ce_jsonl lines;
    struct ce_task *task;
    const json_t *object; /* of the line */
    struct ce_error *err;
};

/* What a type of request has, besides id and type. */
struct form {
    const char *type;
    enum ce_query_kind kind;
    const char *context;      /* the field; NULL: it has none */
    const char *continuation; /* likewise */
    const char *known[10];
};

static const struct form forms[] = {
    {.type = "loglikelihood",
     .kind = CE_QUERY_LOGLIKELIHOOD,
     .context = "context",
     .continuation = "continuation",
     .known = {"id", "type", "context", "continuation"}},
    {.type = "loglikelihood_rolling",
     .kind = CE_QUERY_ROLLING,
     .continuation = "text",
     .known = {"id", "type", "text"}},
    {.type = "generate_until",
     .kind = CE_QUERY_GENERATE,
     .context = "context",
     .known = {"id",
               "type",
               "context",
               "until",
               "max_gen_toks",
               "temperature",
               "top_p",
               "seed"}},
};

static const struct form *find_form(const char *type)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (strcmp(forms[i].type, type) == 0) {
            return &forms[i];
        }
    }
    return NULL;
}

static enum ce_status copy_string(struct reader *reader, const char *key, char **out)
{
    const char *text = NULL;
    enum ce_status status = CE_OK;

    if (key == NULL) {
        return CE_OK;
    }
    status = ce_jsonl_require_string(
        &reader->lines, reader->object, key, &text, reader->err);
    if (status == CE_OK) {
        *out = strdup(text);
        if (*out == NULL) {
            status = ce_fail(
                reader->err, CE_ERR_NOMEM, "%s: out of memory", reader->lines.where);
        }
    }
    return status;
}

static enum ce_status read_until(struct reader *reader,
                                 struct ce_generate_settings *settings)
{
    const json_t *value = json_object_get(reader->object, "until");
    json_t *usual = json_string("\n\n");
    enum ce_status status = CE_OK;
    bool is_known =
        ce_request_task_read_until(settings,
                                   value == NULL || json_is_null(value) ? usual : value,
                                   &status,
                                   reader->err);

    json_decref(usual);
    return is_known ? status
                    : ce_jsonl_fail(&reader->lines,
                                    reader->err,
                                    "until: is not a string or a list of strings");
}

static enum ce_status read_numbers(struct reader *reader,
                                   struct ce_generate_settings *settings)
{
    struct ce_json_source source = ce_jsonl_source(&reader->lines);
    const json_t *object = reader->object;
    size_t seed = 0;
    enum ce_status status = ce_json_read_size(
        &source, object, "max_gen_toks", &settings->max_new_tokens, reader->err);

    if (status == CE_OK) {
        status = ce_json_read_double(
            &source, object, "temperature", &settings->temperature, reader->err);
    }
    if (status == CE_OK) {
        status = ce_json_read_double(
            &source, object, "top_p", &settings->top_p, reader->err);
    }
    if (status == CE_OK) {
        status = ce_json_read_size(&source, object, "seed", &seed, reader->err);
    }
    settings->seed = seed;
    return status;
}

static enum ce_status check_numbers(struct reader *reader,
                                    const struct ce_generate_settings *settings)
{
    const char *wrong = NULL;

    if (settings->max_new_tokens < 1 || settings->max_new_tokens > INT32_MAX) {
        wrong = "max_gen_toks: is not between 1 and 2^31 - 1";
    } else if (settings->temperature < 0 || settings->temperature > 1000) {
        wrong = "temperature: is not between 0 and 1000";
    } else if (settings->top_p <= 0 || settings->top_p > 1) {
        wrong = "top_p: is not above 0 and at most 1";
    }
    return wrong == NULL ? CE_OK
                         : ce_jsonl_fail(&reader->lines, reader->err, "%s", wrong);
}

static enum ce_status read_settings(struct reader *reader, struct ce_query *query)
{
    struct ce_generate_settings *settings = calloc(1, sizeof(*settings));
    enum ce_status status = CE_OK;

    query->generate = settings;
    if (settings == NULL) {
        return ce_fail(
            reader->err, CE_ERR_NOMEM, "%s: out of memory", reader->lines.where);
    }
    *settings = (struct ce_generate_settings){.max_new_tokens = 256, .top_p = 1};
    status = read_until(reader, settings);
    if (status == CE_OK) {
        status = read_numbers(reader, settings);
    }
    return status == CE_OK ? check_numbers(reader, settings) : status;
}

static enum ce_status read_query(struct reader *reader, const struct form *form)
{
    struct ce_query *query = ce_request_task_add_query(reader->task, reader->err);
    enum ce_status status = CE_OK;

    if (query == NULL) {
        return CE_ERR_NOMEM;
    }
    query->kind = form->kind;
    status = copy_string(reader, form->context, &query->context);
    if (status == CE_OK) {
        status = copy_string(reader, form->continuation, &query->continuation);
    }
    if (status == CE_OK && form->kind == CE_QUERY_GENERATE) {
        status = read_settings(reader, query);
    }
    return status;
}

static enum ce_status read_line(struct reader *reader, json_t *object)
{
    struct ce_jsonl *lines = &reader->lines;
    const struct form *form = NULL;
    const char *id = NULL;
    const char *type = NULL;
    enum ce_status status = ce_jsonl_require_id(lines, object, "id", &id, reader->err);

    reader->object = object;
    if (status == CE_OK) {
        status = ce_jsonl_require_string(lines, object, "type", &type, reader->err);
    }
    if (status != CE_OK) {
        return status;
    }
    form = find_form(type);
    if (form == NULL) {
        return ce_jsonl_fail(lines,
                             reader->err,
                             "type: \"%.40s\" is not loglikelihood, "
                             "loglikelihood_rolling or generate_until",
                             type);
    }
    status = ce_jsonl_check_fields(lines, object, form->known, reader->err);
    if (status == CE_OK) {
        status = ce_request_task_add_document(
            reader->task, object, lines->line, reader->err);
    }
    return status == CE_OK ? read_query(reader, form) : status;
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
    if (status == CE_OK && reader->task->documents == 0) {
        status =
            ce_fail(reader->err, CE_ERR_FORMAT, "%s: no requests", reader->lines.path);
    }
    return status;
}

enum ce_status ce_request_file_parse(struct ce_task *task,
                                     const char *text,
                                     size_t bytes,
                                     const char *path,
                                     struct ce_error *err)
{
    struct reader reader = {.task = task, .err = err};
    enum ce_status status = ce_request_task_init(task, path, text, bytes, err);

    if (status == CE_OK) {
        status = ce_jsonl_init(&reader.lines, path, text, bytes, err);
    }
    if (status == CE_OK) {
        status = read_lines(&reader);
    }
    ce_jsonl_fini(&reader.lines);
    return status;
}

enum ce_status
ce_request_file_open(struct ce_task *task, const char *path, struct ce_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    enum ce_status status = ce_file_read(path, MOST_BYTES, &text, &bytes, err);

    *task = (struct ce_task){.name = NULL};
    if (status == CE_OK) {
        status = ce_request_file_parse(task, text, bytes, path, err);
        free(text);
    }
    return status;
}

void ce_request_file_close(struct ce_task *task)
{
    ce_request_task_free(task);
}
