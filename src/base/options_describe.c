/* options_describe.c - the values of a command as lines, for who has to have the same
 */

#include "base/hash.h"
#include "base/options.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longer texts, and those that do not fit into a line, are hashed. */
#define SHOWN_CHARS 60

static bool is_path(const struct ce_option *option)
{
    static const char *const names[] = {"FILE", "DIR", "NEWDIR"};

    for (size_t i = 0; option->argument != NULL && i < sizeof(names) / sizeof(names[0]);
         i++) {
        if (strcmp(option->argument, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_listed(const struct ce_option *option, const char *const *names)
{
    for (size_t i = 0; names[i] != NULL; i++) {
        if (strcmp(option->name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void put_text(FILE *to, const char *text)
{
    bool fits = strlen(text) <= SHOWN_CHARS;

    for (const char *c = text; fits && *c != '\0'; c++) {
        fits = !iscntrl((unsigned char)*c);
    }
    if (fits) {
        (void)fputs(text, to);
    } else {
        (void)fprintf(
            to, "%016" PRIx64, ce_hash_bytes(CE_HASH_START, text, strlen(text)));
    }
}

static void put_list(FILE *to, const struct ce_option_list *list)
{
    uint64_t hash = CE_HASH_START;

    if (list->count == 1) {
        put_text(to, list->item[0]);
        return;
    }
    for (size_t i = 0; i < list->count; i++) {
        hash = ce_hash_bytes(hash, list->item[i], strlen(list->item[i]) + 1);
    }
    (void)fprintf(to, "%zu values (%016" PRIx64 ")", list->count, hash);
}

static void put_double(FILE *to, double value)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "%g", value);
    if (strtod(text, NULL) < value || strtod(text, NULL) > value) {
        (void)snprintf(text, sizeof(text), "%.17g", value);
    }
    (void)fputs(text, to);
}

/* The largest is not one that a user would write, but a default: none was given. */
static void put_size(FILE *to, size_t value)
{
    if (value == SIZE_MAX) {
        (void)fputs("not given", to);
    } else {
        (void)fprintf(to, "%zu", value);
    }
}

static void put_value(FILE *to, const struct ce_option *option, const void *field)
{
    const char *text = NULL;

    switch (option->kind) {
    case CE_OPTION_FLAG:
        (void)fputs(*(const bool *)field ? "yes" : "no", to);
        return;
    case CE_OPTION_INT:
        (void)fprintf(to, "%d", *(const int *)field);
        return;
    case CE_OPTION_UINT64:
        (void)fprintf(to, "%" PRIu64, *(const uint64_t *)field);
        return;
    case CE_OPTION_SIZE:
        put_size(to, *(const size_t *)field);
        return;
    case CE_OPTION_DOUBLE:
        put_double(to, *(const double *)field);
        return;
    case CE_OPTION_STRING:
        text = *(const char *const *)field;
        put_text(to, text != NULL ? text : "none");
        return;
    case CE_OPTION_LIST:
        put_list(to, field);
        return;
    }
}

char *ce_options_describe(const struct ce_command *command,
                          const void *values,
                          const char *const *but)
{
    char *lines = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&lines, &bytes);

    if (to == NULL) {
        return NULL;
    }
    for (const struct ce_option_group *group = command->groups;
         group != NULL && group->title != NULL;
         group++) {
        for (const struct ce_option *option = group->options; option->name != NULL;
             option++) {
            if (is_path(option) || is_listed(option, but)) {
                continue;
            }
            (void)fprintf(to, "%s=", option->name);
            put_value(to,
                      option,
                      (const unsigned char *)values + group->offset + option->field);
            (void)fputc('\n', to);
        }
    }
    if (fclose(to) != 0) {
        free(lines);
        return NULL;
    }
    return lines;
}
