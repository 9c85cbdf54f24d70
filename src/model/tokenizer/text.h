/* text.h - growing ids and text, and a view of text */

#ifndef CE_MODEL_TOKENIZER_TEXT_H
#define CE_MODEL_TOKENIZER_TEXT_H

#include "model/tokenizer/tokenizer.h"

/* Owns nothing; not NUL-terminated. */
struct ce_span {
    const char *data;
    size_t bytes;
};

CE_MUST_CHECK enum ce_status ce_ids_append(struct ce_ids *ids,
                                           const int32_t *id,
                                           size_t count,
                                           struct ce_error *err);

/* Room for `bytes` more, so that the next appends of as much cannot fail. */
CE_MUST_CHECK enum ce_status
ce_text_reserve(struct ce_text *text, size_t bytes, struct ce_error *err);
CE_MUST_CHECK enum ce_status
ce_text_append(struct ce_text *text, struct ce_span more, struct ce_error *err);

/* A short form of text from a file for a message: cut to fit, control characters
 * replaced. Returns `out`. */
const char *ce_text_quote(char *out, size_t size, struct ce_span text);

#endif
