/* options_value.c - the text of one option and its value: conversion, ranges
 * and the words that describe them
 */

#include "base/options_table.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct range {
    double low;
    double high;
};

static bool is_number(const struct ce_option *option)
{
    return option->kind == CE_OPTION_INT || option->kind == CE_OPTION_UINT64 ||
           option->kind == CE_OPTION_SIZE || option->kind == CE_OPTION_DOUBLE;
}

/* What the table allows and the type can hold. */
static struct range range_of(const struct ce_option *option)
{
    struct range range = {.low = -HUGE_VAL, .high = HUGE_VAL};

    if (option->min < option->max) {
        range = (struct range){.low = option->min, .high = option->max};
    }
    if (option->kind == CE_OPTION_INT) {
        range.low = fmax(range.low, INT_MIN);
        range.high = fmin(range.high, INT_MAX);
    }
    return range;
}

static bool in_range(const struct ce_option *option, double value)
{
    struct range range = range_of(option);

    return value >= range.low && value <= range.high;
}

static bool read_flag(const char *text, bool *out)
{
    static const char *const words[][2] = {
        {"0", "1"}, {"no", "yes"}, {"false", "true"}, {"off", "on"}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        for (int truth = 0; truth < 2; truth++) {
            if (strcmp(text, words[i][truth]) == 0) {
                *out = truth == 1;
                return true;
            }
        }
    }
    return false;
}

static bool read_int(const struct ce_option *option, const char *text, int *out)
{
    char *end;

    errno = 0;
    long value = strtol(text, &end, 10);

    if (errno != 0 || end == text || *end != '\0' || isspace((unsigned char)*text) ||
        !in_range(option, (double)value)) {
        return false;
    }
    *out = (int)value;
    return true;
}

/* Digits and what follows them; strtoull alone would take "-1" and " 1". */
static bool read_whole(const char *text, uint64_t *out, const char **rest)
{
    int base = strncmp(text, "0x", 2) == 0 ? 16 : 10;
    char *end;

    if (!isdigit((unsigned char)*text)) {
        return false;
    }
    errno = 0;
    *out = strtoull(text, &end, base);
    *rest = end;
    return errno == 0;
}

static bool read_uint64(const struct ce_option *option, const char *text, uint64_t *out)
{
    uint64_t value;
    const char *rest;

    if (!read_whole(text, &value, &rest) || *rest != '\0' ||
        !in_range(option, (double)value)) {
        return false;
    }
    *out = value;
    return true;
}

/* How far a suffix shifts the number before it: 10 for k, 40 for T, else 0. */
static unsigned suffix_shift(char suffix)
{
    static const char suffixes[] = "kmgtKMGT";
    const char *found = suffix != '\0' ? strchr(suffixes, suffix) : NULL;

    return found == NULL ? 0 : 10 * ((unsigned)(found - suffixes) % 4 + 1);
}

static bool read_size(const struct ce_option *option, const char *text, size_t *out)
{
    uint64_t value;
    const char *rest;

    if (!read_whole(text, &value, &rest)) {
        return false;
    }
    unsigned shift = suffix_shift(*rest);

    if (rest[shift > 0] != '\0' || value > (SIZE_MAX >> shift)) {
        return false;
    }
    value <<= shift;
    if (!in_range(option, (double)value)) {
        return false;
    }
    *out = value;
    return true;
}

static bool read_double(const struct ce_option *option, const char *text, double *out)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || isspace((unsigned char)*text) ||
        !isfinite(value) || !in_range(option, value)) {
        return false;
    }
    *out = value;
    return true;
}

static bool
read_string(const struct ce_option *option, const char *text, const char **out)
{
    const char *const *choice = option->choices;

    while (choice != NULL && *choice != NULL && strcmp(*choice, text) != 0) {
        choice++;
    }
    if (choice != NULL && *choice == NULL) {
        return false;
    }
    *out = text;
    return true;
}

bool ce_option_read(const struct ce_option *option, const char *text, void *field)
{
    switch (option->kind) {
    case CE_OPTION_FLAG:
        return read_flag(text, field);
    case CE_OPTION_STRING:
        return read_string(option, text, field);
    case CE_OPTION_INT:
        return read_int(option, text, field);
    case CE_OPTION_UINT64:
        return read_uint64(option, text, field);
    case CE_OPTION_SIZE:
        return read_size(option, text, field);
    case CE_OPTION_DOUBLE:
        return read_double(option, text, field);
    case CE_OPTION_LIST:
        break;
    }
    return false;
}

