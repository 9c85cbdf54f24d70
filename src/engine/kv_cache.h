/* kv_cache.h - keys and values of all sequences of a rank, in pages
 *
 *   page p, layer l:  keys   [kv_heads] of the pages of struct ce_kv (kernels.h)
 *                     values [kv_heads] alike
 *
 * A sequence has a list of page numbers, the same page in every layer; pages
 * come from one pool and go back when the sequence ends.
 *
 * Full pages can be found again by all tokens up to their end (kv_prefix.c), so that
 * sequences which begin alike have the same pages:
 *
 *   blank ─► of one sequence ─► pending ─► known, of one or more ─► idle ─┐
 *     ▲          │  ▲ announce    publish ▲            ▲ share            │
 *     └──────────┘  └─────────────────────┘            └──────────────────┤
 *     └───────────────── when room is wanted: the oldest first ◄──────────┘
 */

#ifndef CE_ENGINE_KV_CACHE_H
#define CE_ENGINE_KV_CACHE_H

#include "base/arena.h"
#include "base/status.h"
#include "kernels/kernels.h"
#include "model/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CE_PAGE_TOKENS CE_KV_PAGE
#define CE_NO_PAGE     UINT32_MAX

enum ce_page_state {
    CE_PAGE_PRIVATE = 0, /* or blank: not to be found */
    CE_PAGE_PENDING,     /* a sequence is going to compute it */
    CE_PAGE_KNOWN,
};

/* What a page is of, and who has it. */
struct ce_page {
    enum ce_page_state state;
    uint32_t users;  /* sequences; a known page of nobody is idle */
    uint32_t parent; /* the page before it in its sequences; CE_NO_PAGE: none */
    uint32_t chain;  /* the next page of the same bucket */
    uint32_t older;  /* of the idle pages */
    uint32_t newer;
    uint64_t hash; /* of all tokens up to the end of this page */
    int32_t token[CE_PAGE_TOKENS];
};

struct ce_kv_cache {
    enum ce_dtype dtype; /* F32 or BF16 */
    size_t layers;
    size_t kv_heads;
    size_t head_dim;
    size_t pages;
    size_t head_bytes;     /* keys or values of one kv head in one page */
    unsigned char *memory; /* [pages][layers][2][kv_heads][head_bytes] */
    uint32_t *free_page;   /* stack of blank pages */
    size_t blank_pages;
    size_t free_pages; /* of no sequence: blank or idle */
    struct ce_page *page;
    uint32_t *bucket; /* [buckets], a power of two: first of a chain */
    size_t buckets;
    uint32_t oldest; /* idle page, CE_NO_PAGE if there is none */
    uint32_t newest;
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
    size_t announced;   /* the first so many pages can be found, now or once full */
    uint32_t last_step; /* the step it was last part of, to find repeats */
};

/* Makes room for `count` more tokens; takes nothing when it fails. */
CE_MUST_CHECK enum ce_status ce_sequence_reserve(struct ce_kv_cache *cache,
                                                 struct ce_sequence *sequence,
                                                 size_t count,
                                                 struct ce_error *err);
/* Gives all pages back; those that are known stay to be found until room is wanted. */
void ce_sequence_release(struct ce_kv_cache *cache, struct ce_sequence *sequence);

/* ---- sequences that begin alike (kv_prefix.c) ---- */

/* What the cache has of a text. */
struct ce_kv_match {
    size_t pages;     /* known, from the beginning on */
    uint32_t pending; /* the one after them, if a sequence is computing it */
    uint64_t hash;    /* of the pending one */
};

struct ce_kv_match
ce_kv_cache_find(const struct ce_kv_cache *cache, const int32_t *tokens, size_t count);
/* Whether the page that was pending still is. */
bool ce_kv_cache_is_pending(const struct ce_kv_cache *cache,
                            const struct ce_kv_match *match);

/* Gives an empty sequence the known pages that hold the first of these tokens, and as
 * its length how many tokens that are. Tokens are compared, hashes are not trusted. */
void ce_sequence_share(struct ce_kv_cache *cache,
                       struct ce_sequence *sequence,
                       const int32_t *tokens,
                       size_t count);
/* The sequence is going to be these tokens, for which it has reserved: its full pages
 * can be waited for, and shared as soon as they are computed. */
void ce_sequence_announce(struct ce_kv_cache *cache,
                          struct ce_sequence *sequence,
                          const int32_t *tokens,
                          size_t count);
/* Pages from `before`, the length before a step, up to the present one are computed. */
void ce_sequence_publish(struct ce_kv_cache *cache,
                         const struct ce_sequence *sequence,
                         size_t before);
/* Nothing is found any more; no sequence may have pages. */
void ce_kv_cache_forget(struct ce_kv_cache *cache);

/* For kv_cache.c: a page that no sequence has is not to be found any more, or waits to
 * be shared again; the oldest of those that wait, which no longer does. */
void ce_page_forget(struct ce_kv_cache *cache, uint32_t at);
void ce_page_idle(struct ce_kv_cache *cache, uint32_t at);
uint32_t ce_page_evict(struct ce_kv_cache *cache);

#endif
