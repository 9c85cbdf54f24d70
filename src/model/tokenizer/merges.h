/* merges.h - which two symbols become one, and in which order
 *
 * A hash table from a pair of token ids to the rank of its merge (low ranks
 * first) and the id of the result.
 */

#ifndef CE_MODEL_TOKENIZER_MERGES_H
#define CE_MODEL_TOKENIZER_MERGES_H

#include "model/tokenizer/text.h"

#include <jansson.h>

struct ce_merge {
    uint64_t key; /* left id << 24 | right id; UINT64_MAX: empty slot */
    uint32_t rank;
    int32_t id;
};

struct ce_merges {
    struct ce_merge *slot;
    size_t mask; /* slots - 1, a power of two - 1 */
};

/* `list` is model.merges, its items "left right" or ["left", "right"]; `vocab`
 * is model.vocab with checked ids. `merges` is zeroed before; fini also after a
 * failure. */
CE_MUST_CHECK enum ce_status ce_merges_read(struct ce_merges *merges,
                                            const json_t *list,
                                            const json_t *vocab,
                                            const char *file,
                                            struct ce_error *err);
void ce_merges_fini(struct ce_merges *merges);

/* NULL when the two do not merge. */
const struct ce_merge *
ce_merges_find(const struct ce_merges *merges, int32_t left, int32_t right);

#endif
