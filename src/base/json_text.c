/* json_text.c - JSON text to values, as Python's json.loads reads it */

#include "base/json_text.h"

#include "base/json_string.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Nesting is recursion. */
#define MOST_DEPTH 2048

/* sys.get_int_max_str_digits(): Python refuses longer integers. */
#define MOST_DIGITS 4300

/* No text has this key: it is not UTF-8. */
static const char odd_key[] = "beyond JSON\xff";

struct parser {
    const char *start;
    const char *at;
    const char *end;
    unsigned flags;
    size_t depth;
    struct ce_json_string string; /* the one being read */
    struct ce_json_problem *problem;
};

static json_t *fail(struct parser *parser, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static json_t *fail(struct parser *parser, const char *at, const char *format, ...)
{
    struct ce_json_problem *problem = parser->problem;
    const char *line = parser->start;
    va_list values;

    problem->line = 1;
    for (const char *c = parser->start; c < at; c++) {
        if (*c == '\n') {
            problem->line++;
            line = c + 1;
        }
    }
    problem->column = (size_t)(at - line) + 1;
    va_start(values, format);
    (void)vsnprintf(problem->text, sizeof(problem->text), format, values);
    va_end(values);
    return NULL;
}

static json_t *fail_memory(struct parser *parser)
{
    parser->problem->memory = true;
    return NULL;
}

/* What allocated a value; NULL is no memory. */
static json_t *made(struct parser *parser, json_t *value)
{
    return value != NULL ? value : fail_memory(parser);
}

static json_t *make_odd(struct parser *parser, const char *text)
{
    json_t *odd = json_object();

    if (odd == NULL ||
        json_object_set_new_nocheck(odd, odd_key, json_string_nocheck(text)) != 0) {
        json_decref(odd);
        return fail_memory(parser);
    }
    return odd;
}

const char *ce_json_odd(const json_t *value)
{
    return json_string_value(json_object_get(value, odd_key));
}

const char *ce_json_big_integer(const json_t *value)
{
    const char *text = ce_json_odd(value);
    const bool digits = text != NULL && text[strspn(text, "-0123456789")] == '\0';

    return digits ? text : NULL;
}

static void skip_white(struct parser *parser)
{
    while (parser->at < parser->end && *parser->at != '\0' &&
           strchr(" \t\n\r", *parser->at) != NULL) {
        parser->at++;
    }
}

/* Skips `word` where the text goes on with it. */
static bool take(struct parser *parser, const char *word)
{
    const size_t length = strlen(word);

    if ((size_t)(parser->end - parser->at) < length ||
        memcmp(parser->at, word, length) != 0) {
        return false;
    }
    parser->at += length;
    return true;
}

/* ---- numbers ---- */

static size_t count_digits(const struct parser *parser, const char *from)
{
    size_t count = 0;

    while (from + count < parser->end && from[count] >= '0' && from[count] <= '9') {
        count++;
    }
    return count;
}

/* Bytes of the fraction and the exponent behind an integer; 0: there are none. */
static size_t count_fraction(const struct parser *parser, const char *from)
{
    const char *at = from;

    if (at < parser->end && *at == '.' && count_digits(parser, at + 1) > 0) {
        at += 1 + count_digits(parser, at + 1);
    }
    if (at < parser->end && (*at == 'e' || *at == 'E')) {
        const char *digits = at + 1;

        if (digits < parser->end && (*digits == '+' || *digits == '-')) {
            digits++;
        }
        if (count_digits(parser, digits) > 0) {
            at = digits + count_digits(parser, digits);
        }
    }
    return (size_t)(at - from);
}

static json_t *make_real(struct parser *parser, const char *text)
{
    const double value = strtod(text, NULL);

    if (isinf(value)) {
        return make_odd(parser, value > 0 ? "Infinity" : "-Infinity");
    }
    return made(parser, json_real(value));
}

static json_t *make_integer(struct parser *parser, const char *text)
{
    errno = 0;
    const long long value = strtoll(text, NULL, 10);

    return errno == ERANGE ? make_odd(parser, text) : made(parser, json_integer(value));
}

static json_t *read_number(struct parser *parser)
{
    const char *start = parser->at;
    const char *digits = start + (*start == '-');
    size_t count = count_digits(parser, digits);

    if (count == 0) {
        return fail(parser, start, "a value is expected");
    }
    if (*digits == '0') {
        count = 1; /* what follows is no part of it */
    }
    const size_t fraction = count_fraction(parser, digits + count);

    if (fraction == 0 && count > MOST_DIGITS) {
        return fail(parser, start, "an integer of more than %d digits", MOST_DIGITS);
    }
    parser->at = digits + count + fraction;
    char *text = strndup(start, (size_t)(parser->at - start));

    if (text == NULL) {
        return fail_memory(parser);
    }
    json_t *value = fraction > 0 ? make_real(parser, text) : make_integer(parser, text);

    free(text);
    return value;
}

/* ---- strings ---- */

/* Fills parser->string. */
static bool scan_string(struct parser *parser)
{
    const char *start = parser->at;
    const char *why = ce_json_string_read(&parser->string, &parser->at, parser->end);

    if (why != NULL) {
        (void)fail(parser, parser->at > start ? parser->at : start, "%s", why);
    } else if (parser->string.failed) {
        (void)fail_memory(parser);
        return false;
    }
    return why == NULL;
}

static json_t *read_string(struct parser *parser)
{
    const struct ce_json_string *string = &parser->string;

    if (!scan_string(parser)) {
        return NULL;
    }
    if (string->halves > 0 || (string->nul && (parser->flags & CE_JSON_NUL) == 0)) {
        char *text = ce_json_string_quote(string->data, string->bytes);
        json_t *value = text == NULL ? fail_memory(parser) : make_odd(parser, text);

        free(text);
        return value;
    }
    return made(parser, json_stringn_nocheck(string->data, string->bytes));
}

/* ---- containers ---- */

static json_t *read_value(struct parser *parser);

/* Behind an element: true where another follows. *fine: it is a comma or the end. */
static bool goes_on(struct parser *parser, char end, bool *fine)
{
    skip_white(parser);
    const char *at = parser->at;
    const bool comma = at < parser->end && *at == ',';

    *fine = comma || (at < parser->end && *at == end);
    if (!*fine) {
        (void)fail(parser, at, "',' or '%c' is expected", end);
        return false;
    }
    parser->at++;
    return comma;
}

static json_t *read_array(struct parser *parser)
{
    json_t *array = json_array();
    bool fine = array != NULL;
    bool more = true;

    parser->at++;
    skip_white(parser);
    if (array == NULL) {
        return fail_memory(parser);
    }
    if (take(parser, "]")) {
        return array;
    }
    while (fine && more) {
        json_t *value = read_value(parser);

        fine = value != NULL;
        if (fine && json_array_append_new(array, value) != 0) {
            (void)fail_memory(parser);
            fine = false;
        }
        more = fine && goes_on(parser, ']', &fine);
    }
    if (!fine) {
        json_decref(array);
        return NULL;
    }
    return array;
}

/* "key": value, into the object. */
static bool read_member(struct parser *parser, json_t *object)
{
    skip_white(parser);
    const char *start = parser->at;

    if (parser->at == parser->end || *parser->at != '"') {
        (void)fail(parser, start, "a key in double quotes is expected");
        return false;
    }
    if (!scan_string(parser)) {
        return false;
    }
    if ((parser->flags & CE_JSON_LAST_KEY) == 0 &&
        (parser->string.nul || parser->string.halves > 0)) {
        (void)fail(parser, start, "a key with NUL or half of a surrogate pair");
        return false;
    }
    const size_t bytes = parser->string.bytes;
    char *key = ce_json_string_take(&parser->string);

    skip_white(parser);
    if (key == NULL) {
        (void)fail_memory(parser);
    } else if ((parser->flags & CE_JSON_LAST_KEY) == 0 &&
               json_object_getn(object, key, bytes) != NULL) {
        (void)fail(parser, start, "duplicate key \"%.60s\"", key);
    } else if (!take(parser, ":")) {
        (void)fail(parser, parser->at, "':' is expected");
    } else {
        json_t *value = read_value(parser);

        if (value != NULL &&
            json_object_setn_new_nocheck(object, key, bytes, value) == 0) {
            free(key);
            return true;
        }
        if (value != NULL) {
            (void)fail_memory(parser);
        }
    }
    free(key);
    return false;
}

static json_t *read_object(struct parser *parser)
{
    json_t *object = json_object();
    bool fine = true;
    bool more = true;

    parser->at++;
    skip_white(parser);
    if (object == NULL) {
        return fail_memory(parser);
    }
    if (take(parser, "}")) {
        return object;
    }
    while (fine && more) {
        fine = read_member(parser, object);
        more = fine && goes_on(parser, '}', &fine);
    }
    if (!fine) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static json_t *read_container(struct parser *parser)
{
    json_t *value = NULL;

    if (parser->depth == MOST_DEPTH) {
        return fail(
            parser, parser->at, "nested to a depth of more than %d", MOST_DEPTH);
    }
    parser->depth++;
    value = *parser->at == '{' ? read_object(parser) : read_array(parser);
    parser->depth--;
    return value;
}

static json_t *read_value(struct parser *parser)
{
    skip_white(parser);
    if (parser->at == parser->end) {
        return fail(parser, parser->at, "the text ends where a value is expected");
    }
    switch (*parser->at) {
    case '{':
    case '[':
        return read_container(parser);
    case '"':
        return read_string(parser);
    default:
        break;
    }
    if (take(parser, "true")) {
        return json_true();
    }
    if (take(parser, "false")) {
        return json_false();
    }
    if (take(parser, "null")) {
        return json_null();
    }
    if (take(parser, "NaN")) {
        return make_odd(parser, "NaN");
    }
    if (take(parser, "Infinity")) {
        return make_odd(parser, "Infinity");
    }
    if (take(parser, "-Infinity")) {
        return make_odd(parser, "-Infinity");
    }
    return read_number(parser);
}

json_t *ce_json_text_parse(const char *text,
                           size_t bytes,
                           unsigned flags,
                           struct ce_json_problem *problem)
{
    struct parser parser = {.start = text,
                            .at = text,
                            .end = text + bytes,
                            .flags = flags,
                            .problem = problem};
    json_t *value = NULL;

    *problem = (struct ce_json_problem){.line = 1, .column = 1};
    (void)take(&parser, "\xEF\xBB\xBF");
    value = read_value(&parser);
    if (value != NULL) {
        skip_white(&parser);
        if (parser.at < parser.end) {
            json_decref(value);
            value = fail(&parser, parser.at, "the end of the text is expected");
        }
    }
    ce_json_string_free(&parser.string);
    return value;
}
