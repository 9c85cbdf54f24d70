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

static enum ce_status project_qkv(struct ce_engine *engine,
                                  const struct ce_layer_weights *layer,
                                  enum ce_status status,
                                  struct ce_error *err)
{
    const struct ce_config *config = &engine->config;
    const struct ce_activations *act = &engine->act;
    const size_t kv_size = config->kv_heads * config->head_dim;
    const struct ce_dense_output output[] = {
        {act->q, &layer->q, config->heads * config->head_dim},
        {act->k, &layer->k, kv_size},
        {act->v, &layer->v, kv_size}};

    return ce_dense_run(engine,
                        &engine->dense.tokens,
                        act->normed,
                        config->hidden_size,
                        output,
                        sizeof(output) / sizeof(output[0]),
                        status,
                        err);
}

static enum ce_status project_out(struct ce_engine *engine,
                                  const struct ce_layer_weights *layer,
                                  enum ce_status status,
                                  struct ce_error *err)
{
    const struct ce_activations *act = &engine->act;
    const struct ce_dense_output output = {
        act->branch, &layer->o, engine->config.hidden_size};

    return ce_dense_run(engine,
                        &engine->dense.tokens,
                        act->mixed,
                        layer->o.inputs,
                        &output,
                        1,
                        status,
                        err);
}

static void norm_tokens(struct ce_engine *engine, const struct ce_layer_weights *layer)
{
    struct ce_activations *act = &engine->act;
    size_t d = engine->config.hidden_size;

#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < engine->batch.tokens; t++) {
        engine->kernels->rms_norm(act->normed + t * d,
                                  act->hidden + t * d,
                                  layer->attention_norm,
                                  d,
                                  engine->config.rms_norm_eps);
    }
}

static void mix_tokens(struct ce_engine *engine, size_t layer)
{
#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < engine->batch.tokens; t++) {
        prepare_token(engine, &engine->weights.layers[layer], layer, t);
    }
    attend_all(engine, layer);
}

static void add_tokens(struct ce_engine *engine, const struct ce_layer_weights *layer)
{
    struct ce_activations *act = &engine->act;
    size_t d = engine->config.hidden_size;

#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < engine->batch.tokens; t++) {
        add_bias(act->branch + t * d, layer->o_bias, d);
        engine->kernels->add_scaled(act->hidden + t * d, act->branch + t * d, 1.0F, d);
    }
}

enum ce_status ce_attention_run(struct ce_engine *engine,
                                size_t layer_index,
                                enum ce_status status,
                                struct ce_error *err)
{
    const struct ce_layer_weights *layer = &engine->weights.layers[layer_index];

    if (status == CE_OK) {
        norm_tokens(engine, layer);
    }
    status = project_qkv(engine, layer, status, err);
    if (status == CE_OK) {
        mix_tokens(engine, layer_index);
    }
    status = project_out(engine, layer, status, err);
    if (status == CE_OK) {
        add_tokens(engine, layer);
    }
    return status;
}
