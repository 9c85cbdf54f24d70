/* markdown.h - tables that can be read as text and as Markdown */

#ifndef CE_EVAL_MARKDOWN_H
#define CE_EVAL_MARKDOWN_H

#include <stdbool.h>
#include <stddef.h>

struct ce_markdown_column {
    const char *heading;
    bool right; /* aligned */
};

/* Rows of cells. Set the columns, zero the rest. */
struct ce_markdown {
    const struct ce_markdown_column *column;
    size_t columns;
    char **cell; /* row after row */
    size_t cells;
    size_t capacity;
    bool failed; /* out of memory */
};

/* The next cell, from left to right; a line break or bar in the text is replaced. */
void ce_markdown_add(struct ce_markdown *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The table, columns padded to their width in characters, to be freed; NULL when out of
 * memory. Frees the cells. */
char *ce_markdown_take(struct ce_markdown *table);

#endif
