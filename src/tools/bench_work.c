/* bench_work.c - counting what steps do */

#include "tools/bench_work.h"

void ce_work_count(struct ce_work *work, const struct ce_step_item *item, size_t count)
{
    uint64_t rows = 0;

    for (size_t i = 0; i < count; i++) {
        const uint64_t before = ce_sequence_length(item[i].sequence);
        const uint64_t n = item[i].count;

        work->tokens += n;
        work->pairs += n * before + n * (n + 1) / 2;
        rows += item[i].logits < n ? item[i].logits : n;
    }
    work->steps++;
    work->token_steps += count > 0;
    work->logits += rows;
}

struct ce_work_mark ce_work_mark(const struct ce_engine *engine)
{
    struct ce_work_mark mark = {.assignments = engine->moe.counters.assignments,
                                .experts_read = engine->moe.work.experts_read,
                                .dense_reads = engine->counters.dense_steps,
                                .logits_reads = engine->counters.logits_steps};

    for (int i = 0; i < CE_STAGES; i++) {
        mark.stage_ns[i] = engine->counters.stage_ns[i];
    }
    for (int i = 0; i < CE_MOE_STAGES; i++) {
        mark.moe_ns[i] = engine->moe.counters.stage_ns[i];
    }
    return mark;
}

void ce_work_add(struct ce_work *work,
                 const struct ce_engine *engine,
                 const struct ce_work_mark *since)
{
    const struct ce_work_mark now = ce_work_mark(engine);

    work->assignments += now.assignments - since->assignments;
    work->experts_read += now.experts_read - since->experts_read;
    work->dense_reads += now.dense_reads - since->dense_reads;
    work->logits_reads += now.logits_reads - since->logits_reads;
    for (int i = 0; i < CE_STAGES; i++) {
        work->stage_ns[i] += now.stage_ns[i] - since->stage_ns[i];
    }
    for (int i = 0; i < CE_MOE_STAGES; i++) {
        work->moe_ns[i] += now.moe_ns[i] - since->moe_ns[i];
    }
}

static uint64_t matrix_bytes(const struct ce_matrix *matrix)
{
    return ce_weights_matrix_bytes(matrix->dtype, matrix->outputs, matrix->inputs);
}

/* Of attention, over all layers: the whole or this rank's slices. */
static uint64_t attention_bytes(const struct ce_engine *engine)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < engine->config.layers; i++) {
        const struct ce_layer_weights *layer = &engine->weights.layers[i];

        bytes += matrix_bytes(&layer->q) + matrix_bytes(&layer->k) +
                 matrix_bytes(&layer->v) + matrix_bytes(&layer->o);
    }
    return bytes;
}

/* Full experts that this rank holds, over all layers. */
static uint64_t count_owned(const struct ce_engine *engine)
{
    uint64_t owned = 0;

    for (size_t i = 0; i < engine->config.layers * engine->config.experts; i++) {
        owned += engine->weights.experts[i].gate.data != NULL;
    }
    return owned;
}

uint64_t ce_work_bytes(const struct ce_work *work, const struct ce_engine *engine)
{
    const struct ce_weights *weights = &engine->weights;
    const uint64_t output = matrix_bytes(&weights->output);
    const uint64_t owned = count_owned(engine);
    const uint64_t expert = owned > 0 ? weights->expert_bytes / owned : 0;
    const uint64_t attention = attention_bytes(engine);
    uint64_t rest =
        weights->dense_bytes - matrix_bytes(&weights->embedding) - attention;

    if (!engine->config.tie_word_embeddings) {
        rest -= output;
    }
    return work->token_steps * rest + work->dense_reads * attention +
           work->logits_reads * output + work->experts_read * expert;
}

double ce_work_flops(const struct ce_work *work, const struct ce_config *config)
{
    const double d = (double)config->hidden_size;
    const double q = (double)(config->heads * config->head_dim);
    const double kv = (double)(config->kv_heads * config->head_dim);
    const double layers = (double)config->layers;
    const double dense = layers * d * (2 * q + 2 * kv + (double)config->experts);
    const double expert = 3 * d * (double)config->intermediate_size;

    return 2 * ((double)work->tokens * dense + (double)work->assignments * expert +
                (double)work->logits * (double)config->vocab_size * d) +
           4 * q * layers * (double)work->pairs;
}

void ce_work_join(struct ce_work *work, const struct ce_work *other)
{
    work->tokens += other->tokens;
    work->token_steps += other->token_steps;
    work->dense_reads += other->dense_reads;
    work->logits_reads += other->logits_reads;
    work->logits += other->logits;
    work->pairs += other->pairs;
    work->assignments += other->assignments;
    work->experts_read += other->experts_read;
    work->bytes += other->bytes;
}
