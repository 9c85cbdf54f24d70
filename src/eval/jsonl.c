/* jsonl.c - lines to objects */

#include "eval/jsonl.h"

#include "base/text_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum ce_status ce_jsonl_init(struct ce_jsonl *lines,
                             const char *path,
                             const char *text,
                             size_t bytes,
                             struct ce_error *err)
{
    const size_t mark = ce_text_mark(text, bytes);

    *lines = (struct ce_jsonl){
        .path = path, .text = text + mark, .bytes = bytes - mark, .ids = json_object()};
    return lines->ids != NULL ? ce_text_check(text, bytes, path, err)
                              : ce_fail(err, CE_ERR_NOMEM, "%s: out of memory", path);
}

void ce_jsonl_fini(struct ce_jsonl *lines)
{
    json_decref(lines->ids);
    lines->ids = NULL;
}

enum ce_status ce_jsonl_fail(const struct ce_jsonl *lines,
                             struct ce_error *err,
                             const char *format,
                             ...)
{
    char what[384];
    va_list values;

    va_start(values, format);
    (void)vsnprintf(what, sizeof(what), format, values);
    va_end(values);
    return ce_fail(err, CE_ERR_FORMAT, "%s: %s", lines->where, what);
}

struct ce_json_source ce_jsonl_source(const struct ce_jsonl *lines)
{
    return (struct ce_json_source){.file = lines->where, .prefix = ""};
}

/* The next line without its end, which is LF, CR LF or CR. */
static const char *take_line(struct ce_jsonl *lines, size_t *bytes)
{
    const char *line = lines->text;
    const char *newline = memchr(line, '\n', lines->bytes);
    const size_t before = newline != NULL ? (size_t)(newline - line) : lines->bytes;
    const char *end = memchr(line, '\r', before);
    size_t used = 0;

    *bytes = end != NULL ? (size_t)(end - line) : before;
    used = *bytes + (*bytes < lines->bytes);
    used += end != NULL && end + 1 == newline; /* CR LF is one end */
    lines->bytes -= used;
    lines->text += used;
    lines->line++;
    (void)snprintf(lines->where,
                   sizeof(lines->where),
                   "%.1000s: line %zu",
                   lines->path,
                   lines->line);
    return line;
}

static bool is_blank(const char *line, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r') {
            return false;
        }
    }
    return true;
}

static enum ce_status parse(const struct ce_jsonl *lines,
                            const char *line,
                            size_t bytes,
                            json_t **object,
                            struct ce_error *err)
{
    struct ce_json_problem why;
    enum ce_status status = ce_json_check_memory(line, bytes, lines->where, err);

    *object = NULL;
    if (status != CE_OK) {
        return status;
    }
    *object = ce_json_text_parse(line, bytes, CE_JSON_LAST_KEY, &why);
    if (*object == NULL) {
        return why.memory
                   ? ce_fail(err, CE_ERR_NOMEM, "%s: out of memory", lines->where)
                   : ce_jsonl_fail(lines, err, "column %zu: %s", why.column, why.text);
    }
    if (!json_is_object(*object) || ce_json_odd(*object) != NULL) {
        json_decref(*object);
        *object = NULL;
        return ce_jsonl_fail(lines, err, "not a JSON object");
    }
    return CE_OK;
}

enum ce_status
ce_jsonl_next(struct ce_jsonl *lines, json_t **object, struct ce_error *err)
{
    *object = NULL;
    while (lines->bytes > 0) {
        size_t bytes = 0;
        const char *line = take_line(lines, &bytes);

        if (!is_blank(line, bytes)) {
            return parse(lines, line, bytes, object, err);
        }
    }
    return CE_OK;
}

bool ce_jsonl_is_lines(const char *text, size_t bytes)
{
    struct ce_jsonl lines = {.path = NULL};
    json_t *object = NULL;
    size_t count = 0;
    enum ce_status status = ce_jsonl_init(&lines, "", text, bytes, NULL);

    do {
        if (status == CE_OK) {
            status = ce_jsonl_next(&lines, &object, NULL);
        }
        count += object != NULL;
        json_decref(object);
    } while (status == CE_OK && object != NULL);
    ce_jsonl_fini(&lines);
    return status == CE_OK && count > 0;
}

enum ce_status ce_jsonl_check_fields(const struct ce_jsonl *lines,
                                     const json_t *object,
                                     const char *const *known,
                                     struct ce_error *err)
{
    /* Jansson's iterators take an object that may change. */
    void *entry = json_object_iter((json_t *)(uintptr_t)object);

    for (; entry != NULL;
         entry = json_object_iter_next((json_t *)(uintptr_t)object, entry)) {
        const char *key = json_object_iter_key(entry);
        size_t i = 0;

        while (known[i] != NULL && strcmp(known[i], key) != 0) {
            i++;
        }
        if (known[i] == NULL) {
            return ce_jsonl_fail(lines, err, "%.80s: is not a known field", key);
        }
    }
    return CE_OK;
}

enum ce_status ce_jsonl_require_string(const struct ce_jsonl *lines,
                                       const json_t *object,
                                       const char *key,
                                       const char **out,
                                       struct ce_error *err)
{
    const json_t *value = json_object_get(object, key);

    *out = json_string_value(value);
    if (ce_json_odd(value) != NULL) {
        return ce_jsonl_fail(
            lines, err, "%s: is %.80s, which is no text", key, ce_json_odd(value));
    }
    if (*out == NULL) {
        return ce_jsonl_fail(
            lines, err, "%s: is %s", key, value == NULL ? "missing" : "not a string");
    }
    return CE_OK;
}

enum ce_status ce_jsonl_claim_id(struct ce_jsonl *lines,
                                 const char *key,
                                 const char *id,
                                 struct ce_error *err)
{
    const json_t *earlier = json_object_get(lines->ids, id);

    if (earlier != NULL) {
        return ce_jsonl_fail(lines,
                             err,
                             "%s: \"%.80s\" is also that of line %lld",
                             key,
                             id,
                             (long long)json_integer_value(earlier));
    }
    if (json_object_set_new(lines->ids, id, json_integer((json_int_t)lines->line)) !=
        0) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: out of memory", lines->where);
    }
    return CE_OK;
}

enum ce_status ce_jsonl_require_id(struct ce_jsonl *lines,
                                   const json_t *object,
                                   const char *key,
                                   const char **out,
                                   struct ce_error *err)
{
    enum ce_status status = ce_jsonl_require_string(lines, object, key, out, err);

    if (status == CE_OK && (*out)[0] == '\0') {
        return ce_jsonl_fail(lines, err, "%s: is empty", key);
    }
    return status == CE_OK ? ce_jsonl_claim_id(lines, key, *out, err) : status;
}
