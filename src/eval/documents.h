/* documents.h - JSON Lines: one object a line
 *
 * Blank lines are skipped. Every object is checked, also those that a selection leaves
 * out, up to where the selection is complete.
 */

#ifndef CE_EVAL_DOCUMENTS_H
#define CE_EVAL_DOCUMENTS_H

#include "base/status.h"

#include <jansson.h>
#include <stddef.h>

struct ce_documents {
    char *path;
    json_t **object; /* [count] */
    size_t *line;    /* [count] from 1 */
    size_t count;
};

/* Which documents of a file are wanted. */
struct ce_document_selection {
    const char *id_field;   /* its values must differ; NULL: none */
    const char *part_field; /* a string field; NULL: the file has one part */
    const char *part;       /* only where part_field is this; NULL: all parts */
    size_t limit;           /* of each part, from the first; 0: all */
};

/* Errors name file and line; a file without documents is one. ce_documents_free frees
 * them, also after a failure. */
CE_MUST_CHECK enum ce_status
ce_documents_read(struct ce_documents *documents,
                  const char *path,
                  const struct ce_document_selection *selection,
                  struct ce_error *err);
void ce_documents_free(struct ce_documents *documents); /* accepts a zeroed object */

#endif
