/* documents.c - lines, objects, ids, parts */

#include "eval/documents.h"

#include "base/file.h"
#include "base/options_table.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES ((size_t)4 << 30)

struct reader {
    struct ce_documents *documents;
    const struct ce_document_selection *selection;
    size_t capacity;
    size_t line;   /* being read */
    json_t *ids;   /* id: line */
    json_t *parts; /* part: documents taken of it */
    struct ce_error *err;
};

static enum ce_status fail_line(const struct reader *reader, const char *what)
{
    return ce_fail(reader->err,
                   CE_ERR_FORMAT,
                   "%s: line %zu: %s",
                   reader->documents->path,
                   reader->line,
                   what);
}

static enum ce_status fail_memory(const struct reader *reader)
{
    return ce_fail(reader->err,
                   CE_ERR_NOMEM,
                   "%s: no memory for the documents",
                   reader->documents->path);
}

static enum ce_status
parse_line(const struct reader *reader, const char *text, size_t bytes, json_t **object)
{
    json_error_t why;

    *object = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &why);
    if (*object == NULL) {
        return ce_fail(reader->err,
                       CE_ERR_FORMAT,
                       "%s: line %zu, column %d: %s",
                       reader->documents->path,
                       reader->line,
                       why.column,
                       why.text);
    }
    if (!json_is_object(*object)) {
        return fail_line(reader, "not a JSON object");
    }
    if (json_object_size(*object) == 0) {
        return fail_line(reader, "an empty document");
    }
    return CE_OK;
}

/* Ids are strings or integers. */
static enum ce_status check_id(struct reader *reader, const json_t *object)
{
    const char *field = reader->selection->id_field;
    const json_t *id = field == NULL ? NULL : json_object_get(object, field);
    const json_t *earlier = NULL;
    char digits[32];
    const char *key = json_string_value(id);

    if (field == NULL) {
        return CE_OK;
    }
    if (json_is_integer(id)) {
        (void)snprintf(
            digits, sizeof(digits), "%" JSON_INTEGER_FORMAT, json_integer_value(id));
        key = digits;
    }
    if (key == NULL) {
        return ce_fail(reader->err,
                       CE_ERR_FORMAT,
                       "%s: line %zu: %s: is missing or not a string or an integer",
                       reader->documents->path,
                       reader->line,
                       field);
    }
    earlier = json_object_get(reader->ids, key);
    if (earlier != NULL) {
        return ce_fail(reader->err,
                       CE_ERR_FORMAT,
                       "%s: line %zu: %s: \"%.80s\" is also that of line %lld",
                       reader->documents->path,
                       reader->line,
                       field,
                       key,
                       (long long)json_integer_value(earlier));
    }
    return json_object_set_new(
               reader->ids, key, json_integer((json_int_t)reader->line)) == 0
               ? CE_OK
               : fail_memory(reader);
}

/* Counts the document in its part. */
static enum ce_status decide(struct reader *reader, const json_t *object, bool *wanted)
{
    const struct ce_document_selection *selection = reader->selection;
    const char *part = "";
    json_int_t taken = 0;

    if (selection->part_field != NULL) {
        part = json_string_value(json_object_get(object, selection->part_field));
    }
    if (part == NULL) {
        return ce_fail(reader->err,
                       CE_ERR_FORMAT,
                       "%s: line %zu: %s: is missing or not a string",
                       reader->documents->path,
                       reader->line,
                       selection->part_field);
    }
    taken = json_integer_value(json_object_get(reader->parts, part));
    *wanted = (selection->part == NULL || strcmp(part, selection->part) == 0) &&
              (selection->limit == 0 || (size_t)taken < selection->limit);
    if (json_object_set_new(reader->parts, part, json_integer(taken + *wanted)) != 0) {
        return fail_memory(reader);
    }
    return CE_OK;
}

/* Keeps a reference of its own. */
static enum ce_status keep(struct reader *reader, json_t *object)
{
    struct ce_documents *documents = reader->documents;

