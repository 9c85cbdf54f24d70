/* trie.h - the longest of many strings that a text begins with */

#ifndef CE_MODEL_TOKENIZER_TRIE_H
#define CE_MODEL_TOKENIZER_TRIE_H

#include "model/tokenizer/text.h"

/* Children of a node are a list; those of the root, tried at every byte of a
 * text, are a table. Node 0 means none. Zero it before the first use. */
struct ce_trie {
    struct ce_trie_node {
        uint32_t child;
        uint32_t sibling;
        int32_t value; /* -1: no string ends here */
        unsigned char byte;
    } * node;
    size_t count;
    size_t capacity;
    uint32_t root[256];
};

/* `key` is not empty, `value` >= 0. *added is false when the key was there
 * before; it then keeps its value. */
CE_MUST_CHECK enum ce_status ce_trie_add(struct ce_trie *trie,
                                         struct ce_span key,
                                         int32_t value,
                                         bool *added,
                                         struct ce_error *err);
/* The value of the longest key that `text` begins with and its length; -1 when
 * there is none. The nodes that were looked at are added to *visits. */
int32_t ce_trie_longest(const struct ce_trie *trie,
                        struct ce_span text,
                        size_t *bytes,
                        size_t *visits);
void ce_trie_fini(struct ce_trie *trie);

#endif
