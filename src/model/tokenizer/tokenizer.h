/* tokenizer.h - text to token ids and back, from a Hugging Face tokenizer.json
 *
 * The pipeline and its order are those of the `tokenizers` library:
 *   added tokens (raw) -> normalizer -> added tokens (normalized)
 *   -> pre-tokenizer -> BPE;   ids -> token bytes -> decoder
 * Each stage is a list of components (normalizer.c, pretokenizer.c, bpe.c,
 * decoder.c); what a file asks for that is not there is refused by name.
 * A tokenizer is read-only after opening: threads may share it.
 */

#ifndef CE_MODEL_TOKENIZER_TOKENIZER_H
#define CE_MODEL_TOKENIZER_TOKENIZER_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ce_tokenizer;

/* Grows as needed; zero it before first use, ce_ids_free after last. */
struct ce_ids {
    int32_t *id;
    size_t count;
    size_t capacity;
};
void ce_ids_free(struct ce_ids *ids);

/* Grows as needed; `data` is NUL-terminated once something was appended. */
struct ce_text {
    char *data;
    size_t bytes;
    size_t capacity;
};
void ce_text_free(struct ce_text *text);

/* Reads DIR/tokenizer.json, and what tokenizer_config.json beside it says of tokens,
 * the leading space and the ends of a text (tokenizer_config.h); its add_bos_token and
 * add_eos_token overrule the post_processor. */
CE_MUST_CHECK enum ce_status ce_tokenizer_open(struct ce_tokenizer **tokenizer,
                                               const char *dir,
                                               struct ce_error *err);
/* From memory; `file` is for messages. For tests and fuzzing. */
CE_MUST_CHECK enum ce_status ce_tokenizer_parse(struct ce_tokenizer **tokenizer,
                                                const char *json,
                                                size_t bytes,
                                                const char *file,
                                                struct ce_error *err);
void ce_tokenizer_close(struct ce_tokenizer *tokenizer); /* accepts NULL */

/* Highest id + 1. */
size_t ce_tokenizer_size(const struct ce_tokenizer *tokenizer);

/* The id of an added token by its text; -1 where there is none. */
int32_t ce_tokenizer_find_added(const struct ce_tokenizer *tokenizer,
                                const char *text,
                                size_t bytes);

/* Appends the ids of `text`, which must be valid UTF-8 (else CE_ERR_FORMAT with
 * the byte offset), and around them those of the post_processor (e.g. a BOS). With
 * plain_specials, special tokens in the text are text. On failure `ids` is as it
 * was. */
CE_MUST_CHECK enum ce_status ce_tokenizer_encode(const struct ce_tokenizer *tokenizer,
                                                 const char *text,
                                                 size_t bytes,
                                                 bool plain_specials,
                                                 struct ce_ids *ids,
                                                 struct ce_error *err);
/* The same without the ids of the post_processor. */
CE_MUST_CHECK enum ce_status
ce_tokenizer_encode_bare(const struct ce_tokenizer *tokenizer,
                         const char *text,
                         size_t bytes,
                         bool plain_specials,
                         struct ce_ids *ids,
                         struct ce_error *err);

/* Appends the text of `ids`; bytes that are not UTF-8 become U+FFFD as Hugging
 * Face does. Unknown ids are CE_ERR_ARG. skip_specials drops special tokens. */
CE_MUST_CHECK enum ce_status ce_tokenizer_decode(const struct ce_tokenizer *tokenizer,
                                                 const int32_t *ids,
                                                 size_t count,
                                                 bool skip_specials,
                                                 struct ce_text *text,
                                                 struct ce_error *err);

/* Streaming: the concatenation of all pieces equals one decode of all ids.
 * A piece never ends inside a character; finish flushes what is held back. */
struct ce_decode_stream {
    const struct ce_tokenizer *tokenizer;
    bool skip_specials;
    struct ce_text held; /* bytes whose text later tokens can still change */
    bool begun;          /* nothing is stripped any more */
    size_t stripped;     /* characters dropped at the beginning */
};
void ce_decode_stream_init(struct ce_decode_stream *stream,
                           const struct ce_tokenizer *tokenizer,
                           bool skip_specials);
void ce_decode_stream_fini(struct ce_decode_stream *stream);
CE_MUST_CHECK enum ce_status ce_decode_stream_push(struct ce_decode_stream *stream,
                                                   int32_t id,
                                                   struct ce_text *piece,
                                                   struct ce_error *err);
CE_MUST_CHECK enum ce_status ce_decode_stream_finish(struct ce_decode_stream *stream,
                                                     struct ce_text *piece,
                                                     struct ce_error *err);

#endif
