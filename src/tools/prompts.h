/* prompts.h - where the prompts of a command come from */

#ifndef CE_TOOLS_PROMPTS_H
#define CE_TOOLS_PROMPTS_H

#include "base/options.h"

struct ce_prompt_values {
    struct ce_option_list list; /* arguments */
    const char *file;           /* one prompt, "-" is standard input; or NULL */
    const char *lines;          /* a prompt a line; or NULL */
};

/* All prompts one after the other, each ended by a NUL, in malloc'ed memory that
 * the caller frees also after a failure; *input must be NULL and *bytes 0 before.
 * Without any source standard input is one prompt. At least one prompt. */
CE_MUST_CHECK enum ce_status ce_prompts_read(const struct ce_prompt_values *values,
                                             char **input,
                                             size_t *bytes,
                                             struct ce_error *err);

/* Where prompt `index` came from, for messages. */
const char *ce_prompt_source(const struct ce_prompt_values *values, size_t index);

#endif
