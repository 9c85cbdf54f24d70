/* documents.c - lines, objects, ids, parts */

#include "eval/documents.h"

#include "base/file.h"
#include "base/options_table.h"
#include "eval/jsonl.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES ((size_t)4 << 30)

struct reader {
    struct ce_documents *documents;
    const struct ce_document_selection *selection;
    size_t capacity;
    struct ce_jsonl lines;
    json_t *parts; /* part: documents taken of it */
    uint64_t cost; /* bytes of memory of those that are kept */
    uint64_t most;
    const char *begin; /* of the newest */
    struct ce_error *err;
};

static enum ce_status fail_memory(const struct reader *reader)
{
    return ce_fail(reader->err,
                   CE_ERR_NOMEM,
                   "%s: no memory for the documents",
                   reader->documents->path);
}

/* Ids are strings or integers. */
static enum ce_status check_id(struct reader *reader, const json_t *object)
{
    const char *field = reader->selection->id_field;
    const json_t *id = field == NULL ? NULL : json_object_get(object, field);
    char digits[32];
    const char *key = json_string_value(id);

    if (field == NULL) {
        return CE_OK;
    }
    if (json_is_integer(id)) {
        (void)snprintf(
            digits, sizeof(digits), "%" JSON_INTEGER_FORMAT, json_integer_value(id));
        key = digits;
    } else if (key == NULL) {
        key = ce_json_big_integer(id);
    }
    return key != NULL ? ce_jsonl_claim_id(&reader->lines, field, key, reader->err)
                       : ce_jsonl_fail(&reader->lines,
                                       reader->err,
                                       "%s: is missing or not a string or an integer",
                                       field);
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
        return ce_jsonl_fail(&reader->lines,
                             reader->err,
                             "%s: is missing or not a string",
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

static enum ce_status fail_size(const struct reader *reader)
{
    return ce_jsonl_fail(&reader->lines,
                         reader->err,
                         "up to here the documents may take more than %.1f MiB of "
                         "memory, half of what is left: fewer of them (--limit)",
                         (double)reader->most / 0x1p20);
}

/* Keeps a reference of its own. */
static enum ce_status keep(struct reader *reader, json_t *object)
{
    struct ce_documents *documents = reader->documents;

    reader->cost +=
        ce_json_cost(reader->begin, (size_t)(reader->lines.text - reader->begin));
    if (reader->cost > reader->most) {
        return fail_size(reader);
    }
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
    documents->line[documents->count] = reader->lines.line;
    documents->count++;
    return CE_OK;
}

static enum ce_status take(struct reader *reader, json_t *object)
{
    bool wanted = false;
    enum ce_status status = CE_OK;

    if (json_object_size(object) == 0) {
        return ce_jsonl_fail(&reader->lines, reader->err, "an empty document");
    }
    status = check_id(reader, object);
    if (status == CE_OK) {
        status = decide(reader, object, &wanted);
    }
    return status == CE_OK && wanted ? keep(reader, object) : status;
}

static bool is_complete(const struct reader *reader)
{
    const struct ce_document_selection *selection = reader->selection;

    return selection->limit > 0 && reader->documents->count == selection->limit &&
           (selection->part_field == NULL || selection->part != NULL);
}

static enum ce_status read_lines(struct reader *reader)
{
    enum ce_status status = CE_OK;
    json_t *object = NULL;

    while (status == CE_OK && !is_complete(reader)) {
        reader->begin = reader->lines.text;
        status = ce_jsonl_next(&reader->lines, &object, reader->err);
        if (status != CE_OK || object == NULL) {
            return status;
        }
        status = take(reader, object);
        json_decref(object);
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
                            .parts = json_object(),
                            .most = ce_json_most(),
                            .err = err};
    char *text = NULL;
    size_t bytes = 0;
    enum ce_status status = CE_OK;

    *documents = (struct ce_documents){.path = strdup(path)};
    if (documents->path == NULL || reader.parts == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "%s: no memory for the documents", path);
    }
    if (status == CE_OK) {
        status = ce_file_read(path, MOST_BYTES, &text, &bytes, err);
    }
    if (status == CE_OK) {
        status = ce_jsonl_init(&reader.lines, documents->path, text, bytes, err);
    }
    if (status == CE_OK) {
        status = read_lines(&reader);
    }
    if (status == CE_OK && documents->count == 0) {
        status = fail_none(&reader);
    }
    ce_jsonl_fini(&reader.lines);
    free(text);
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
