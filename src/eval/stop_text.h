/* stop_text.h - stop strings: when to end a generation, and the text that is left
 *
 * Stop strings are looked for in the text, not in the tokens: one may begin inside a
 * token and end inside another. While tokens come the special ones are text too, so
 * "</s>" can be a stop string; the final text is without them, as lm-eval has it. Its
 * criterion sees the last few tokens only and may stop later; the text is the same.
 */

#ifndef CE_EVAL_STOP_TEXT_H
#define CE_EVAL_STOP_TEXT_H

#include "base/status.h"
#include "eval/request_table.h"
#include "model/tokenizer/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Follows one generation; costs the same for each id. */
struct ce_stop {
    struct ce_decode_stream stream;
    const struct ce_stop_string *string;
    size_t strings;
    size_t longest;      /* bytes of a stop string */
    struct ce_text tail; /* as much of the text as can begin one */
    bool found;
};

/* The strings outlive it. */
void ce_stop_init(struct ce_stop *stop,
                  const struct ce_tokenizer *tokenizer,
                  const struct ce_stop_string *string,
                  size_t strings);
void ce_stop_fini(struct ce_stop *stop); /* accepts a zeroed object */

/* The next id; stop->found says whether the text so far contains a stop string. */
CE_MUST_CHECK enum ce_status
ce_stop_push(struct ce_stop *stop, int32_t id, struct ce_error *err);

/* Text of the ids without special tokens, cut before each of the stop strings in turn.
 * The ids may end with a stop token. *text is malloc'ed, the caller frees it; a NUL
 * that the model wrote ends it. */
CE_MUST_CHECK enum ce_status ce_stop_final_text(const struct ce_tokenizer *tokenizer,
                                                const int32_t *ids,
                                                size_t count,
                                                const struct ce_stop_string *string,
                                                size_t strings,
                                                char **text,
                                                struct ce_error *err);

#endif
