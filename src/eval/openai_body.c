/* openai_body.c - the body of one request for completions
 *
 * Source: the reference of OpenAI's API, "Create completion"; what it leaves to the
 * server (an absent seed) is made from the custom_id, so that a line has one answer.
 */

#include "base/hash.h"
#include "eval/openai_parts.h"
#include "eval/request_task.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct body {
    struct ce_task *task;
    struct ce_openai_line *line;
    const json_t *json;
    size_t vocab;
    struct ce_generate_settings settings; /* each query gets a copy */
    const json_t *stop;
    enum ce_status status; /* CE_ERR_NOMEM once memory ran out */
    struct ce_error *err;
};

bool ce_openai_refuse(struct ce_openai_line *line,
                      const char *param,
                      const char *code,
                      const char *format,
                      ...)
{
    va_list values;
    int length = 0;

    if (line->message != NULL) {
        return true;
    }
    va_start(values, format);
    length = vasprintf(&line->message, format, values);
    va_end(values);
    if (length < 0) {
        line->message = NULL;
    }
    line->param = param;
    line->code = code;
    return length >= 0;
}

static void fail_memory(struct body *body)
{
    body->status = ce_fail(body->err, CE_ERR_NOMEM, "no memory for a batch");
}

static void refuse(struct body *body, const char *param, const char *what)
{
    if (!ce_openai_refuse(body->line, param, NULL, "%s: %s", param, what)) {
        fail_memory(body);
    }
}

/* NULL for null as well: in this API it stands for the default. */
static const json_t *field(const struct body *body, const char *key)
{
    const json_t *value = json_object_get(body->json, key);

    return json_is_null(value) ? NULL : value;
}

/* ---- fields that may be there as long as they ask for nothing */

static bool is_one(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) == 1;
}

static bool is_zero(const json_t *value)
{
    return json_is_number(value) && fpclassify(json_number_value(value)) == FP_ZERO;
}

static bool is_empty_object(const json_t *value)
{
    return json_is_object(value) && json_object_size(value) == 0;
}

static bool is_empty_string(const json_t *value)
{
    return json_is_string(value) && json_string_length(value) == 0;
}

static bool is_false(const json_t *value)
{
    return json_is_false(value);
}

static bool is_string(const json_t *value)
{
    return json_is_string(value);
}

static bool is_never(const json_t *value)
{
    (void)value;
    return false;
}

struct neutral {
    const char *key;
    bool (*is_neutral)(const json_t *value);
    const char *message;
};

static const struct neutral neutrals[] = {
    {"n", is_one, "only 1 is supported"},
    {"best_of", is_one, "only 1 is supported"},
    {"frequency_penalty", is_zero, "only 0 is supported"},
    {"presence_penalty", is_zero, "only 0 is supported"},
    {"logit_bias", is_empty_object, "is not supported"},
    {"suffix", is_empty_string, "is not supported"},
    {"logprobs", is_never, "is not supported"},
    {"stream", is_false, "is not supported in a batch"},
    {"stream_options", is_never, "is not supported in a batch"},
    {"user", is_string, "is not a string"},
};

static const char *const used[] = {
    "model", "prompt", "max_tokens", "temperature", "top_p", "seed", "stop", "echo"};

static bool is_used(const char *key)
{
    for (size_t i = 0; i < sizeof(used) / sizeof(used[0]); i++) {
        if (strcmp(used[i], key) == 0) {
            return true;
        }
    }
    return false;
}

static const struct neutral *find_neutral(const char *key)
{
    for (size_t i = 0; i < sizeof(neutrals) / sizeof(neutrals[0]); i++) {
        if (strcmp(neutrals[i].key, key) == 0) {
            return &neutrals[i];
        }
    }
    return NULL;
}

static void check_fields(struct body *body)
{
    json_t *json = (json_t *)(uintptr_t)body->json; /* as jansson's iterators take it */

    for (void *at = json_object_iter(json); at != NULL;
         at = json_object_iter_next(json, at)) {
        const char *key = json_object_iter_key(at);
        const json_t *value = json_object_iter_value(at);
        const struct neutral *neutral = find_neutral(key);

        if (neutral != NULL && !json_is_null(value) && !neutral->is_neutral(value)) {
            refuse(body, neutral->key, neutral->message);
        } else if (neutral == NULL && !is_used(key)) {
            refuse(body, key, "is not a known field");
        }
    }
}

/* ---- fields that say how */

static void read_number(struct body *body, const char *key, double most, double *out)
{
    const json_t *value = field(body, key);

    if (value == NULL) {
        return;
    }
    *out = json_number_value(value);
    if (!json_is_number(value) || *out < 0 || *out > most) {
        char text[64];

        (void)snprintf(text, sizeof(text), "is not a number between 0 and %g", most);
        refuse(body, key, text);
    }
}

