/* kv_cache.h - keys and values of all sequences of a rank, in pages
 *
 *   page p, layer l:  keys   [kv_heads][CE_PAGE_TOKENS][head_dim]
 *                     values [kv_heads][CE_PAGE_TOKENS][head_dim]
 *
 * A sequence has a list of page numbers, the same page in every layer; pages
 * come from one pool and go back when the sequence ends.
 */

#ifndef CE_ENGINE_KV_CACHE_H
#define CE_ENGINE_KV_CACHE_H

#include "base/arena.h"
#include "base/status.h"
#include "model/config.h"

#include <stddef.h>
#include <stdint.h>

#define CE_PAGE_TOKENS 16

struct ce_kv_cache {
    size_t layers;
    size_t kv_heads;
    size_t head_dim;
    size_t pages;
    float *memory;       /* [pages][layers][2][kv_heads][CE_PAGE_TOKENS][head_dim] */
    uint32_t *free_page; /* stack of free pages */
    size_t free_pages;
};

/* Takes a cache for at least `tokens` tokens from the arena. */
void ce_kv_cache_take(struct ce_kv_cache *cache,
                      struct ce_arena *arena,
                      const struct ce_config *config,
                      size_t tokens);

/* Keys or values of one kv head in a page: [CE_PAGE_TOKENS][head_dim]. */
float *ce_kv_cache_keys(const struct ce_kv_cache *cache,
                        size_t page,
                        size_t layer,
                        size_t head);
float *ce_kv_cache_values(const struct ce_kv_cache *cache,
                          size_t page,
                          size_t layer,
                          size_t head);

struct ce_sequence {
    struct ce_engine *engine;
    size_t length; /* tokens in the cache */
    size_t pages;
    size_t page_capacity;
    uint32_t *page;
    uint32_t last_step; /* the step it was last part of, to find repeats */
};

/* Makes room for `count` more tokens; takes nothing when it fails. */
CE_MUST_CHECK enum ce_status ce_sequence_reserve(struct ce_kv_cache *cache,
                                                 struct ce_sequence *sequence,
                                                 size_t count,
                                                 struct ce_error *err);
/* Gives all pages back. */
void ce_sequence_release(struct ce_kv_cache *cache, struct ce_sequence *sequence);

#endif
