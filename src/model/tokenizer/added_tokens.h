/* added_tokens.h - the tokens that are cut out of a text before anything else
 *
 * Two sets: raw ones are looked for in the text as it came, normalized ones,
 * in their own normalized form, in each normalized segment between raw ones.
 * Of the tokens that begin at a place the longest matches.
 */

#ifndef CE_MODEL_TOKENIZER_ADDED_TOKENS_H
#define CE_MODEL_TOKENIZER_ADDED_TOKENS_H

#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/trie.h"

struct ce_added_token {
    int32_t id;
    bool in_vocabulary;     /* model.vocab has it too, and gave it its id */
    bool single_word;       /* not next to a word character */
    bool strip_left;        /* takes the white space before it */
    bool strip_right;       /* and behind it */
    bool normalized;        /* which of the two sets */
    bool special;           /* may be skipped in decoding, or be plain text */
    struct ce_text content; /* as the file has it */
    struct ce_text form;    /* as it is looked for and decoded */
};

struct ce_added_tokens {
    size_t count;
    struct ce_added_token *token;
    char file[128]; /* for messages */
    struct ce_trie raw;
    struct ce_trie normalized;
};

/* The field `added_tokens` of the document `root`; `vocab` is model.vocab with
 * checked ids. `added` is zeroed before; fini also after a failure. */
CE_MUST_CHECK enum ce_status
ce_added_tokens_read(struct ce_added_tokens *added,
                     const json_t *root,
                     const json_t *vocab,
                     const struct ce_normalizer *normalizer,
                     const char *file,
                     struct ce_error *err);
void ce_added_tokens_fini(struct ce_added_tokens *added);

/* Gets the token, or NULL and the text between two tokens. */
typedef enum ce_status ce_added_tokens_visit(void *user,
                                             const struct ce_added_token *token,
                                             struct ce_span text,
                                             struct ce_error *err);

/* Visits tokens of one of the sets, and what is between them, in order. With
 * plain_specials, special tokens are not looked for. The steps of the search are
 * taken from `budget`. */
CE_MUST_CHECK enum ce_status ce_added_tokens_split(const struct ce_added_tokens *added,
                                                   const struct ce_trie *set,
                                                   struct ce_span text,
                                                   bool plain_specials,
                                                   struct ce_budget *budget,
                                                   ce_added_tokens_visit *visit,
                                                   void *user,
                                                   struct ce_error *err);

#endif
