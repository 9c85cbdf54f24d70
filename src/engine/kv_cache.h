/* kv_cache.h - keys and values of all sequences of a rank, in pages
 *
 *   page p, layer l:  keys   [kv_heads] of the pages of struct ce_kv (kernels.h)
 *                     values [kv_heads] alike
 *
 * A sequence has a list of page numbers, the same page in every layer; pages
 * come from one pool and go back when the sequence ends.
 */

#ifndef CE_ENGINE_KV_CACHE_H
#define CE_ENGINE_KV_CACHE_H

#include "base/arena.h"
#include "base/status.h"
#include "kernels/kernels.h"
#include "model/config.h"

#include <stddef.h>
#include <stdint.h>

#define CE_PAGE_TOKENS CE_KV_PAGE

struct ce_kv_cache {
    enum ce_dtype dtype; /* F32 or BF16 */
    size_t layers;
    size_t kv_heads;
    size_t head_dim;
    size_t pages;
    size_t head_bytes;     /* keys or values of one kv head in one page */
    unsigned char *memory; /* [pages][layers][2][kv_heads][head_bytes] */
    uint32_t *free_page;   /* stack of free pages */
    size_t free_pages;
};

/* "f32" (or NULL) or "bf16". Errors: CE_ERR_ARG listing the names. */
CE_MUST_CHECK enum ce_status
ce_kv_dtype_by_name(enum ce_dtype *dtype, const char *name, struct ce_error *err);
const char *ce_kv_dtype_name(enum ce_dtype dtype);

/* Takes a cache for at least `tokens` tokens from the arena. */
void ce_kv_cache_take(struct ce_kv_cache *cache,
                      struct ce_arena *arena,
                      const struct ce_config *config,
                      enum ce_dtype dtype,
                      size_t tokens);

/* Keys and values of one kv head of a sequence with these pages, for attend. */
struct ce_kv ce_kv_cache_view(const struct ce_kv_cache *cache,
                              const uint32_t *page,
                              size_t layer,
                              size_t head);

/* Keeps keys and values [kv_heads][head_dim] of a position in the sequence's page.
 * BF16 rounds each to the nearest, by at most 2^-8 of it. */
void ce_kv_cache_store(const struct ce_kv_cache *cache,
                       const uint32_t *page,
                       size_t layer,
                       size_t position,
                       const float *keys,
                       const float *values);

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
