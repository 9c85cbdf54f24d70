/* attention.c - one layer of attention over the paged cache
 *
 * OLMoE: RMSNorm over the whole q row and the whole k row, then clipping of q, k
 * and v where clip_qkv is set, then half-rotation RoPE, grouped-query attention.
 * Source: Hugging Face transformers, OlmoeAttention.
 */

#include "engine/engine.h"

#include <math.h>
#include <omp.h>
#include <string.h>

static void add_bias(float *x, const float *bias, size_t n)
{
    for (size_t i = 0; bias != NULL && i < n; i++) {
        x[i] += bias[i];
    }
}

static void clip(float *x, float limit, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (x[i] > limit) {
            x[i] = limit;
        } else if (x[i] < -limit) {
            x[i] = -limit;
        }
    }
}

static void
rotate_heads(const struct ce_engine *engine, float *x, size_t heads, size_t position)
{
    size_t n = engine->config.head_dim;
    const float *cosine = engine->cosine + position * (n / 2);
    const float *sine = engine->sine + position * (n / 2);

    for (size_t h = 0; h < heads; h++) {
        engine->kernels->rotate(x + h * n, cosine, sine, n);
    }
}

/* Keys and values of one token into its page. */
static void store_token(const struct ce_engine *engine, size_t layer, size_t token)
{
    const struct ce_config *config = &engine->config;
    size_t n = config->head_dim;
    size_t position = engine->batch.position[token];
    size_t page = engine->batch.sequence[token]->page[position / CE_PAGE_TOKENS];
    size_t at = position % CE_PAGE_TOKENS * n;
    size_t row = token * config->kv_heads * n;

    for (size_t h = 0; h < config->kv_heads; h++) {
        memcpy(ce_kv_cache_keys(&engine->cache, page, layer, h) + at,
               engine->act.k + row + h * n,
               n * sizeof(float));
        memcpy(ce_kv_cache_values(&engine->cache, page, layer, h) + at,
               engine->act.v + row + h * n,
               n * sizeof(float));
    }
}

/* From raw projections to rotated q in place and k, v in the cache. */
static void prepare_token(const struct ce_engine *engine,
                          const struct ce_layer_weights *layer,
                          size_t layer_index,
                          size_t token)
{
    const struct ce_config *config = &engine->config;
    const struct ce_kernels *kernels = engine->kernels;
    size_t q_size = config->heads * config->head_dim;
    size_t kv_size = config->kv_heads * config->head_dim;
    size_t position = engine->batch.position[token];
    float *q = engine->act.q + token * q_size;
    float *k = engine->act.k + token * kv_size;
    float *v = engine->act.v + token * kv_size;

    add_bias(q, layer->q_bias, q_size);
    add_bias(k, layer->k_bias, kv_size);
    add_bias(v, layer->v_bias, kv_size);
    kernels->rms_norm(q, q, layer->q_norm, q_size, config->rms_norm_eps);
    kernels->rms_norm(k, k, layer->k_norm, kv_size, config->rms_norm_eps);
    if (config->clip_qkv > 0.0F) {
        clip(q, config->clip_qkv, q_size);
        clip(k, config->clip_qkv, kv_size);
        clip(v, config->clip_qkv, kv_size);
    }
    rotate_heads(engine, q, config->heads, position);
    rotate_heads(engine, k, config->kv_heads, position);
    store_token(engine, layer_index, token);
}

static void
attend_head(struct ce_engine *engine, size_t layer, size_t token, size_t head)
{
    const struct ce_config *config = &engine->config;
    const struct ce_sequence *sequence = engine->batch.sequence[token];
    struct ce_attention_scratch *scratch = &engine->scratch[omp_get_thread_num()];
    size_t n = config->head_dim;
    size_t positions = (size_t)engine->batch.position[token] + 1;
    size_t pages = (positions + CE_PAGE_TOKENS - 1) / CE_PAGE_TOKENS;
    size_t kv_head = head / (config->heads / config->kv_heads);
    size_t at = (token * config->heads + head) * n;

    for (size_t p = 0; p < pages; p++) {
        scratch->keys[p] =
            ce_kv_cache_keys(&engine->cache, sequence->page[p], layer, kv_head);
        scratch->values[p] =
            ce_kv_cache_values(&engine->cache, sequence->page[p], layer, kv_head);
    }
    engine->kernels->attend(&(struct ce_attend){.query = engine->act.q + at,
                                                .keys = scratch->keys,
                                                .values = scratch->values,
                                                .page_tokens = CE_PAGE_TOKENS,
                                                .positions = positions,
                                                .head_dim = n,
                                                .scale = 1.0F / sqrtf((float)n),
                                                .scores = scratch->scores,
                                                .out = engine->act.mixed + at});
}

struct ce_rows ce_engine_rows(const struct ce_engine *engine,
                              const float *values,
                              size_t rows,
                              size_t inputs)
{
    struct ce_rows x = {.values = values, .stride = inputs};

    if (engine->act.blocks != NULL) {
        ce_rows_quantise(engine->kernels, &x, engine->act.blocks, rows, inputs);
    }
    return x;
}

static void project_qkv(struct ce_engine *engine, const struct ce_layer_weights *layer)
{
    const struct ce_kernels *kernels = engine->kernels;
    struct ce_activations *act = &engine->act;
    size_t tokens = engine->batch.tokens;
    const struct ce_rows x =
        ce_engine_rows(engine, act->normed, tokens, engine->config.hidden_size);

    ce_product_parallel(kernels, act->q, layer->q.outputs, &x, tokens, &layer->q);
    ce_product_parallel(kernels, act->k, layer->k.outputs, &x, tokens, &layer->k);
    ce_product_parallel(kernels, act->v, layer->v.outputs, &x, tokens, &layer->v);
}

static void project_out(struct ce_engine *engine, const struct ce_layer_weights *layer)
{
    struct ce_activations *act = &engine->act;
    size_t d = engine->config.hidden_size;
    size_t tokens = engine->batch.tokens;
    const struct ce_rows x =
        ce_engine_rows(engine, act->mixed, tokens, layer->o.inputs);

    ce_product_parallel(engine->kernels, act->branch, d, &x, tokens, &layer->o);
#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < engine->batch.tokens; t++) {
        add_bias(act->branch + t * d, layer->o_bias, d);
        engine->kernels->add_scaled(act->hidden + t * d, act->branch + t * d, 1.0F, d);
    }
}

void ce_attention_run(struct ce_engine *engine, size_t layer_index)
{
    const struct ce_config *config = &engine->config;
    const struct ce_layer_weights *layer = &engine->weights.layers[layer_index];
    struct ce_activations *act = &engine->act;
    size_t d = config->hidden_size;
    size_t tokens = engine->batch.tokens;

#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < tokens; t++) {
        engine->kernels->rms_norm(act->normed + t * d,
                                  act->hidden + t * d,
                                  layer->attention_norm,
                                  d,
                                  config->rms_norm_eps);
    }
    project_qkv(engine, layer);
#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < tokens; t++) {
        prepare_token(engine, layer, layer_index, t);
    }
#pragma omp parallel for schedule(dynamic, 8) num_threads(engine->threads)
    for (size_t task = 0; task < tokens * config->heads; task++) {
        attend_head(engine, layer_index, task / config->heads, task % config->heads);
    }
    project_out(engine, layer);
}
