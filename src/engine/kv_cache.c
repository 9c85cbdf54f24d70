/* kv_cache.c - the pool of pages and who has which */

#include "engine/kv_cache.h"

#include <string.h>

enum ce_status
ce_kv_dtype_by_name(enum ce_dtype *dtype, const char *name, struct ce_error *err)
{
    if (name != NULL && strcmp(name, "f32") != 0 && strcmp(name, "bf16") != 0) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "unknown type of the KV cache \"%s\"; there are f32, bf16",
                       name);
    }
    *dtype = name != NULL && strcmp(name, "bf16") == 0 ? CE_DTYPE_BF16 : CE_DTYPE_F32;
    return CE_OK;
}

const char *ce_kv_dtype_name(enum ce_dtype dtype)
{
    return dtype == CE_DTYPE_BF16 ? "bf16" : "f32";
}

/* Elements of a row of values. */
static size_t value_width(size_t head_dim)
{
    return (head_dim + CE_KV_LANES - 1) / CE_KV_LANES * CE_KV_LANES;
}

void ce_kv_cache_take(struct ce_kv_cache *cache,
                      struct ce_arena *arena,
                      const struct ce_config *config,
                      enum ce_dtype dtype,
                      size_t tokens)
{
    *cache = (struct ce_kv_cache){.dtype = dtype,
                                  .layers = config->layers,
                                  .kv_heads = config->kv_heads,
                                  .head_dim = config->head_dim};
    cache->pages = (tokens + CE_PAGE_TOKENS - 1) / CE_PAGE_TOKENS;
    cache->head_bytes =
        CE_PAGE_TOKENS * value_width(cache->head_dim) * ce_dtype_size(dtype);
    cache->buckets = 1;
    while (cache->buckets < cache->pages) {
        cache->buckets *= 2;
    }
    cache->free_page = ce_arena_take(arena, cache->pages, sizeof(cache->free_page[0]));
    cache->page = ce_arena_take(arena, cache->pages, sizeof(cache->page[0]));
    cache->bucket = ce_arena_take(arena, cache->buckets, sizeof(cache->bucket[0]));
    cache->memory = ce_arena_take(
        arena, cache->pages, 2 * cache->layers * cache->kv_heads * cache->head_bytes);
    if (cache->free_page == NULL || cache->page == NULL || cache->bucket == NULL) {
        return;
    }
    for (size_t i = 0; i < cache->pages; i++) {
        cache->free_page[i] = (uint32_t)(cache->pages - 1 - i);
        cache->page[i] = (struct ce_page){.state = CE_PAGE_PRIVATE};
    }
    for (size_t i = 0; i < cache->buckets; i++) {
        cache->bucket[i] = CE_NO_PAGE;
    }
    cache->oldest = CE_NO_PAGE;
    cache->newest = CE_NO_PAGE;
    cache->blank_pages = cache->pages;
    cache->free_pages = cache->pages;
}

/* Keys of a kv head in page 0; its values are kv_heads further. */
static unsigned char *
find_keys(const struct ce_kv_cache *cache, size_t layer, size_t head)
{
    return cache->memory + (layer * 2 * cache->kv_heads + head) * cache->head_bytes;
}

static size_t page_bytes(const struct ce_kv_cache *cache)
{
    return cache->layers * 2 * cache->kv_heads * cache->head_bytes;
}

struct ce_kv ce_kv_cache_view(const struct ce_kv_cache *cache,
                              const uint32_t *page,
                              size_t layer,
                              size_t head)
{
    const unsigned char *keys = find_keys(cache, layer, head);

    return (struct ce_kv){.dtype = cache->dtype,
                          .head_dim = cache->head_dim,
                          .keys = keys,
                          .values = keys + cache->kv_heads * cache->head_bytes,
                          .page = page,
                          .page_bytes = page_bytes(cache)};
}

/* out[i * step] = x[i] */
static void
store(void *out, size_t at, size_t step, enum ce_dtype dtype, const float *x, size_t n)
{
    if (dtype == CE_DTYPE_BF16) {
        for (size_t i = 0; i < n; i++) {
            ((uint16_t *)out)[at + i * step] = ce_bf16_from_f32(x[i]);
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            ((float *)out)[at + i * step] = x[i];
        }
    }
}

void ce_kv_cache_store(const struct ce_kv_cache *cache,
                       const uint32_t *page,
                       size_t layer,
                       size_t position,
                       const float *keys,
                       const float *values)
{
    const size_t n = cache->head_dim;
    const size_t slot = position % CE_PAGE_TOKENS;
    unsigned char *at = find_keys(cache, layer, 0) +
                        page[position / CE_PAGE_TOKENS] * page_bytes(cache);

    for (size_t h = 0; h < cache->kv_heads; h++, at += cache->head_bytes) {
        store(at, slot, CE_PAGE_TOKENS, cache->dtype, keys + h * n, n);
        store(at + cache->kv_heads * cache->head_bytes,
              slot * value_width(n),
              1,
              cache->dtype,
              values + h * n,
              n);
    }
}

static uint32_t take_page(struct ce_kv_cache *cache)
{
    uint32_t page = cache->blank_pages > 0 ? cache->free_page[--cache->blank_pages]
                                           : ce_page_evict(cache);

    cache->page[page].users = 1;
    cache->free_pages--;
    return page;
}

static void give_page(struct ce_kv_cache *cache, uint32_t page)
{
    if (--cache->page[page].users > 0) {
        return;
    }
    cache->free_pages++;
    if (cache->page[page].state == CE_PAGE_KNOWN) {
        ce_page_idle(cache, page);
        return;
    }
    ce_page_forget(cache, page);
    cache->free_page[cache->blank_pages++] = page;
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
        sequence->page[sequence->pages++] = take_page(cache);
    }
    return CE_OK;
}

/* From the last page to the first, so that among the idle ones no page is older than
 * those that come after it. */
void ce_sequence_release(struct ce_kv_cache *cache, struct ce_sequence *sequence)
{
    while (sequence->pages > 0) {
        give_page(cache, sequence->page[--sequence->pages]);
    }
    sequence->length = 0;
    sequence->announced = 0;
}
