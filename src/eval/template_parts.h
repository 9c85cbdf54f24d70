/* template_parts.h - what a compiled template consists of, for its parser and renderer
 */

#ifndef CE_EVAL_TEMPLATE_PARTS_H
#define CE_EVAL_TEMPLATE_PARTS_H

#include "eval/template.h"

#include <stdint.h>

/* One step from a value to one inside it. */
struct ce_template_step {
    char *name; /* of a field; NULL: an index */
    int index;  /* below 0: from the end */
};

enum ce_template_operation_kind {
    CE_TEMPLATE_TRIM = 0,
    CE_TEMPLATE_LOWER,
    CE_TEMPLATE_CAPITALIZE,
    CE_TEMPLATE_REPLACE,
    CE_TEMPLATE_JOIN,
    CE_TEMPLATE_BEFORE,
    CE_TEMPLATE_AFTER,
    CE_TEMPLATE_BEFORE_LAST,
    CE_TEMPLATE_AFTER_LAST,
    CE_TEMPLATE_WIKITEXT,
};

struct ce_template_operation {
    enum ce_template_operation_kind kind;
    char *argument[2]; /* NULL where the operation has fewer */
};

/* Text, or a value with what is done to it. */
struct ce_template_part {
    char *text; /* NULL: the value at `step` */
    struct ce_template_step *step;
    size_t steps;
    struct ce_template_operation *operation;
    size_t operations;
};

struct ce_template {
    struct ce_template_part *part;
    size_t parts;
};

#endif
