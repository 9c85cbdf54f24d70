/* tokenizer_internal.h - what a tokenizer consists of */

#ifndef CE_MODEL_TOKENIZER_TOKENIZER_INTERNAL_H
#define CE_MODEL_TOKENIZER_TOKENIZER_INTERNAL_H

#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/bpe.h"
#include "model/tokenizer/decoder.h"
#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/post_processor.h"
#include "model/tokenizer/pretokenizer.h"
#include "model/tokenizer/token_table.h"

/* In the order text goes through them. */
struct ce_tokenizer {
    struct ce_added_tokens added;
    struct ce_normalizer normalizer;
    struct ce_pretokenizer pretokenizer;
    struct ce_bpe bpe;
    struct ce_post_processor post;
    struct ce_token_table tokens;
    struct ce_decoder decoder;
    bool split_specials; /* special tokens in any text are text */
};

/* The two halves of ce_tokenizer_parse: JSON, which the caller json_decref's, and the
 * stages. */
CE_MUST_CHECK enum ce_status ce_tokenizer_parse_document(json_t **root,
                                                         const char *json,
                                                         size_t bytes,
                                                         const char *file,
                                                         struct ce_error *err);
CE_MUST_CHECK enum ce_status ce_tokenizer_read(struct ce_tokenizer **tokenizer,
                                               const json_t *document,
                                               const char *file,
                                               struct ce_error *err);

#endif
