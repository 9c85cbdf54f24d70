/* bench_kernels_attend.c - attention over keys and values that are not in a cache */

#include "base/memory.h"
#include "engine/kv_cache.h"
#include "tools/bench_kernels.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

static size_t pages_of(const struct ce_bench_attend *attend)
{
    return (attend->positions + CE_PAGE_TOKENS - 1) / CE_PAGE_TOKENS;
}

/* Values of the keys of one kv head. */
static size_t head_values(const struct ce_bench_attend *attend)
{
    return pages_of(attend) * CE_PAGE_TOKENS * attend->config->head_dim;
}

enum ce_status ce_bench_attend_open(struct ce_bench_attend *attend,
                                    const struct ce_kernels *kernels,
                                    const struct ce_config *config,
                                    size_t positions,
                                    size_t queries,
                                    struct ce_error *err)
{
    const size_t width = config->heads * config->head_dim;
    const size_t threads = (size_t)omp_get_max_threads();

    *attend = (struct ce_bench_attend){.kernels = kernels,
                                       .config = config,
                                       .positions = positions,
                                       .queries = queries};
    attend->bytes = 2 * config->kv_heads * head_values(attend) * sizeof(float);
    attend->copies = ce_bench_copies(attend->bytes);
    attend->cache = ce_memory_map(attend->copies * attend->bytes);
    attend->query = calloc(queries * width, sizeof(float));
    attend->out = calloc(queries * width, sizeof(float));
    attend->scores = calloc(threads * positions, sizeof(float));
    attend->page = calloc(2 * threads * pages_of(attend), sizeof(attend->page[0]));
    if (attend->cache == NULL || attend->query == NULL || attend->out == NULL ||
        attend->scores == NULL || attend->page == NULL) {
        return ce_fail(
            err, CE_ERR_NOMEM, "no memory for attention over %zu positions", positions);
    }
    ce_bench_fill(attend->cache, attend->copies * attend->bytes / sizeof(float));
    ce_bench_fill(attend->query, queries * width);
    return CE_OK;
}

void ce_bench_attend_close(struct ce_bench_attend *attend)
{
    ce_memory_unmap(attend->cache, attend->copies * attend->bytes);
    free(attend->query);
    free(attend->out);
    free(attend->scores);
    free(attend->page);
    *attend = (struct ce_bench_attend){0};
}

/* All queries of one head. */
static void
run_head(const struct ce_bench_attend *attend, const float *cache, size_t head)
{
    const struct ce_config *config = attend->config;
    const size_t pages = pages_of(attend);
    const size_t thread = (size_t)omp_get_thread_num();
    const float **keys = attend->page + 2 * thread * pages;
    const float **values = keys + pages;
    const float *kv =
        cache + head * config->kv_heads / config->heads * head_values(attend);

    for (size_t p = 0; p < pages; p++) {
        keys[p] = kv + p * CE_PAGE_TOKENS * config->head_dim;
        values[p] = keys[p] + config->kv_heads * head_values(attend);
    }
    for (size_t q = 0; q < attend->queries; q++) {
        const size_t at = (q * config->heads + head) * config->head_dim;
        const struct ce_attend one = {.query = attend->query + at,
                                      .keys = keys,
                                      .values = values,
                                      .page_tokens = CE_PAGE_TOKENS,
                                      .positions = attend->positions,
                                      .head_dim = config->head_dim,
                                      .scale = 1.0F / sqrtf((float)config->head_dim),
                                      .scores =
                                          attend->scores + thread * attend->positions,
                                      .out = attend->out + at};

        attend->kernels->attend(&one);
    }
}

void ce_bench_attend_run(void *untyped)
{
    struct ce_bench_attend *attend = untyped;
    const float *cache = attend->cache + attend->next * (attend->bytes / sizeof(float));

    attend->next = (attend->next + 1) % attend->copies;
#pragma omp parallel for schedule(dynamic)
    for (size_t head = 0; head < attend->config->heads; head++) {
        run_head(attend, cache, head);
    }
}
