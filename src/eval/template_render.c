/* template_render.c - a template and a document to text */

#include "base/json_text.h"
#include "base/options_table.h"
#include "eval/cleanup.h"
#include "eval/template_parts.h"

#include <stdio.h>
#include <string.h>

/* "choices.text[2]", cut to fit; returns `out`. */
static const char *
spell_path(const struct ce_template_part *part, size_t steps, char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < steps && used < size - 1; i++) {
        const struct ce_template_step *step = &part->step[i];
        int added =
            step->name == NULL
                ? snprintf(out + used, size - used, "[%d]", step->index)
                : snprintf(
                      out + used, size - used, "%s%s", i == 0 ? "" : ".", step->name);

        used += added > 0 ? (size_t)added : 0;
    }
    return out;
}

/* A name the document lacks: perhaps one of those that it has was meant. */
static enum ce_status fail_missing(const struct ce_template_part *part,
                                   size_t steps,
                                   const json_t *object,
                                   struct ce_error *err)
{
    struct ce_suggestion near = {.name = NULL};
    char path[120];
    void *at = json_object_iter((json_t *)(uintptr_t)object);

    for (; at != NULL; at = json_object_iter_next((json_t *)(uintptr_t)object, at)) {
        ce_suggestion_offer(
            &near, part->step[steps - 1].name, json_object_iter_key(at));
    }
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: the document has no such field%s%s%s",
                   spell_path(part, steps, path, sizeof(path)),
                   near.name == NULL ? "" : "; there is \"",
                   near.name == NULL ? "" : near.name,
                   near.name == NULL ? "" : "\"");
}

static enum ce_status fail_type(const struct ce_template_part *part,
                                size_t steps,
                                const char *what,
                                struct ce_error *err)
{
    char path[120];

    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: is not %s",
                   spell_path(part, steps, path, sizeof(path)),
                   what);
}

static enum ce_status follow_index(const struct ce_template_part *part,
                                   size_t i,
                                   const json_t **value,
                                   struct ce_error *err)
{
    size_t size = json_array_size(*value);
    int index = part->step[i].index;
    size_t place = index >= 0 ? (size_t)index : size - (size_t)(-(long)index);
    char path[120];

    if (!json_is_array(*value)) {
        return fail_type(part, i, "a list", err);
    }
    *value = json_array_get(*value, place);
    if (*value == NULL) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: the list has %zu elements",
                       spell_path(part, i + 1, path, sizeof(path)),
                       size);
    }
    return CE_OK;
}

static enum ce_status follow_path(const struct ce_template_part *part,
                                  const json_t *document,
                                  const json_t **value,
                                  struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *value = document;
    for (size_t i = 0; status == CE_OK && i < part->steps; i++) {
        const json_t *object = *value;

        if (part->step[i].name == NULL) {
            status = follow_index(part, i, value, err);
            continue;
        }
        if (!json_is_object(object)) {
            return fail_type(part, i, "an object", err);
        }
        *value = json_object_get(object, part->step[i].name);
        if (*value == NULL) {
            status = fail_missing(part, i + 1, object, err);
        }
    }
    return status;
}

static enum ce_status add_value(const struct ce_template_part *part,
                                const json_t *value,
                                struct ce_string *text,
                                struct ce_error *err)
{
    const char *big = ce_json_big_integer(value);
    char digits[32];
    char what[160];

    if (json_is_string(value)) {
        ce_string_append_bytes(
            text, json_string_value(value), json_string_length(value));
        return CE_OK;
    }
    if (json_is_integer(value)) {
        (void)snprintf(
            digits, sizeof(digits), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        ce_string_append(text, digits);
        return CE_OK;
    }
    if (big != NULL) {
        ce_string_append(text, big);
        return CE_OK;
    }
    if (ce_json_odd(value) != NULL) {
        (void)snprintf(what,
                       sizeof(what),
                       "text or an integer but %.100s, which no prompt can have",
                       ce_json_odd(value));
        return fail_type(part, part->steps, what, err);
    }
    return fail_type(part, part->steps, "a string or an integer", err);
}

/* What a template may make of a value: operations that each make a thousand characters
 * of one are a few bytes long. */
#define MOST_AT_LEAST ((size_t)64 * 1024)
#define MOST_TIMES    ((size_t)16)

static size_t most_of(size_t bytes)
{
    return MOST_AT_LEAST + MOST_TIMES * bytes;
}

static enum ce_status
fail_growth(const char *operation, size_t most, struct ce_error *err)
{
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s makes more than %zu bytes of the value, which is too much",
                   operation,
                   most);
}

static enum ce_status add_joined(const struct ce_template_part *part,
                                 const json_t *list,
                                 struct ce_string *text,
                                 struct ce_error *err)
{
    size_t index = 0;
    size_t values = 0;
    const json_t *value = NULL;
    enum ce_status status = CE_OK;

    if (!json_is_array(list)) {
        return fail_type(part, part->steps, "a list, which join needs", err);
    }
    json_array_foreach(list, index, value)
    {
        if (index > 0) {
            ce_string_append(text, part->operation[0].argument[0]);
        }
        if (status == CE_OK) {
            status = add_value(part, value, text, err);
        }
        values += json_string_length(value);
        if (status == CE_OK && text->length > most_of(values)) {
            status = fail_growth("join", most_of(values), err);
        }
    }
    return status;
}

