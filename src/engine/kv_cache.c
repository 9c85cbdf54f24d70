/* kv_cache.c - the pool of pages and who has which */

#include "engine/kv_cache.h"

void ce_kv_cache_take(struct ce_kv_cache *cache,
                      struct ce_arena *arena,
                      const struct ce_config *config,
                      size_t tokens)
{
    size_t page_floats = 0;

    *cache = (struct ce_kv_cache){.layers = config->layers,
                                  .kv_heads = config->kv_heads,
                                  .head_dim = config->head_dim};
    cache->pages = (tokens + CE_PAGE_TOKENS - 1) / CE_PAGE_TOKENS;
    page_floats =
        2 * cache->layers * cache->kv_heads * CE_PAGE_TOKENS * cache->head_dim;
    cache->free_page = ce_arena_take(arena, cache->pages, sizeof(cache->free_page[0]));
    cache->memory = ce_arena_take(arena, cache->pages, page_floats * sizeof(float));
    if (cache->free_page == NULL) {
        return;
    }
    for (size_t i = 0; i < cache->pages; i++) {
        cache->free_page[i] = (uint32_t)(cache->pages - 1 - i);
    }
    cache->free_pages = cache->pages;
}

static float *find_head(const struct ce_kv_cache *cache,
                        size_t page,
                        size_t layer,
                        size_t which,
                        size_t head)
{
    size_t index =
        ((page * cache->layers + layer) * 2 + which) * cache->kv_heads + head;

    return cache->memory + index * CE_PAGE_TOKENS * cache->head_dim;
}

float *ce_kv_cache_keys(const struct ce_kv_cache *cache,
                        size_t page,
                        size_t layer,
                        size_t head)
{
    return find_head(cache, page, layer, 0, head);
}

float *ce_kv_cache_values(const struct ce_kv_cache *cache,
                          size_t page,
                          size_t layer,
                          size_t head)
{
    return find_head(cache, page, layer, 1, head);
}

enum ce_status ce_sequence_reserve(struct ce_kv_cache *cache,
                                   struct ce_sequence *sequence,
                                   size_t count,
                                   struct ce_error *err)
{
    size_t tokens = sequence->length + count;
    size_t wanted = (tokens + CE_PAGE_TOKENS - 1) / CE_PAGE_TOKENS;

    if (wanted > sequence->page_capacity) {
        return ce_fail(
            err,
            CE_ERR_ARG,
            "a sequence of %zu tokens is longer than %zu, which the context and the "
            "KV cache (--cache-tokens) allow",
            tokens,
            sequence->page_capacity * CE_PAGE_TOKENS);
    }
    if (wanted > sequence->pages + cache->free_pages) {
        return ce_fail(
            err,
            CE_ERR_NOMEM,
            "the KV cache is full: %zu more pages of %d tokens wanted, %zu of "
            "%zu free; raise --cache-tokens",
            wanted - sequence->pages,
            CE_PAGE_TOKENS,
            cache->free_pages,
            cache->pages);
    }
    while (sequence->pages < wanted) {
        sequence->page[sequence->pages++] = cache->free_page[--cache->free_pages];
    }
    return CE_OK;
}

void ce_sequence_release(struct ce_kv_cache *cache, struct ce_sequence *sequence)
{
    while (sequence->pages > 0) {
        cache->free_page[cache->free_pages++] = sequence->page[--sequence->pages];
    }
    sequence->length = 0;
}
