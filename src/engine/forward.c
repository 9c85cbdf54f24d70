/* forward.c - the whole model on one page
 *
 *   ids -> embed -> [ norm -> attention -> + -> norm -> MoE -> + ] x layers
 *       -> norm -> logits of the rows asked for
 */

#include "base/clock.h"
#include "comm/collective.h"
#include "engine/engine.h"

#include <string.h>

static void end_stage(struct ce_engine *engine, enum ce_stage stage, uint64_t *since)
{
    uint64_t now = ce_clock_ns();

    engine->counters.stage_ns[stage] += now - *since;
    *since = now;
}

static void norm_rows(const struct ce_engine *engine, float *y, const float *weight)
{
    size_t d = engine->config.hidden_size;

#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < engine->batch.tokens; t++) {
        engine->kernels->rms_norm(y + t * d,
                                  engine->act.hidden + t * d,
                                  weight,
                                  d,
                                  engine->config.rms_norm_eps);
    }
}

static void add_branch(struct ce_engine *engine)
{
    size_t d = engine->config.hidden_size;

#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < engine->batch.tokens; t++) {
        engine->kernels->add_scaled(
            engine->act.hidden + t * d, engine->act.branch + t * d, 1.0F, d);
    }
}

static bool
rows_are_finite(const struct ce_kernels *kernels, const float *x, size_t rows, size_t n)
{
    bool finite = true;

#pragma omp parallel for schedule(static) reduction(&& : finite)
    for (size_t i = 0; i < rows; i++) {
        finite = kernels->all_finite(x + i * n, n) && finite;
    }
    return finite;
}

static void show(const struct ce_engine *engine,
                 const char *name,
                 size_t layer,
                 const float *values)
{
    const struct ce_observer *observer = &engine->observer;

    if (observer->see != NULL) {
        observer->see(observer->context,
                      name,
                      layer,
                      values,
                      engine->batch.tokens,
                      engine->config.hidden_size);
    }
}

static enum ce_status embed(struct ce_engine *engine, struct ce_error *err)
{
    const struct ce_matrix *table = &engine->weights.embedding;
    size_t d = engine->config.hidden_size;
    size_t row = d * ce_dtype_size(table->dtype);

    for (size_t t = 0; t < engine->batch.tokens; t++) {
        const unsigned char *from = table->data;

        ce_tensor_widen(engine->act.hidden + t * d,
                        from + (size_t)engine->batch.id[t] * row,
                        table->dtype,
                        d);
    }
    if (!rows_are_finite(
            engine->kernels, engine->act.hidden, engine->batch.tokens, d)) {
        return ce_fail(err,
                       CE_ERR_NUMERIC,
                       "embedding: a value is not finite; are the weights damaged?");
    }
    show(engine, "embed", 0, engine->act.hidden);
    return CE_OK;
}

/* The residual stream after a stage of a layer. */
static enum ce_status check_hidden(const struct ce_engine *engine,
                                   size_t layer,
                                   const char *stage,
                                   struct ce_error *err)
{
    if (rows_are_finite(engine->kernels,
                        engine->act.hidden,
                        engine->batch.tokens,
                        engine->config.hidden_size)) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_NUMERIC,
                   "layer %zu, %s: a value is not finite; are the weights damaged?",
                   layer,
                   stage);
}

static enum ce_status run_attention(struct ce_engine *engine,
                                    size_t layer,
                                    enum ce_status status,
                                    struct ce_error *err)
{
    uint64_t since = ce_clock_ns();

    status = ce_transport_enter(engine->transport, "attention", status, err);
    if (status == CE_OK && layer > 0) { /* what the layer before has added */
        status = check_hidden(engine, layer - 1, "MoE", err);
    }
    status = ce_attention_run(engine, layer, status, err);
    if (status == CE_OK) {
        show(engine, "attn_out", layer, engine->act.branch);
        norm_rows(engine, engine->act.normed, engine->weights.layers[layer].moe_norm);
        show(engine, "moe_in", layer, engine->act.normed);
        status = check_hidden(engine, layer, "attention", err);
    }
    end_stage(engine, CE_STAGE_ATTENTION, &since);
    return status;
}

static enum ce_status run_moe(struct ce_engine *engine,
                              size_t layer,
                              enum ce_status status,
                              struct ce_error *err)
{
    uint64_t since = ce_clock_ns();

    status = ce_moe_run(&engine->moe,
                        &engine->weights.layers[layer],
                        layer,
                        engine->step,
                        status,
                        engine->act.normed,
                        engine->act.branch,
                        engine->batch.tokens,
                        err);
    if (status == CE_OK) {
        show(engine, "moe_out", layer, engine->act.branch);
        add_branch(engine);
        show(engine, "out", layer, engine->act.hidden);
    }
    end_stage(engine, CE_STAGE_MOE, &since);
    return status;
}

