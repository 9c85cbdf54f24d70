/* bpe.h - byte pair encoding of one piece of text
 *
 * A piece begins as one symbol a character (a byte, when byte-level); then the
 * adjacent pair with the lowest rank merges, the leftmost among equals, until
 * none is left to merge.
 */

#ifndef CE_MODEL_TOKENIZER_BPE_H
#define CE_MODEL_TOKENIZER_BPE_H

#include "model/tokenizer/merges.h"
#include "model/tokenizer/vocabulary.h"

struct ce_bpe {
    struct ce_vocabulary vocabulary;
    struct ce_merges merges;
    bool byte_level;
    bool ignore_merges;       /* a piece that is a token is that token */
    bool byte_fallback;       /* characters unknown to the vocabulary become bytes */
    bool fuse_unknown;        /* neighbours become one `unknown` */
    int32_t unknown;          /* -1: unknown characters are dropped */
    int32_t byte_id[256];     /* byte-level: the token of a byte or -1 */
    int32_t fallback_id[256]; /* the token <0xXX> or -1 */
};

/* `model` is the object of that name in the file. `bpe` is zeroed before; fini
 * also after a failure. */
CE_MUST_CHECK enum ce_status ce_bpe_read(struct ce_bpe *bpe,
                                         const json_t *model,
                                         bool byte_level,
                                         const char *file,
                                         struct ce_error *err);
void ce_bpe_fini(struct ce_bpe *bpe);

/* What one thread needs for long pieces; zero it before the first use. */
struct ce_bpe_scratch {
    size_t capacity; /* symbols */
    int32_t *id;
    struct ce_bpe_link {
        uint32_t previous;
        uint32_t next;
    } * link;
    uint64_t *heap; /* 2 * capacity */
};
void ce_bpe_scratch_fini(struct ce_bpe_scratch *scratch);

/* Appends the ids of a piece of at most INT32_MAX bytes. */
CE_MUST_CHECK enum ce_status ce_bpe_encode(const struct ce_bpe *bpe,
                                           struct ce_bpe_scratch *scratch,
                                           struct ce_span piece,
                                           struct ce_ids *ids,
                                           struct ce_error *err);

/* Merges scratch->id[0 .. count-1] in place, returns how many are left. For long
 * pieces: its time is count * log(count). */
size_t ce_bpe_merge_long(const struct ce_bpe *bpe,
                         struct ce_bpe_scratch *scratch,
                         size_t count);

#endif
