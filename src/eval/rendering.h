/* rendering.h - what the templates of a description make of one document */

#ifndef CE_EVAL_RENDERING_H
#define CE_EVAL_RENDERING_H

#include "base/status.h"
#include "eval/description.h"

struct ce_rendering {
    char *header;  /* "" without one */
    char **prompt; /* [prompts]: one, or one a choice */
    size_t prompts;
    char **choice; /* [choices]; the prompts where those differ by choice */
    size_t choices;
    size_t gold;     /* below choices */
    char *target;    /* NULL where the task has none but the gold choice */
    char *gold_text; /* the gold as the data has it, if no number; else NULL */
    char *measured;  /* NULL where the task has none */
};

/* Errors name the field of the description and what is wrong in the document.
 * ce_rendering_free frees it, also after a failure. */
CE_MUST_CHECK enum ce_status ce_rendering_make(struct ce_rendering *rendering,
                                               const struct ce_description *description,
                                               const json_t *document,
                                               struct ce_error *err);
void ce_rendering_free(struct ce_rendering *rendering); /* accepts a zeroed one */

#endif