static void norm_last(const struct ce_engine *engine)
{
    size_t d = engine->config.hidden_size;

    for (size_t i = 0; i < engine->batch.rows; i++) {
        engine->kernels->rms_norm(engine->act.last + i * d,
                                  engine->act.hidden +
                                      engine->batch.logits_token[i] * d,
                                  engine->weights.norm,
                                  d,
                                  engine->config.rms_norm_eps);
    }
}

/* Final norm and output projection of the rows asked for only. */
static enum ce_status
compute_logits(struct ce_engine *engine, enum ce_status status, struct ce_error *err)
{
    const size_t vocab = engine->config.vocab_size;
    const struct ce_dense_output output = {
        engine->act.logits, &engine->weights.output, vocab};
    uint64_t since = ce_clock_ns();

    status = ce_transport_enter(engine->transport, "logits", status, err);
    if (status == CE_OK) {
        status = check_hidden(engine, engine->config.layers - 1, "MoE", err);
    }
    if (status == CE_OK) {
        norm_last(engine);
    }
    status = ce_dense_run(engine,
                          &engine->dense.logits,
                          engine->act.last,
                          engine->config.hidden_size,
                          &output,
                          1,
                          status,
                          err);
    if (status == CE_OK &&
        !rows_are_finite(
            engine->kernels, engine->act.logits, engine->batch.rows, vocab)) {
        status = ce_fail(err,
                         CE_ERR_NUMERIC,
                         "logits: a value is not finite; are the weights damaged?");
    }
    end_stage(engine, CE_STAGE_LOGITS, &since);
    return status;
}

/* The residual stream before a step's first layer. */
static enum ce_status begin(struct ce_engine *engine,
                            const float *hidden,
                            enum ce_status status,
                            struct ce_error *err)
{
    uint64_t since = ce_clock_ns();

    engine->transport->activity.step = engine->step;
    engine->moe.told = false;
    status = ce_transport_enter(engine->transport, "embed", status, err);
    if (status == CE_OK && hidden == NULL) {
        status = embed(engine, err);
    } else if (status == CE_OK) {
        memcpy(engine->act.hidden,
               hidden,
               engine->batch.tokens * engine->config.hidden_size * sizeof(float));
    }
    status = ce_dense_begin(engine, status, err);
    end_stage(engine, CE_STAGE_EMBED, &since);
    return status;
}

static enum ce_status run_layer(struct ce_engine *engine,
                                size_t layer,
                                enum ce_status status,
                                struct ce_error *err)
{
    engine->transport->activity.layer = layer;
    status = run_attention(engine, layer, status, err);
    return run_moe(engine, layer, status, err);
}

/* What becomes of a step: the same on all ranks. */
static enum ce_status
end(struct ce_engine *engine, enum ce_status status, struct ce_error *err)
{
    struct ce_transport *transport = engine->transport;
    uint64_t since = ce_clock_ns();

    if (status == CE_OK || !engine->moe.told) {
        if (status == CE_OK && engine->options.map_weights) {
            status = ce_engine_check_files(engine, err); /* before anybody uses it */
        }
        status = ce_transport_enter(transport, "agree", status, err);
        status = ce_agree(transport, status, err);
        end_stage(engine, CE_STAGE_AGREE, &since);
    }
    transport->activity.stage = NULL;
    return status;
}

/* A rank that fails goes on without rows of its own, to tell the others in the next
 * dispatch; then all return. */
enum ce_status
ce_forward(struct ce_engine *engine, enum ce_status status, struct ce_error *err)
{
    engine->transport->activity.layer = 0;
    status = begin(engine, NULL, status, err);
    for (size_t layer = 0; layer < engine->config.layers; layer++) {
        status = run_layer(engine, layer, status, err);
        if (status != CE_OK && engine->moe.told) {
            break;
        }
    }
    if (status == CE_OK || !engine->moe.told) {
        status = compute_logits(engine, status, err);
    }
    return end(engine, status, err);
}

enum ce_status ce_forward_layer(struct ce_engine *engine,
                                size_t layer,
                                const float *before,
                                float *after,
                                enum ce_status status,
                                struct ce_error *err)
{
    engine->transport->activity.layer = layer;
    status = begin(engine, layer > 0 ? before : NULL, status, err);
    status = run_layer(engine, layer, status, err);
    if (status == CE_OK) {
        status = check_hidden(engine, layer, "MoE", err);
    }
    status = end(engine, status, err);
    if (status == CE_OK && after != NULL) {
        memcpy(after,
               engine->act.hidden,
               engine->batch.tokens * engine->config.hidden_size * sizeof(float));
    }
    return status;
}