/* Appends to the text in `out`, cut to fit. */
static void append(char *out, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void append(char *out, size_t size, const char *format, ...)
{
    size_t used = strlen(out);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(out + used, size - used, format, args);
    va_end(args);
}

static void append_choices(const struct ce_option *option, char *out, size_t size)
{
    for (const char *const *choice = option->choices; *choice != NULL; choice++) {
        const char *separator = choice == option->choices ? "" : ", ";

        append(out, size, "%s%s", separator, *choice);
    }
}

/* " from 1 to 8", " of at least 1" or nothing. */
static void append_range(struct range range, char *out, size_t size)
{
    if (isfinite(range.low) && isfinite(range.high)) {
        append(out, size, " from %.15g to %.15g", range.low, range.high);
    } else if (isfinite(range.low)) {
        append(out, size, " of at least %.15g", range.low);
    } else if (isfinite(range.high)) {
        append(out, size, " of at most %.15g", range.high);
    }
}

static const char *noun_of(enum ce_option_kind kind)
{
    switch (kind) {
    case CE_OPTION_FLAG:
        return "yes or no";
    case CE_OPTION_INT:
        return "an integer";
    case CE_OPTION_UINT64:
        return "a whole number";
    case CE_OPTION_SIZE:
        return "a size such as 4096, 64k or 2G,";
    case CE_OPTION_DOUBLE:
        return "a number";
    case CE_OPTION_STRING:
    case CE_OPTION_LIST:
        break;
    }
    return "a text";
}

const char *ce_option_wanted(const struct ce_option *option, char *out, size_t size)
{
    out[0] = '\0';
    if (option->choices != NULL) {
        append(out, size, "one of ");
        append_choices(option, out, size);
        return out;
    }
    append(out, size, "%s", noun_of(option->kind));
    if (is_number(option)) {
        append_range(range_of(option), out, size);
    }
    if (out[strlen(out) - 1] == ',') {
        out[strlen(out) - 1] = '\0';
    }
    return out;
}

/* The range as help shows it: without the limits every int has. */
static void append_help_range(const struct ce_option *option, char *out, size_t size)
{
    bool bounded_above = isfinite(option->max) && !(option->kind == CE_OPTION_INT &&
                                                    option->max >= (double)INT_MAX);

    if (!is_number(option) || option->min >= option->max) {
        return;
    }
    if (bounded_above && isfinite(option->min)) {
        append(out, size, "; %.15g to %.15g", option->min, option->max);
    } else if (bounded_above) {
        append(out, size, "; at most %.15g", option->max);
    } else {
        append(out, size, "; at least %.15g", option->min);
    }
}

const char *ce_option_limits(const struct ce_option *option, char *out, size_t size)
{
    const char *initial =
        option->initial_help != NULL ? option->initial_help : option->initial;

    /* Each part brings "; " before it; the first pair is cut off at the end. */
    out[0] = '\0';
    if (option->choices != NULL) {
        append(out, size, "; ");
        append_choices(option, out, size);
    }
    append_help_range(option, out, size);
    if (option->required) {
        append(out, size, "; required");
    }
    if (initial != NULL) {
        append(out, size, "; default %s", initial);
    }
    if (option->env != NULL) {
        append(out, size, "; environment %s", option->env);
    }
    if (out[0] != '\0') {
        memmove(out, out + 2, strlen(out + 2) + 1);
    }
    return out;
}

const char *ce_option_spelling(const struct ce_option *option, char *out, size_t size)
{
    out[0] = '\0';
    if (option->positional) {
        append(out, size, "%s", option->argument);
    } else {
        append(out, size, "--%s", option->name);
    }
    return out;
}

static bool is_on_by_default(const struct ce_option *option)
{
    bool on = false;

    return option->kind == CE_OPTION_FLAG && option->initial != NULL &&
           read_flag(option->initial, &on) && on;
}

const char *ce_option_label(const struct ce_option *option, char *out, size_t size)
{
    const char *dots = option->kind == CE_OPTION_LIST ? "..." : "";

    out[0] = '\0';
    if (option->positional) {
        append(out, size, "%s%s", option->argument, dots);
        return out;
    }
    if (option->short_name != '\0') {
        append(out, size, "-%c, ", option->short_name);
    }
    append(out, size, "--%s%s", is_on_by_default(option) ? "[no-]" : "", option->name);
    if (option->kind != CE_OPTION_FLAG) {
        append(out, size, " %s%s", option->argument, dots);
    }
    return out;
}
