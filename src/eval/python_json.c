/* python_json.c - JSON text as Python's json.dumps(ensure_ascii=False) has it */

#include "eval/python_json.h"

#include "base/json_string.h"
#include "base/json_text.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Digits that always suffice for a double. */
#define MOST_DIGITS 17

/* The fewest digits that read back as the value, and the power of ten of the first. */
static int shortest(double value, char digits[MOST_DIGITS + 1])
{
    char text[CE_PYTHON_FLOAT_BYTES];
    size_t count = 0;

    for (int precision = 0; precision < MOST_DIGITS; precision++) {
        (void)snprintf(text, sizeof(text), "%.*e", precision, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    for (const char *c = text; *c != 'e'; c++) {
        if (*c >= '0' && *c <= '9' && count < MOST_DIGITS) {
            digits[count++] = *c;
        }
    }
    digits[count] = '\0';
    return (int)strtol(strchr(text, 'e') + 1, NULL, 10);
}

/* repr(): the point moves within these powers of ten, beyond there is an exponent. */
static void format_finite(double value, char text[CE_PYTHON_FLOAT_BYTES])
{
    char digits[MOST_DIGITS + 1];
    int power = shortest(fabs(value), digits);
    int count = (int)strlen(digits);
    const char *sign = signbit(value) ? "-" : "";
    size_t size = CE_PYTHON_FLOAT_BYTES;

    if (power < -4 || power >= 16) {
        (void)snprintf(text,
                       size,
                       "%s%c%s%se%+03d",
                       sign,
                       digits[0],
                       count > 1 ? "." : "",
                       digits + 1,
                       power);
    } else if (power < 0) {
        (void)snprintf(text, size, "%s0.%.*s%s", sign, -power - 1, "000", digits);
    } else if (count > power + 1) {
        (void)snprintf(
            text, size, "%s%.*s.%s", sign, power + 1, digits, digits + power + 1);
    } else {
        (void)snprintf(text,
                       size,
                       "%s%s%.*s.0",
                       sign,
                       digits,
                       power + 1 - count,
                       "000000000000000");
    }
}

void ce_python_float(double value, char text[CE_PYTHON_FLOAT_BYTES])
{
    if (isfinite(value)) {
        format_finite(value, text);
    } else if (isnan(value)) {
        (void)snprintf(text, CE_PYTHON_FLOAT_BYTES, "NaN");
    } else {
        (void)snprintf(
            text, CE_PYTHON_FLOAT_BYTES, value < 0.0 ? "-Infinity" : "Infinity");
    }
}

static void append_quoted(struct ce_string *text, const char *string, size_t length)
{
    char *quoted = ce_json_string_quote(string, length);

    text->failed |= quoted == NULL;
    ce_string_append(text, quoted != NULL ? quoted : "");
    free(quoted);
}

void ce_python_json_string(struct ce_string *text, const char *string)
{
    append_quoted(text, string, strlen(string));
}

/* Before an entry of a list or an object: comma, and the line it is on. */
static void
append_break(struct ce_string *text, bool comma, size_t indent, size_t depth)
{
    if (comma) {
        ce_string_append(text, indent > 0 ? "," : ", ");
    }
    if (indent > 0) {
        ce_string_append(text, "\n");
        for (size_t i = 0; i < indent * depth; i++) {
            ce_string_append(text, " ");
        }
    }
}

static void
append_value(struct ce_string *text, const json_t *value, size_t indent, size_t depth);

static void
append_array(struct ce_string *text, const json_t *array, size_t indent, size_t depth)
{
    size_t size = json_array_size(array);

    ce_string_append(text, "[");
    for (size_t i = 0; i < size; i++) {
        append_break(text, i > 0, indent, depth + 1);
        append_value(text, json_array_get(array, i), indent, depth + 1);
    }
    if (size > 0) {
        append_break(text, false, indent, depth);
    }
    ce_string_append(text, "]");
}

/* jansson walks only objects that it may change, but does not change them. */
static void
append_object(struct ce_string *text, json_t *object, size_t indent, size_t depth)
{
    const char *key = NULL;
    json_t *value = NULL;
    size_t length = 0;
    bool comma = false;

    if (ce_json_odd(object) != NULL) {
        ce_string_append(text, ce_json_odd(object));
        return;
    }
    ce_string_append(text, "{");
    json_object_keylen_foreach(object, key, length, value)
    {
        append_break(text, comma, indent, depth + 1);
        append_quoted(text, key, length);
        ce_string_append(text, ": ");
        append_value(text, value, indent, depth + 1);
        comma = true;
    }
    if (comma) {
        append_break(text, false, indent, depth);
    }
    ce_string_append(text, "}");
}

static void
append_value(struct ce_string *text, const json_t *value, size_t indent, size_t depth)
{
    char number[CE_PYTHON_FLOAT_BYTES];

    switch (json_typeof(value)) {
    case JSON_OBJECT:
        append_object(text, (json_t *)(uintptr_t)value, indent, depth);
        break;
    case JSON_ARRAY:
        append_array(text, value, indent, depth);
        break;
    case JSON_STRING:
        append_quoted(text, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        (void)snprintf(
            number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        ce_string_append(text, number);
        break;
    case JSON_REAL:
        ce_python_float(json_real_value(value), number);
        ce_string_append(text, number);
        break;
    case JSON_TRUE:
        ce_string_append(text, "true");
        break;
    case JSON_FALSE:
        ce_string_append(text, "false");
        break;
    case JSON_NULL:
        ce_string_append(text, "null");
        break;
    }
}

void ce_python_json(struct ce_string *text, const json_t *value, size_t indent)
{
    append_value(text, value, indent, 0);
}
