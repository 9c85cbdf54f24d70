/* normalizer.h - what happens to text before it is split */

#ifndef CE_MODEL_TOKENIZER_NORMALIZER_H
#define CE_MODEL_TOKENIZER_NORMALIZER_H

#include "model/tokenizer/regex.h"

enum ce_normalizer_kind {
    CE_NORMALIZER_NFC,
    CE_NORMALIZER_PREPEND, /* `content`, when there is any text */
    CE_NORMALIZER_REPLACE, /* each match of `pattern` by `content` */
};

struct ce_normalizer {
    size_t steps;
    struct ce_normalizer_step {
        enum ce_normalizer_kind kind;
        struct ce_text content;
        struct ce_regex *pattern;
        char where[192]; /* for messages */
    } step[CE_COMPONENTS_MAX];
};

/* The field `normalizer` of the document `root`. `normalizer` is zeroed before;
 * fini also after a failure. */
CE_MUST_CHECK enum ce_status ce_normalizer_read(struct ce_normalizer *normalizer,
                                                const json_t *root,
                                                const char *file,
                                                struct ce_error *err);
void ce_normalizer_fini(struct ce_normalizer *normalizer);

/* What one thread needs; zero it and set `regex` and `budget`, which are borrowed. */
struct ce_normalizer_scratch {
    struct ce_budget *budget;
    struct ce_regex_scratch *regex;
    struct ce_text buffer[2]; /* a step reads one and writes the other */
    struct ce_ids codes;
};
void ce_normalizer_scratch_fini(struct ce_normalizer_scratch *scratch);

/* *out is `text` itself or lies in the scratch, until the next call. What the
 * last step makes is taken from the budget; a step that makes more than is left is
 * CE_ERR_UNSUPPORTED and named. */
CE_MUST_CHECK enum ce_status ce_normalizer_apply(const struct ce_normalizer *normalizer,
                                                 struct ce_normalizer_scratch *scratch,
                                                 struct ce_span text,
                                                 struct ce_span *out,
                                                 struct ce_error *err);

/* Appends `text` with each match of `pattern` replaced, until `out` has more than
 * `most` bytes, which its caller then sees; decoders use it too. */
CE_MUST_CHECK enum ce_status ce_replace_append(struct ce_text *out,
                                               struct ce_span text,
                                               const struct ce_regex *pattern,
                                               struct ce_span content,
                                               size_t most,
                                               struct ce_regex_scratch *scratch,
                                               struct ce_error *err);

#endif