static void read_max_tokens(struct body *body)
{
    const json_t *value = field(body, "max_tokens");

    if (value == NULL) {
        return;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 1 ||
        json_integer_value(value) > INT32_MAX) {
        refuse(body, "max_tokens", "is not an integer of at least 1");
        return;
    }
    body->settings.max_new_tokens = (size_t)json_integer_value(value);
}

static void read_seed(struct body *body, const char *custom_id)
{
    const json_t *value = field(body, "seed");

    if (value == NULL) {
        body->settings.seed =
            ce_hash_bytes(CE_HASH_START, custom_id, strlen(custom_id));
    } else if (json_is_integer(value)) {
        body->settings.seed = (uint64_t)json_integer_value(value);
    } else {
        refuse(body, "seed", "is not an integer");
    }
}

static void read_echo(struct body *body)
{
    const json_t *value = field(body, "echo");

    if (value != NULL && !json_is_boolean(value)) {
        refuse(body, "echo", "is not true or false");
    }
    body->line->echo = json_is_true(value);
}

/* Its strings are copied with each query; here they are only looked at. */
static void check_stop(struct body *body)
{
    size_t strings = json_array_size(body->stop);
    bool is_fine =
        body->stop == NULL || json_is_string(body->stop) || json_is_array(body->stop);

    for (size_t i = 0; i < strings; i++) {
        is_fine = is_fine && json_is_string(json_array_get(body->stop, i));
    }
    if (!is_fine) {
        refuse(body, "stop", "is not a string or a list of strings");
    }
}

static void read_settings(struct body *body, const char *custom_id)
{
    body->settings = (struct ce_generate_settings){
        .max_new_tokens = 16, .temperature = 1, .top_p = 1, .openai = true};
    read_max_tokens(body);
    read_number(body, "temperature", 2, &body->settings.temperature);
    read_number(body, "top_p", 1, &body->settings.top_p);
    if (body->settings.top_p <= 0) {
        refuse(body, "top_p", "is not above 0");
    }
    read_seed(body, custom_id);
    read_echo(body);
    body->stop = field(body, "stop");
    check_stop(body);
}

/* ---- prompts */

static struct ce_query *add_query(struct body *body)
{
    struct ce_query *query = ce_request_task_add_query(body->task, body->err);

    if (query != NULL) {
        query->generate = calloc(1, sizeof(*query->generate));
    }
    if (query == NULL || query->generate == NULL) {
        fail_memory(body);
        return NULL;
    }
    *query->generate = body->settings;
    (void)ce_request_task_read_until(
        query->generate, body->stop, &body->status, body->err);
    return query;
}

static void add_text(struct body *body, const json_t *text)
{
    struct ce_query *query = add_query(body);

    if (query != NULL) {
        query->context = strdup(json_string_value(text));
        if (query->context == NULL) {
            fail_memory(body);
        }
    }
}

static void add_ids(struct body *body, const json_t *list)
{
    struct ce_query *query = add_query(body);
    size_t count = json_array_size(list);
    int32_t *ids = calloc(count + 1, sizeof(*ids));

    if (query == NULL || ids == NULL) {
        free(ids);
        fail_memory(body);
        return;
    }
    query->ids = ids;
    query->id_count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_array_get(list, i);
        json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;

        if (value < 0 || (uint64_t)value >= body->vocab) {
            refuse(body, "prompt", "has what is not an id of a token");
            return;
        }
        ids[i] = (int32_t)value;
    }
    if (count == 0) {
        refuse(body, "prompt", "is empty");
    }
}

static void add_prompt(struct body *body, const json_t *prompt, bool is_text)
{
    if (is_text && json_is_string(prompt)) {
        add_text(body, prompt);
    } else if (!is_text && json_is_array(prompt)) {
        add_ids(body, prompt);
    } else {
        refuse(body, "prompt", "mixes strings and tokens");
    }
}

static void add_prompts(struct body *body)
{
    const json_t *prompt = field(body, "prompt");
    const json_t *first = json_array_get(prompt, 0);

    if (json_is_string(prompt)) {
        add_text(body, prompt);
    } else if (json_is_integer(first)) {
        add_ids(body, prompt);
    } else if (json_is_string(first) || json_is_array(first)) {
        for (size_t i = 0; body->status == CE_OK && i < json_array_size(prompt); i++) {
            add_prompt(body, json_array_get(prompt, i), json_is_string(first));
        }
    } else {
        refuse(body,
               "prompt",
               prompt == NULL ? "is missing"
                              : "is not a string, a list of strings, or of token ids, "
                                "or of lists of token ids");
    }
}

enum ce_status ce_openai_read_body(struct ce_task *task,
                                   struct ce_openai_line *line,
                                   const json_t *json,
                                   size_t vocab,
                                   struct ce_error *err)
{
    const json_t *source = task->document[task->documents - 1].source;
    struct body body = {
        .task = task, .line = line, .json = json, .vocab = vocab, .err = err};

    check_fields(&body);
    read_settings(&body, json_string_value(json_object_get(source, "custom_id")));
    if (body.status == CE_OK && line->message == NULL) {
        add_prompts(&body);
    }
    return body.status;
}
