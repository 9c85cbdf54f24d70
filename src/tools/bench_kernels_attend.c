/* bench_kernels_attend.c - attention over keys and values that are not in a cache
 *
 * They lie in a KV cache of the engine's, whose layers are the copies that take turns.
 */

#include "tools/bench_kernels.h"

#include <math.h>
#include <stdlib.h>

static void fill_cache(const struct ce_kv_cache *cache, size_t bytes)
{
    uint16_t *half = (void *)cache->memory;
    const size_t n = bytes / ce_dtype_size(cache->dtype);

    ce_bench_fill((void *)cache->memory, bytes / sizeof(float));
    if (cache->dtype == CE_DTYPE_BF16) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i++) {
            half[i] = ce_bf16_from_f32((float)(i % 251) / 128.0F - 1.0F);
        }
    }
}

static size_t copy_bytes(const struct ce_kv_cache *cache)
{
    return cache->pages * 2 * cache->kv_heads * cache->head_bytes;
}

static enum ce_status open_cache(struct ce_bench_attend *attend,
                                 const struct ce_config *config,
                                 enum ce_dtype dtype,
                                 size_t cold_bytes,
                                 struct ce_error *err)
{
    struct ce_config copies = *config;
    struct ce_arena measure = {0};

    ce_arena_measure(&measure);
    copies.layers = 1;
    ce_kv_cache_take(&attend->cache, &measure, &copies, dtype, attend->positions);
    attend->bytes = copy_bytes(&attend->cache);
    copies.layers = ce_bench_copies(cold_bytes, attend->bytes);
    ce_arena_measure(&measure);
    ce_kv_cache_take(&attend->cache, &measure, &copies, dtype, attend->positions);
    enum ce_status status = ce_arena_create(&attend->arena, measure.used, err);
    if (status == CE_OK) {
        ce_kv_cache_take(
            &attend->cache, &attend->arena, &copies, dtype, attend->positions);
        fill_cache(&attend->cache, copies.layers * attend->bytes);
    }
    return status;
}

enum ce_status ce_bench_attend_open(struct ce_bench_attend *attend,
                                    const struct ce_kernels *kernels,
                                    const struct ce_config *config,
                                    enum ce_dtype dtype,
                                    size_t positions,
                                    size_t queries,
                                    size_t cold_bytes,
                                    struct ce_error *err)
{
    *attend =
        (struct ce_bench_attend){.kernels = kernels,
                                 .config = config,
                                 .positions = positions,
                                 .queries = queries < positions ? queries : positions};
    const size_t values = attend->queries * config->heads * config->head_dim;
    enum ce_status status = open_cache(attend, config, dtype, cold_bytes, err);

    if (status != CE_OK) {
        return status;
    }
    attend->page = calloc(attend->cache.pages, sizeof(attend->page[0]));
    attend->query = calloc(values, sizeof(float));
    attend->out = calloc(values, sizeof(float));
    if (attend->page == NULL || attend->query == NULL || attend->out == NULL) {
        return ce_fail(
            err, CE_ERR_NOMEM, "no memory for attention over %zu positions", positions);
    }
    for (size_t p = 0; p < attend->cache.pages; p++) {
        attend->page[p] = (uint32_t)p;
    }
    ce_bench_fill(attend->query, values);
    return CE_OK;
}

void ce_bench_attend_close(struct ce_bench_attend *attend)
{
    ce_arena_destroy(&attend->arena);
    free(attend->page);
    free(attend->query);
    free(attend->out);
    *attend = (struct ce_bench_attend){0};
}

double ce_bench_attend_flops(const struct ce_bench_attend *attend)
{
    const double queries = (double)attend->queries;
    const double before = (double)(attend->positions - attend->queries);
    const double pairs = queries * before + queries * (queries + 1) / 2;

    return 4 * pairs * (double)(attend->config->heads * attend->config->head_dim);
}

void ce_bench_attend_run(void *untyped)
{
    struct ce_bench_attend *attend = untyped;
    const struct ce_config *config = attend->config;
    const size_t group = config->heads / config->kv_heads;
    const size_t copy = attend->next;

    attend->next = (attend->next + 1) % attend->cache.layers;
#pragma omp parallel for schedule(dynamic)
    for (size_t head = 0; head < config->kv_heads; head++) {
        const size_t at = head * group * config->head_dim;

        attend->kernels->attend(&(struct ce_attend){
            .kv = ce_kv_cache_view(&attend->cache, attend->page, copy, head),
            .first = attend->positions - attend->queries,
            .tokens = attend->queries,
            .group = group,
            .ld = config->heads * config->head_dim,
            .query = attend->query + at,
            .out = attend->out + at,
            .scale = 1.0F / sqrtf((float)config->head_dim)});
    }
}
