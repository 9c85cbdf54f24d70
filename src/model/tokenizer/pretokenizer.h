/* pretokenizer.h - cutting text into the pieces that BPE sees
 *
 *   text -> [step 0] -> parts -> [step 1] -> parts -> ... -> pieces
 *
 * Every step cuts each part of the step before it. The parts are handed on one
 * by one, so no list of them is ever held.
 */

#ifndef CE_MODEL_TOKENIZER_PRETOKENIZER_H
#define CE_MODEL_TOKENIZER_PRETOKENIZER_H

#include "model/tokenizer/regex.h"
#include "model/tokenizer/split.h"

enum ce_pretokenizer_kind {
    CE_PRETOKENIZER_BYTE_LEVEL, /* always the last step */
    CE_PRETOKENIZER_SPLIT,
    CE_PRETOKENIZER_DIGITS,
};

struct ce_pretokenizer {
    bool byte_level; /* the vocabulary is spelled in the byte alphabet */
    size_t steps;
    struct ce_pretokenizer_step {
        enum ce_pretokenizer_kind kind;
        bool prefix_space;
        struct ce_regex *pattern; /* NULL: no cut */
        bool invert;
        enum ce_split_behavior behavior;
    } step[CE_COMPONENTS_MAX];
};

/* The field `pre_tokenizer` of the document `root`. `pretokenizer` is zeroed
 * before; fini also after a failure. */
CE_MUST_CHECK enum ce_status ce_pretokenizer_read(struct ce_pretokenizer *pretokenizer,
                                                  const json_t *root,
                                                  const char *file,
                                                  struct ce_error *err);
void ce_pretokenizer_fini(struct ce_pretokenizer *pretokenizer);

/* Where the pieces go; none is empty. A piece is gone after the call. */
typedef enum ce_status
ce_piece_sink(void *user, struct ce_span piece, struct ce_error *err);

/* One thread's cutting. Zero `prefixed` before the first use, free it after. */
struct ce_cutting {
    const struct ce_pretokenizer *pretokenizer;
    struct ce_regex_scratch *regex;
    ce_piece_sink *sink;
    void *user;
    struct ce_text prefixed;
};

CE_MUST_CHECK enum ce_status ce_pretokenizer_cut(struct ce_cutting *cutting,
                                                 struct ce_span text,
                                                 struct ce_error *err);

#endif
