/* encoder.h - a model's tokenizer as lm-evaluation-harness uses it
 *
 * Source: HFLM.tok_encode and prefix_token_id in lm_eval/models/huggingface.py of
 * lm-evaluation-harness 0.4.13 with add_bos_token left alone.
 */

#ifndef CE_EVAL_ENCODER_H
#define CE_EVAL_ENCODER_H

#include "base/status.h"
#include "model/tokenizer/tokenizer.h"

#include <stddef.h>
#include <stdint.h>

struct ce_encoder {
    const struct ce_tokenizer *tokenizer; /* borrowed */
    size_t max_length;                    /* positions a request may take; at least 2 */
    int32_t prefix;    /* before a text that has nothing else before it */
    char *prefix_text; /* a text that begins with it gets no special tokens */
    char *bos_text;    /* the same for a context to generate from; NULL: no BOS */
    char *eos_text;    /* ends every generation; NULL: no EOS */
};

/* The prefix is bos_token of DIR/tokenizer_config.json, or else its eos_token; where
 * the file or both fields are absent (null is not absent), bos_token_id or eos_token_id
 * of DIR/config.json. CE_ERR_FORMAT when there is neither. ce_encoder_close frees, also
 * after a failure. */
CE_MUST_CHECK enum ce_status ce_encoder_open(struct ce_encoder *encoder,
                                             const struct ce_tokenizer *tokenizer,
                                             const char *dir,
                                             size_t max_length,
                                             struct ce_error *err);
void ce_encoder_close(struct ce_encoder *encoder); /* accepts a zeroed object */

/* What is encoded, which decides when special tokens are added. */
enum ce_encode_use {
    CE_ENCODE_SCORED = 0, /* added, unless the text begins with prefix_text */
    CE_ENCODE_CONTEXT,    /* to generate from: added, unless it begins with bos_text */
    CE_ENCODE_BARE,       /* none */
};

/* Appends the ids. Threads may share an encoder. */
CE_MUST_CHECK enum ce_status ce_encoder_encode(const struct ce_encoder *encoder,
                                               enum ce_encode_use use,
                                               const char *text,
                                               size_t bytes,
                                               struct ce_ids *ids,
                                               struct ce_error *err);

#endif
