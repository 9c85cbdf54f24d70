/* step.c - checking and flattening a batch, then running the model over it */

#include "engine/engine.h"

#include <stdlib.h>

enum ce_status ce_sequence_create(struct ce_sequence **sequence,
                                  struct ce_engine *engine,
                                  struct ce_error *err)
{
    size_t pages = engine->sequence_positions / CE_PAGE_TOKENS;
    struct ce_sequence *s = calloc(1, sizeof(*s));

    *sequence = s;
    if (s != NULL) {
        s->engine = engine;
        s->page_capacity = pages;
        s->page = calloc(pages, sizeof(s->page[0]));
    }
    if (s == NULL || s->page == NULL) {
        free(s);
        *sequence = NULL;
        return ce_fail(err, CE_ERR_NOMEM, "no memory for a sequence");
    }
    return CE_OK;
}

void ce_sequence_destroy(struct ce_sequence *sequence)
{
    if (sequence == NULL) {
        return;
    }
    ce_sequence_release(&sequence->engine->cache, sequence);
    free(sequence->page);
    free(sequence);
}

size_t ce_sequence_length(const struct ce_sequence *sequence)
{
    return sequence->length;
}

static enum ce_status check_item(const struct ce_engine *engine,
                                 const struct ce_step_item *item,
                                 struct ce_error *err)
{
    size_t length = item->sequence->length;

    if (item->count == 0 || item->sequence->engine != engine ||
        item->sequence->last_step == engine->step) {
        return ce_fail(
            err,
            CE_ERR_ARG,
            "a sequence is in a step twice, without tokens or of another engine");
    }
    if (item->count > engine->config.max_positions - length) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "a sequence of %zu tokens is longer than the model's context of "
                       "%zu (max_position_embeddings)",
                       length + item->count,
                       engine->config.max_positions);
    }
    for (size_t i = 0; i < item->count; i++) {
        if (item->tokens[i] < 0 ||
            (size_t)item->tokens[i] >= engine->config.vocab_size) {
            return ce_fail(err,
                           CE_ERR_ARG,
                           "token %d is outside the vocabulary of %zu",
                           item->tokens[i],
                           engine->config.vocab_size);
        }
    }
    return CE_OK;
}

static enum ce_status check_room(const struct ce_engine *engine,
                                 size_t tokens,
                                 size_t rows,
                                 struct ce_error *err)
{
    if (tokens > engine->options.step_tokens || rows > engine->options.step_logits) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "a step of %zu tokens and %zu rows of logits is over the limits "
                       "%zu and %zu",
                       tokens,
                       rows,
                       engine->options.step_tokens,
                       engine->options.step_logits);
    }
    return CE_OK;
}

static size_t logits_rows(const struct ce_step_item *item)
{
    return item->logits < item->count ? item->logits : item->count;
}

static void flatten(struct ce_batch *batch, const struct ce_step_item *item)
{
    size_t rows = logits_rows(item);

    for (size_t i = 0; i < item->count; i++) {
        size_t t = batch->tokens++;

        batch->sequence[t] = item->sequence;
        batch->position[t] = (uint32_t)(item->sequence->length + i);
        batch->id[t] = item->tokens[i];
        if (item->count - i <= rows) {
            batch->logits_token[batch->rows++] = (uint32_t)t;
        }
    }
}

/* Cuts the tokens from `first` on, all of one sequence, into spans of as many queries
 * of a kv head as the kernels like. */
static void
add_spans(const struct ce_engine *engine, struct ce_batch *batch, size_t first)
{
    size_t group = engine->config.heads / engine->config.kv_heads;
    size_t most = group < CE_ATTEND_ROWS ? CE_ATTEND_ROWS / group : 1;

    for (size_t t = first; t < batch->tokens; t += most) {
        size_t left = batch->tokens - t;

        batch->span[batch->spans++] = (struct ce_span){
            .first = (uint32_t)t, .tokens = (uint32_t)(left < most ? left : most)};
    }
}

/* Checks the items, takes their pages and fills the batch. */
static enum ce_status build_batch(struct ce_engine *engine,
                                  const struct ce_step_item *items,
                                  size_t count,
                                  struct ce_error *err)
{
    struct ce_batch *batch = &engine->batch;

    batch->tokens = 0;
    batch->spans = 0;
    batch->rows = 0;
    for (size_t i = 0; i < count; i++) {
        enum ce_status status = check_item(engine, &items[i], err);

        if (status == CE_OK) {
            status = check_room(engine,
                                batch->tokens + items[i].count,
                                batch->rows + logits_rows(&items[i]),
                                err);
        }
        if (status == CE_OK) {
            status = ce_sequence_reserve(
                &engine->cache, items[i].sequence, items[i].count, err);
        }
        if (status != CE_OK) {
            return status;
        }
        items[i].sequence->last_step = engine->step;
        flatten(batch, &items[i]);
        add_spans(engine, batch, batch->tokens - items[i].count);
    }
    return CE_OK;
}

enum ce_status ce_engine_step(struct ce_engine *engine,
                              const struct ce_step_item *items,
                              size_t count,
                              const float **logits,
                              struct ce_error *err)
{
    enum ce_status status = CE_OK;

    engine->step++;
    status = build_batch(engine, items, count, err);
    status = ce_forward(engine, status, err);
    if (status != CE_OK) {
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        struct ce_sequence *sequence = items[i].sequence;

        sequence->length += items[i].count;
        ce_sequence_publish(
            &engine->cache, sequence, sequence->length - items[i].count);
    }
    engine->counters.steps++;
    engine->counters.tokens += engine->batch.tokens;
    engine->counters.logits += engine->batch.rows;
    *logits = engine->act.logits;
    return CE_OK;
}

static enum ce_status
check_whole(const struct ce_step_item *items, size_t count, struct ce_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (items[i].sequence->length > 0) {
            return ce_fail(
                err, CE_ERR_ARG, "a layer is run over sequences that have tokens");
        }
    }
    return CE_OK;
}

enum ce_status ce_engine_step_layer(struct ce_engine *engine,
                                    const struct ce_step_item *items,
                                    size_t count,
                                    size_t layer,
                                    const float *before,
                                    float *after,
                                    struct ce_error *err)
{
    enum ce_status status = check_whole(items, count, err);

    engine->step++;
    if (status == CE_OK) {
        status = build_batch(engine, items, count, err);
    }
    status = ce_forward_layer(engine, layer, before, after, status, err);
    for (size_t i = 0; i < count; i++) {
        ce_sequence_release(&engine->cache, items[i].sequence);
    }
    engine->counters.steps++;
    return status;
}

void ce_engine_reset_counters(struct ce_engine *engine)
{
    engine->counters = (struct ce_engine_counters){0};
    ce_moe_reset_counters(&engine->moe);
}

size_t ce_engine_vocab_size(const struct ce_engine *engine)
{
    return engine->config.vocab_size;
}

size_t ce_engine_max_positions(const struct ce_engine *engine)
{
    return engine->config.max_positions;
}

size_t ce_engine_compressed(const struct ce_engine *engine)
{
    return engine->compressed;
}
