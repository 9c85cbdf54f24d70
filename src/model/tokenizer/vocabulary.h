/* vocabulary.h - from the text of a token to its id
 *
 * Of the model's own tokens only; added tokens are found before BPE. In a
 * byte-level vocabulary the text is bytes: what the byte alphabet spells.
 */

#ifndef CE_MODEL_TOKENIZER_VOCABULARY_H
#define CE_MODEL_TOKENIZER_VOCABULARY_H

#include "model/tokenizer/text.h"

#include <jansson.h>

/* Ids fit in 24 bits, so that a pair of them is a key of 48. */
#define CE_TOKEN_ID_LIMIT ((size_t)1 << 24)

struct ce_vocabulary {
    size_t size; /* highest id + 1 */
    struct ce_text text;
    struct ce_vocabulary_slot {
        uint32_t offset; /* in text */
        uint32_t bytes;
        int32_t id; /* -1: empty slot */
    } * slot;
    size_t mask; /* slots - 1, a power of two - 1 */
};

/* `vocab` is model.vocab: string -> id. `vocabulary` is zeroed before; fini also
 * after a failure. */
CE_MUST_CHECK enum ce_status ce_vocabulary_read(struct ce_vocabulary *vocabulary,
                                                json_t *vocab,
                                                bool byte_level,
                                                const char *file,
                                                struct ce_error *err);
void ce_vocabulary_fini(struct ce_vocabulary *vocabulary);

/* -1 when there is no such token. */
int32_t ce_vocabulary_find(const struct ce_vocabulary *vocabulary, struct ce_span text);

#endif