    if (documents->count == reader->capacity) {
        size_t capacity = reader->capacity * 2 + 64;
        json_t **objects =
            realloc(documents->object, capacity * sizeof(documents->object[0]));
        size_t *lines = NULL;

        documents->object = objects != NULL ? objects : documents->object;
        lines = realloc(documents->line, capacity * sizeof(documents->line[0]));
        documents->line = lines != NULL ? lines : documents->line;
        if (objects == NULL || lines == NULL) {
            return fail_memory(reader);
        }
        reader->capacity = capacity;
    }
    documents->object[documents->count] = json_incref(object);
    documents->line[documents->count] = reader->line;
    documents->count++;
    return CE_OK;
}

static enum ce_status read_line(struct reader *reader, const char *text, size_t bytes)
{
    json_t *object = NULL;
    bool wanted = false;
    enum ce_status status = CE_OK;

    if (strspn(text, " \t\r") >= bytes) {
        return CE_OK;
    }
    status = parse_line(reader, text, bytes, &object);
    if (status == CE_OK) {
        status = check_id(reader, object);
    }
    if (status == CE_OK) {
        status = decide(reader, object, &wanted);
    }
    if (status == CE_OK && wanted) {
        status = keep(reader, object);
    }
    json_decref(object);
    return status;
}

static bool is_complete(const struct reader *reader)
{
    const struct ce_document_selection *selection = reader->selection;

    return selection->limit > 0 && reader->documents->count == selection->limit &&
           (selection->part_field == NULL || selection->part != NULL);
}

/* `text` ends in NUL. */
static enum ce_status read_lines(struct reader *reader, const char *text, size_t bytes)
{
    const char *end = text + bytes;
    enum ce_status status = CE_OK;

    while (status == CE_OK && text < end && !is_complete(reader)) {
        const char *line_feed = memchr(text, '\n', (size_t)(end - text));
        const char *stop = line_feed != NULL ? line_feed : end;

        reader->line++;
        status = read_line(reader, text, (size_t)(stop - text));
        text = stop + 1;
    }
    return status;
}

static enum ce_status fail_none(const struct reader *reader)
{
    const struct ce_document_selection *selection = reader->selection;
    struct ce_suggestion near = {.name = NULL};
    const char *part = NULL;
    json_t *taken = NULL;

    if (selection->part == NULL) {
        return ce_fail(
            reader->err, CE_ERR_FORMAT, "%s: no documents", reader->documents->path);
    }
    json_object_foreach(reader->parts, part, taken)
    {
        ce_suggestion_offer(&near, selection->part, part);
    }
    return ce_fail(reader->err,
                   CE_ERR_FORMAT,
                   "%s: no documents whose %s is \"%s\"%s%s%s",
                   reader->documents->path,
                   selection->part_field,
                   selection->part,
                   near.name == NULL ? "" : "; did you mean \"",
                   near.name == NULL ? "" : near.name,
                   near.name == NULL ? "" : "\"?");
}

enum ce_status ce_documents_read(struct ce_documents *documents,
                                 const char *path,
                                 const struct ce_document_selection *selection,
                                 struct ce_error *err)
{
    struct reader reader = {.documents = documents,
                            .selection = selection,
                            .ids = json_object(),
                            .parts = json_object(),
                            .err = err};
    char *text = NULL;
    size_t bytes = 0;
    enum ce_status status = CE_OK;

    *documents = (struct ce_documents){.path = strdup(path)};
    if (documents->path == NULL || reader.ids == NULL || reader.parts == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "%s: no memory for the documents", path);
    }
    if (status == CE_OK) {
        status = ce_file_read(path, MOST_BYTES, &text, &bytes, err);
    }
    if (status == CE_OK) {
        status = read_lines(&reader, text, bytes);
        free(text);
    }
    if (status == CE_OK && documents->count == 0) {
        status = fail_none(&reader);
    }
    json_decref(reader.ids);
    json_decref(reader.parts);
    return status;
}

void ce_documents_free(struct ce_documents *documents)
{
    for (size_t i = 0; i < documents->count; i++) {
        json_decref(documents->object[i]);
    }
    free(documents->object);
    free(documents->line);
    free(documents->path);
    *documents = (struct ce_documents){.path = NULL};
}
