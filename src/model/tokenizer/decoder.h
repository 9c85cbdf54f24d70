/* decoder.h - how the text of tokens becomes the text of an answer
 *
 * Two forms are known:
 *   ByteLevel                                   bytes, joined, read as UTF-8
 *   Replace*, ByteFallback?, Fuse?, Strip?      in this order
 * What concerns one token alone (the byte alphabet, Replace) is done when the
 * tokenizer is opened; what needs its neighbours is decode_stream.c's.
 */

#ifndef CE_MODEL_TOKENIZER_DECODER_H
#define CE_MODEL_TOKENIZER_DECODER_H

#include "model/tokenizer/regex.h"

struct ce_decoder {
    bool byte_level;
    bool byte_fallback; /* tokens like <0x0A> are bytes */
    bool fuse;
    struct ce_text strip; /* one character, dropped at the beginning */
    size_t strip_most;    /* how often */
    size_t replaces;
    struct ce_decoder_replace {
        struct ce_regex *pattern;
        struct ce_text content;
        char where[192]; /* for messages */
    } replace[CE_COMPONENTS_MAX];
};

/* The field `decoder` of the document `root`. `decoder` is zeroed before; fini
 * also after a failure. */
CE_MUST_CHECK enum ce_status ce_decoder_read(struct ce_decoder *decoder,
                                             const json_t *root,
                                             const char *file,
                                             struct ce_error *err);
void ce_decoder_fini(struct ce_decoder *decoder);

/* What one thread needs; zero it and set `regex` and `budget`, which are borrowed. */
struct ce_decoder_scratch {
    struct ce_budget *budget;
    struct ce_regex_scratch *regex;
    struct ce_text buffer[2];
};
void ce_decoder_scratch_fini(struct ce_decoder_scratch *scratch);

/* Appends what a token, spelled as in the file, contributes. Taken from the budget is
 * what comes of it; more than is left is CE_ERR_UNSUPPORTED and names the decoder. */
CE_MUST_CHECK enum ce_status ce_decoder_append(const struct ce_decoder *decoder,
                                               struct ce_decoder_scratch *scratch,
                                               struct ce_span token,
                                               struct ce_text *out,
                                               struct ce_error *err);

#endif
