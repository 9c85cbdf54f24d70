/* markdown.c - tables that can be read as text and as Markdown */

#include "eval/markdown.h"

#include "eval/strings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static bool reserve(struct ce_markdown *table)
{
    if (table->cells < table->capacity) {
        return true;
    }
    size_t capacity = table->capacity == 0 ? 64 : table->capacity * 2;
    char **cell = realloc(table->cell, capacity * sizeof(*cell));

    if (cell != NULL) {
        table->cell = cell;
        table->capacity = capacity;
    }
    return cell != NULL;
}

/* What would end the cell or the row. */
static void make_harmless(char *text)
{
    for (char *c = text; *c != '\0'; c++) {
        if (*c == '|' || *c == '\n' || *c == '\r') {
            *c = ' ';
        }
    }
}

void ce_markdown_add(struct ce_markdown *table, const char *format, ...)
{
    va_list arguments;
    char *text = NULL;

    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0) {
        text = NULL;
    }
    va_end(arguments);
    if (text == NULL || !reserve(table)) {
        free(text);
        table->failed = true;
        return;
    }
    make_harmless(text);
    table->cell[table->cells++] = text;
}

/* Columns of a terminal that the text takes. */
static size_t width(const char *text)
{
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
    size_t total = 0;

    while (*at != '\0') {
        utf8proc_int32_t point = 0;
        utf8proc_ssize_t bytes = utf8proc_iterate(at, -1, &point);

        total += bytes > 0 ? (size_t)utf8proc_charwidth(point) : 1;
        at += bytes > 0 ? bytes : 1;
    }
    return total;
}

static size_t column_width(const struct ce_markdown *table, size_t column)
{
    size_t widest = width(table->column[column].heading);

    widest = widest < 3 ? 3 : widest;
    for (size_t i = column; i < table->cells; i += table->columns) {
        size_t wide = width(table->cell[i]);

        widest = wide > widest ? wide : widest;
    }
    return widest;
}

static void append_many(struct ce_string *text, const char *piece, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ce_string_append(text, piece);
    }
}

static void
append_cell(struct ce_string *text, const char *cell, size_t wide, bool right)
{
    size_t pad = wide - width(cell);

    ce_string_append(text, " ");
    append_many(text, " ", right ? pad : 0);
    ce_string_append(text, cell);
    append_many(text, " ", right ? 0 : pad);
    ce_string_append(text, " |");
}

static void append_row(struct ce_string *text,
                       const struct ce_markdown *table,
                       const size_t *wide,
                       char *const *cell)
{
    ce_string_append(text, "|");
    for (size_t i = 0; i < table->columns; i++) {
        append_cell(text,
                    cell != NULL ? cell[i] : table->column[i].heading,
                    wide[i],
                    table->column[i].right);
    }
    ce_string_append(text, "\n");
}

static void
append_rule(struct ce_string *text, const struct ce_markdown *table, const size_t *wide)
{
    ce_string_append(text, "|");
    for (size_t i = 0; i < table->columns; i++) {
        bool right = table->column[i].right;

        ce_string_append(text, " ");
        append_many(text, "-", right ? wide[i] - 1 : wide[i]);
        ce_string_append(text, right ? ": |" : " |");
    }
    ce_string_append(text, "\n");
}

char *ce_markdown_take(struct ce_markdown *table)
{
    struct ce_string text = {.failed = table->failed};
    size_t *wide = calloc(table->columns + 1, sizeof(*wide));

    text.failed = text.failed || wide == NULL;
    for (size_t i = 0; !text.failed && i < table->columns; i++) {
        wide[i] = column_width(table, i);
    }
    if (!text.failed) {
        append_row(&text, table, wide, NULL);
        append_rule(&text, table, wide);
    }
    for (size_t i = 0; !text.failed && i + table->columns <= table->cells;
         i += table->columns) {
        append_row(&text, table, wide, &table->cell[i]);
    }
    for (size_t i = 0; i < table->cells; i++) {
        free(table->cell[i]);
    }
    free(table->cell);
    free(wide);
    *table = (struct ce_markdown){.column = table->column, .columns = table->columns};
    return ce_string_take(&text);
}