/* Keeps a piece of the text itself. */
static void keep(struct ce_string *text, const char *start, const char *end)
{
    size_t length = (size_t)(end - start);

    memmove(text->data, start, length);
    text->data[length] = '\0';
    text->length = length;
}

/* before, after and the same of the last one. */
static enum ce_status cut(const struct ce_template_operation *operation,
                          struct ce_string *text,
                          struct ce_error *err)
{
    bool last = operation->kind == CE_TEMPLATE_BEFORE_LAST ||
                operation->kind == CE_TEMPLATE_AFTER_LAST;
    bool before = operation->kind == CE_TEMPLATE_BEFORE ||
                  operation->kind == CE_TEMPLATE_BEFORE_LAST;
    const char *mark = operation->argument[0];
    struct ce_span span = {.data = text->data, .length = text->length};
    const char *found = last ? ce_span_find_last(span, mark) : ce_span_find(span, mark);
    const char *end = text->data + text->length;

    if (found == NULL && !last) {
        return ce_fail(err, CE_ERR_FORMAT, "there is no \"%.40s\" in the text", mark);
    }
    if (before) {
        keep(text, text->data, found == NULL ? text->data : found);
    } else {
        keep(text, found == NULL ? text->data : found + strlen(mark), end);
    }
    return CE_OK;
}

static enum ce_status replace(const struct ce_template_operation *operation,
                              struct ce_string *text,
                              size_t most,
                              struct ce_error *err)
{
    const char *from = operation->argument[0];
    const char *to = operation->argument[1];
    size_t count = ce_span_count((struct ce_span){text->data, text->length}, from);
    size_t kept = text->length - count * strlen(from);

    if (strlen(to) > 0 && count > (most - (kept < most ? kept : most)) / strlen(to)) {
        return fail_growth("replace", most, err);
    }
    ce_string_replace(text, from, to);
    return CE_OK;
}

/* `most` bytes may come of it. */
static enum ce_status operate(const struct ce_template_operation *operation,
                              struct ce_string *text,
                              size_t most,
                              struct ce_error *err)
{
    struct ce_span span = {.data = text->data, .length = text->length};

    switch (operation->kind) {
    case CE_TEMPLATE_TRIM:
        span = ce_span_trim(span);
        keep(text, span.data, span.data + span.length);
        return CE_OK;
    case CE_TEMPLATE_LOWER:
        ce_string_lower(text);
        return CE_OK;
    case CE_TEMPLATE_CAPITALIZE:
        ce_string_capitalize(text);
        return CE_OK;
    case CE_TEMPLATE_REPLACE:
        return replace(operation, text, most, err);
    case CE_TEMPLATE_WIKITEXT:
        ce_cleanup_wikitext(text);
        return CE_OK;
    case CE_TEMPLATE_JOIN: /* done where the list is */
        return CE_OK;
    case CE_TEMPLATE_BEFORE:
    case CE_TEMPLATE_AFTER:
    case CE_TEMPLATE_BEFORE_LAST:
    case CE_TEMPLATE_AFTER_LAST:
        return cut(operation, text, err);
    }
    return CE_OK;
}

static enum ce_status render_value(const struct ce_template_part *part,
                                   const json_t *document,
                                   struct ce_string *text,
                                   struct ce_error *err)
{
    const json_t *value = NULL;
    enum ce_status status = CE_OK;

    if (part->text != NULL) {
        ce_string_append(text, part->text);
        return CE_OK;
    }
    status = follow_path(part, document, &value, err);
    if (status == CE_OK && part->operations > 0 &&
        part->operation[0].kind == CE_TEMPLATE_JOIN) {
        return add_joined(part, value, text, err);
    }
    return status == CE_OK ? add_value(part, value, text, err) : status;
}

static enum ce_status render_part(const struct ce_template_part *part,
                                  const json_t *document,
                                  struct ce_string *text,
                                  struct ce_error *err)
{
    struct ce_string piece = {.data = NULL};
    char path[120];
    enum ce_status status = render_value(part, document, &piece, err);
    const size_t most = most_of(piece.length);

    for (size_t i = 0; status == CE_OK && i < part->operations; i++) {
        ce_string_append_bytes(
            &piece, "", 0); /* so that there is a string, be it empty */
        if (!piece.failed) {
            status = operate(&part->operation[i], &piece, most, err);
            if (status != CE_OK) {
                ce_error_prefix(
                    err, "%s", spell_path(part, part->steps, path, sizeof(path)));
            }
        }
    }
    text->failed |= piece.failed;
    ce_string_append_bytes(text, piece.length > 0 ? piece.data : "", piece.length);
    ce_string_free(&piece);
    return status;
}

enum ce_status ce_template_render(const struct ce_template *compiled,
                                  const json_t *document,
                                  struct ce_string *text,
                                  struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < compiled->parts; i++) {
        status = render_part(&compiled->part[i], document, text, err);
    }
    if (status == CE_OK && text->failed) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory for the text of a document");
    }
    return status;
}

enum ce_status ce_template_find(const struct ce_template *path,
                                const json_t *document,
                                const json_t **value,
                                struct ce_error *err)
{
    const struct ce_template_part *part = path->part;

    if (path->parts != 1 || part->text != NULL || part->operations > 0) {
        return ce_fail(err, CE_ERR_FORMAT, "is not one {{field}} alone");
    }
    return follow_path(part, document, value, err);
}
