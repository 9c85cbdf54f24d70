/* json.c - parsing and typed fields */

#include "base/json.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/text_file.h"

#include <stdlib.h>

enum ce_status
ce_json_fail(const char *file, const struct ce_json_problem *why, struct ce_error *err)
{
    if (why->memory) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory to read it", file);
    }
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: line %zu, column %zu: %s",
                   file,
                   why->line,
                   why->column,
                   why->text);
}

/* Smaller ones are not looked at. */
#define SMALL_BYTES ((size_t)1 << 20)

/* What Jansson allocates, at most, for what these characters begin or separate. Those
 * within strings are counted, too: in prose they are few. */
static size_t cost_of(char character)
{
    switch (character) {
    case '{':
        return 320;
    case '[':
        return 160;
    case ',':
    case ':':
        return 96;
    default:
        return 2;
    }
}

uint64_t ce_json_cost(const char *text, size_t bytes)
{
    uint64_t cost = 0;

    for (size_t i = 0; i < bytes; i++) {
        cost += cost_of(text[i]);
    }
    return cost;
}

uint64_t ce_json_most(void)
{
    return ce_memory_available() / 2;
}

enum ce_status ce_json_check_memory(const char *text,
                                    size_t bytes,
                                    const char *file,
                                    struct ce_error *err)
{
    if (bytes < SMALL_BYTES) {
        return CE_OK;
    }
    const uint64_t cost = ce_json_cost(text, bytes);
    const uint64_t most = ce_json_most();

    return cost <= most
               ? CE_OK
               : ce_fail(err,
                         CE_ERR_NOMEM,
                         "%s: the values of %.1f MiB of JSON may take %.1f MiB "
                         "of memory, half of what is left is %.1f MiB",
                         file,
                         (double)bytes / 0x1p20,
                         (double)cost / 0x1p20,
                         (double)most / 0x1p20);
}

enum ce_status ce_json_parse_object(const char *text,
                                    size_t bytes,
                                    const char *file,
                                    json_t **object,
                                    struct ce_error *err)
{
    struct ce_json_problem why;
    enum ce_status status = ce_text_check(text, bytes, file, err);

    *object = NULL;
    if (status == CE_OK) {
        status = ce_json_check_memory(text, bytes, file, err);
    }
    if (status != CE_OK) {
        return status;
    }
    json_t *root = ce_json_text_parse(text, bytes, CE_JSON_PLAIN, &why);

    if (root == NULL) {
        return ce_json_fail(file, &why, err);
    }
    if (!json_is_object(root) || ce_json_odd(root) != NULL) {
        json_decref(root);
        return ce_fail(err, CE_ERR_FORMAT, "%s: not a JSON object", file);
    }
    *object = root;
    return CE_OK;
}

enum ce_status ce_json_load_object(const char *path,
                                   size_t limit,
                                   json_t **object,
                                   struct ce_error *err)
{
    char *text;
    size_t bytes;
    enum ce_status status = ce_file_read(path, limit, &text, &bytes, err);

    *object = NULL;
    if (status == CE_OK) {
        status = ce_json_parse_object(text, bytes, path, object, err);
        free(text);
    }
    return status;
}

/* NULL when the field is absent or null. */
static const json_t *field(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_null(value) ? NULL : value;
}

static enum ce_status fail_type(const struct ce_json_source *source,
                                const char *key,
                                const char *wanted,
                                struct ce_error *err)
{
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: %s%s: is not %s",
                   source->file,
                   source->prefix,
                   key,
                   wanted);
}

enum ce_status ce_json_read_size(const struct ce_json_source *source,
                                 const json_t *object,
                                 const char *key,
                                 size_t *out,
                                 struct ce_error *err)
{
    const json_t *value = field(object, key);

    if (value == NULL) {
        return CE_OK;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return fail_type(source, key, "a non-negative integer", err);
    }
    *out = (size_t)json_integer_value(value);
    return CE_OK;
}

enum ce_status ce_json_require_size(const struct ce_json_source *source,
                                    const json_t *object,
                                    const char *key,
                                    size_t *out,
                                    struct ce_error *err)
{
    if (field(object, key) == NULL) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: %s%s: is missing",
                       source->file,
                       source->prefix,
                       key);
    }
    return ce_json_read_size(source, object, key, out, err);
}

enum ce_status ce_json_read_double(const struct ce_json_source *source,
                                   const json_t *object,
                                   const char *key,
                                   double *out,
                                   struct ce_error *err)
{
    const json_t *value = field(object, key);

    if (value == NULL) {
        return CE_OK;
    }
    if (!json_is_number(value)) {
        return fail_type(source, key, "a number", err);
    }
    *out = json_number_value(value);
    return CE_OK;
}

enum ce_status ce_json_read_bool(const struct ce_json_source *source,
                                 const json_t *object,
                                 const char *key,
                                 bool *out,
                                 struct ce_error *err)
{
    const json_t *value = field(object, key);

    if (value == NULL) {
        return CE_OK;
    }
    if (!json_is_boolean(value)) {
        return fail_type(source, key, "true or false", err);
    }
    *out = json_is_true(value);
    return CE_OK;
}

enum ce_status ce_json_read_string(const struct ce_json_source *source,
                                   const json_t *object,
                                   const char *key,
                                   const char **out,
                                   struct ce_error *err)
{
    const json_t *value = field(object, key);

    if (value == NULL) {
        return CE_OK;
    }
    if (!json_is_string(value)) {
        return fail_type(source, key, "a string", err);
    }
    *out = json_string_value(value);
    return CE_OK;
}
