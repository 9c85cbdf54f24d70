/* template_parse.c - the text of a template to its parts */

#include "base/options_table.h"
#include "eval/template_parts.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum ce_template_operation_kind kind;
    size_t arguments;
} operations[] = {
    {"trim", CE_TEMPLATE_TRIM, 0},
    {"lower", CE_TEMPLATE_LOWER, 0},
    {"capitalize", CE_TEMPLATE_CAPITALIZE, 0},
    {"replace", CE_TEMPLATE_REPLACE, 2},
    {"join", CE_TEMPLATE_JOIN, 1},
    {"before", CE_TEMPLATE_BEFORE, 1},
    {"after", CE_TEMPLATE_AFTER, 1},
    {"before_last", CE_TEMPLATE_BEFORE_LAST, 1},
    {"after_last", CE_TEMPLATE_AFTER_LAST, 1},
    {"wikitext", CE_TEMPLATE_WIKITEXT, 0},
};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

struct parser {
    const char *source;
    const char *at;
    struct ce_error *err;
};

static enum ce_status fail_at(const struct parser *parser, const char *what)
{
    return ce_fail(parser->err,
                   CE_ERR_FORMAT,
                   "character %zu of the template: %s",
                   (size_t)(parser->at - parser->source) + 1,
                   what);
}

static enum ce_status fail_memory(const struct parser *parser)
{
    return ce_fail(parser->err, CE_ERR_NOMEM, "no memory for a template");
}

/* One more zeroed element at the end of a list; NULL when out of memory. */
static void *extend(void *list, size_t *count, size_t size)
{
    char **items = list;
    char *grown = realloc(*items, (*count + 1) * size);

    if (grown == NULL) {
        return NULL;
    }
    *items = grown;
    memset(grown + *count * size, 0, size);
    *count += 1;
    return grown + (*count - 1) * size;
}

static void skip_spaces(struct parser *parser)
{
    parser->at += strspn(parser->at, " ");
}

static size_t name_length(const char *at)
{
    return strspn(at,
                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
}

/* A character of a string; false at an escape that is not known. */
static bool read_escape(struct parser *parser, char *out)
{
    static const char from[] = "nt\\'\"", to[] = "\n\t\\'\"";
    const char *found = NULL;

    if (*parser->at != '\\') {
        *out = *parser->at++;
        return true;
    }
    found = parser->at[1] == '\0' ? NULL : strchr(from, parser->at[1]);
    if (found != NULL) {
        *out = to[found - from];
        parser->at += 2;
    }
    return found != NULL;
}

static enum ce_status read_string(struct parser *parser, char **string)
{
    struct ce_string text = {.data = NULL};
    char quote = *parser->at;

    if (quote != '\'' && quote != '"') {
        return fail_at(parser, "a string in quotes is expected");
    }
    parser->at++;
    while (*parser->at != quote) {
        char character = '\0';

        if (*parser->at == '\0' || !read_escape(parser, &character)) {
            ce_string_free(&text);
            return fail_at(parser,
                           *parser->at == '\0'
                               ? "a string without its closing quote"
                               : "only \\n, \\t, \\\\, \\' and \\\" are understood");
        }
        ce_string_append_bytes(&text, &character, 1);
    }
    parser->at++;
    *string = ce_string_take(&text);
    ce_string_free(&text);
    return *string == NULL ? fail_memory(parser) : CE_OK;
}

static enum ce_status read_index(struct parser *parser, int *index)
{
    char *end = NULL;
    long value = strtol(parser->at + 1, &end, 10);

    if (end == parser->at + 1 || *end != ']' || value < INT_MIN || value > INT_MAX) {
        return fail_at(parser, "an index is [0], [1], ... or [-1]");
    }
    *index = (int)value;
    parser->at = end + 1;
    return CE_OK;
}

static enum ce_status read_name(struct parser *parser, char **name)
{
    size_t length = name_length(parser->at);

    if (length == 0) {
        return fail_at(parser, "the name of a field is expected");
    }
    *name = strndup(parser->at, length);
    parser->at += length;
    return *name == NULL ? fail_memory(parser) : CE_OK;
}

static enum ce_status read_path(struct parser *parser, struct ce_template_part *part)
{
    enum ce_status status = CE_OK;
    bool more = true;

    while (status == CE_OK && more) {
        struct ce_template_step *step =
            extend(&part->step, &part->steps, sizeof(*part->step));

        if (step == NULL) {
            return fail_memory(parser);
        }
        if (*parser->at == '[' && part->steps > 1) {
            status = read_index(parser, &step->index);
        } else {
            status = read_name(parser, &step->name);
        }
        more = *parser->at == '.' || *parser->at == '[';
        if (status == CE_OK && *parser->at == '.') {
            parser->at++;
        }
    }
    return status;
}

static enum ce_status
read_arguments(struct parser *parser, char **argument, size_t wanted)
{
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < wanted; i++) {
        skip_spaces(parser);
        if (*parser->at != (i == 0 ? '(' : ',')) {
            return fail_at(parser,
                           wanted == 1 ? "the operation takes one argument"
                                       : "the operation takes two arguments");
        }
        parser->at++;
        skip_spaces(parser);
        status = read_string(parser, &argument[i]);
        skip_spaces(parser);
    }
    if (status == CE_OK && wanted > 0) {
        if (*parser->at != ')') {
            return fail_at(parser, "\")\" is expected");
        }
        parser->at++;
    }
    return status;
}

