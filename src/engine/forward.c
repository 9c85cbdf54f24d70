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

static enum ce_status run_attention(struct ce_engine *engine, struct ce_error *err)
{
    size_t layer = engine->transport->activity.layer;
    uint64_t since = ce_clock_ns();
    enum ce_status status = CE_OK;

    if (layer > 0) { /* what the layer before has added */
        status = check_hidden(engine, layer - 1, "MoE", err);
    }
    if (status != CE_OK) {
        return status;
    }
    ce_attention_run(engine, layer);
    show(engine, "attn_out", layer, engine->act.branch);
    norm_rows(engine, engine->act.normed, engine->weights.layers[layer].moe_norm);
    show(engine, "moe_in", layer, engine->act.normed);
    end_stage(engine, CE_STAGE_ATTENTION, &since);
    return check_hidden(engine, layer, "attention", err);
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

/* Final norm and output projection of the rows asked for only. */
static enum ce_status compute_logits(struct ce_engine *engine, struct ce_error *err)
{
    struct ce_activations *act = &engine->act;
    const struct ce_batch *batch = &engine->batch;
    size_t d = engine->config.hidden_size;
    size_t vocab = engine->config.vocab_size;
    struct ce_rows x;
    enum ce_status status = check_hidden(engine, engine->config.layers - 1, "MoE", err);

    if (status != CE_OK) {
        return status;
    }
    for (size_t i = 0; i < batch->rows; i++) {
        engine->kernels->rms_norm(act->last + i * d,
                                  act->hidden + batch->logits_token[i] * d,
                                  engine->weights.norm,
                                  d,
                                  engine->config.rms_norm_eps);
    }
    x = ce_engine_rows(engine, act->last, batch->rows, d);
    ce_product_parallel(
        engine->kernels, act->logits, vocab, &x, batch->rows, &engine->weights.output);
    if (!rows_are_finite(engine->kernels, act->logits, batch->rows, vocab)) {
        return ce_fail(err,
                       CE_ERR_NUMERIC,
                       "logits: a value is not finite; are the weights damaged?");
    }
    return CE_OK;
}

/* A stage of this rank alone, unless it has failed before. */
typedef enum ce_status stage_function(struct ce_engine *engine, struct ce_error *err);

static enum ce_status run_stage(struct ce_engine *engine,
                                const char *name,
                                stage_function *stage,
                                enum ce_status status,
                                struct ce_error *err)
{
    status = ce_transport_enter(engine->transport, name, status, err);
    return status == CE_OK ? stage(engine, err) : status;
}

/* All layers. A rank that fails goes on without computing, to tell the others in the
 * next dispatch; then all return. */
static enum ce_status
run_layers(struct ce_engine *engine, enum ce_status status, struct ce_error *err)
{
    struct ce_activity *now = &engine->transport->activity;

    for (now->layer = 0; now->layer < engine->config.layers; now->layer++) {
        status = run_stage(engine, "attention", run_attention, status, err);
        status = run_moe(engine, now->layer, status, err);
        if (status != CE_OK && engine->moe.told) {
            return status;
        }
    }
    now->layer = engine->config.layers - 1;
    return status;
}

enum ce_status
ce_forward(struct ce_engine *engine, enum ce_status status, struct ce_error *err)
{
    struct ce_transport *transport = engine->transport;
    uint64_t since = ce_clock_ns();

    transport->activity.step = engine->step;
    transport->activity.layer = 0;
    status = run_stage(engine, "embed", embed, status, err);
    end_stage(engine, CE_STAGE_EMBED, &since);
    engine->moe.told = false;
    status = run_layers(engine, status, err);
    if (status == CE_OK || !engine->moe.told) {
        since = ce_clock_ns();
        status = run_stage(engine, "logits", compute_logits, status, err);
        end_stage(engine, CE_STAGE_LOGITS, &since);
        status = ce_transport_enter(transport, "agree", status, err);
        status = ce_agree(transport, status, err);
        end_stage(engine, CE_STAGE_AGREE, &since);
    }
    transport->activity.stage = NULL;
    return status;
}
