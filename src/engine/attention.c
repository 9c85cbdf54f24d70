/* attention.c - one layer of attention over the paged cache
 *
 * OLMoE: RMSNorm over the whole q row and the whole k row, then clipping of q, k
 * and v where clip_qkv is set, then half-rotation RoPE, grouped-query attention.
 * Source: Hugging Face transformers, OlmoeAttention.
 */

#include "engine/engine.h"

#include <math.h>

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
    ce_kv_cache_store(&engine->cache,
                      engine->batch.sequence[token]->page,
                      layer_index,
                      position,
                      k,
                      v);
}

/* The queries of a span that belong to one kv head. */
static void
attend_span(struct ce_engine *engine, size_t layer, struct ce_span span, size_t kv_head)
{
    const struct ce_config *config = &engine->config;
    const struct ce_batch *batch = &engine->batch;
    size_t n = config->head_dim;
    size_t group = config->heads / config->kv_heads;
    size_t at = (span.first * config->heads + kv_head * group) * n;

    engine->kernels->attend(&(struct ce_attend){
        .kv = ce_kv_cache_view(
            &engine->cache, batch->sequence[span.first]->page, layer, kv_head),
        .first = batch->position[span.first],
        .tokens = span.tokens,
        .group = group,
        .ld = config->heads * n,
        .query = engine->act.q + at,
        .out = engine->act.mixed + at,
        .scale = 1.0F / sqrtf((float)n)});
}

/* The last tokens of a prompt attend most, so their tasks are begun first. */
static void attend_all(struct ce_engine *engine, size_t layer)
{
    const struct ce_batch *batch = &engine->batch;
    size_t kv_heads = engine->config.kv_heads;

#pragma omp parallel for schedule(dynamic)
    for (size_t task = 0; task < batch->spans * kv_heads; task++) {
        size_t span = batch->spans - 1 - task / kv_heads;

        attend_span(engine, layer, batch->span[span], task % kv_heads);
    }
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
    attend_all(engine, layer_index);
    project_out(engine, layer);
}