static enum ce_status fail_operation(const struct parser *parser, size_t length)
{
    struct ce_suggestion near = {.name = NULL};
    char *typed = strndup(parser->at, length);

    for (size_t i = 0; typed != NULL && i < OPERATIONS; i++) {
        ce_suggestion_offer(&near, typed, operations[i].name);
    }
    (void)ce_fail(parser->err,
                  CE_ERR_FORMAT,
                  "character %zu of the template: unknown operation \"%.*s\"%s%s%s",
                  (size_t)(parser->at - parser->source) + 1,
                  (int)(length < 40 ? length : 40),
                  parser->at,
                  near.name == NULL ? "" : "; did you mean \"",
                  near.name == NULL ? "" : near.name,
                  near.name == NULL ? "" : "\"?");
    free(typed);
    return CE_ERR_FORMAT;
}

/* replace("", ...) and before("") have no meaning here. */
static bool argument_is_empty(const struct ce_template_operation *operation)
{
    return operation->kind != CE_TEMPLATE_JOIN && operation->argument[0] != NULL &&
           operation->argument[0][0] == '\0';
}

static enum ce_status read_operation(struct parser *parser,
                                     struct ce_template_part *part)
{
    struct ce_template_operation *operation = NULL;
    size_t length = 0;
    size_t which = 0;
    enum ce_status status = CE_OK;

    skip_spaces(parser);
    length = name_length(parser->at);
    while (which < OPERATIONS &&
           (strlen(operations[which].name) != length ||
            strncmp(operations[which].name, parser->at, length) != 0)) {
        which++;
    }
    if (which == OPERATIONS) {
        return fail_operation(parser, length);
    }
    if (operations[which].kind == CE_TEMPLATE_JOIN && part->operations > 0) {
        return fail_at(parser, "join is of a list and comes first");
    }
    operation = extend(&part->operation, &part->operations, sizeof(*part->operation));
    if (operation == NULL) {
        return fail_memory(parser);
    }
    operation->kind = operations[which].kind;
    parser->at += length;
    status = read_arguments(parser, operation->argument, operations[which].arguments);
    if (status == CE_OK && argument_is_empty(operation)) {
        status = fail_at(parser, "the first argument of the operation is empty");
    }
    return status;
}

static struct ce_template_part *add_part(struct ce_template *compiled)
{
    return extend(&compiled->part, &compiled->parts, sizeof(*compiled->part));
}

static enum ce_status read_substitution(struct parser *parser,
                                        struct ce_template *compiled)
{
    struct ce_template_part *part = add_part(compiled);
    enum ce_status status = CE_OK;

    if (part == NULL) {
        return fail_memory(parser);
    }
    parser->at += 2;
    skip_spaces(parser);
    status = *parser->at == '\'' || *parser->at == '"'
                 ? read_string(parser, &part->text)
                 : read_path(parser, part);
    skip_spaces(parser);
    while (status == CE_OK && *parser->at == '|') {
        parser->at++;
        status = read_operation(parser, part);
        skip_spaces(parser);
    }
    if (status != CE_OK) {
        return status;
    }
    if (strncmp(parser->at, "}}", 2) != 0) {
        return fail_at(parser, "\"}}\" or \"|\" is expected");
    }
    parser->at += 2;
    return CE_OK;
}

/* Up to the next substitution. */
static enum ce_status read_text(struct parser *parser, struct ce_template *compiled)
{
    struct ce_template_part *part = add_part(compiled);
    const char *end = parser->at;

    if (part == NULL) {
        return fail_memory(parser);
    }
    while (*end != '\0' && strncmp(end, "{{", 2) != 0) {
        if (strncmp(end, "{%", 2) == 0 || strncmp(end, "{#", 2) == 0) {
            parser->at = end;
            return fail_at(parser,
                           "{%...%} and {#...#} of Jinja are not understood here");
        }
        end++;
    }
    part->text = strndup(parser->at, (size_t)(end - parser->at));
    parser->at = end;
    return part->text == NULL ? fail_memory(parser) : CE_OK;
}

enum ce_status ce_template_create(struct ce_template **compiled,
                                  const char *source,
                                  struct ce_error *err)
{
    struct parser parser = {.source = source, .at = source, .err = err};
    enum ce_status status = CE_OK;

    *compiled = calloc(1, sizeof(**compiled));
    if (*compiled == NULL) {
        return fail_memory(&parser);
    }
    while (status == CE_OK && *parser.at != '\0') {
        status = strncmp(parser.at, "{{", 2) == 0
                     ? read_substitution(&parser, *compiled)
                     : read_text(&parser, *compiled);
    }
    if (status != CE_OK) {
        ce_template_destroy(*compiled);
        *compiled = NULL;
    }
    return status;
}

static void part_destroy(struct ce_template_part *part)
{
    free(part->text);
    for (size_t i = 0; i < part->steps; i++) {
        free(part->step[i].name);
    }
    free(part->step);
    for (size_t i = 0; i < part->operations; i++) {
        free(part->operation[i].argument[0]);
        free(part->operation[i].argument[1]);
    }
    free(part->operation);
}

void ce_template_destroy(struct ce_template *compiled)
{
    if (compiled == NULL) {
        return;
    }
    for (size_t i = 0; i < compiled->parts; i++) {
        part_destroy(&compiled->part[i]);
    }
    free(compiled->part);
    free(compiled);
}
