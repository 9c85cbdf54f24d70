/* dense.c - rows of all ranks in one place, and this rank's part of the matrices */

#include "engine/dense.h"

#include "engine/engine.h"
#include "moe/split.h"

/* ---- memory ---- */

static float *take_rows(struct ce_arena *arena, size_t rows, size_t width)
{
    return ce_arena_take(arena, rows, width * sizeof(float));
}

static void take_arrays(struct ce_engine *engine, struct ce_arena *arena, size_t ranks)
{
    const struct ce_config *config = &engine->config;
    struct ce_activations *all = &engine->dense.all;
    const size_t tokens = engine->options.step_tokens * ranks;
    const size_t logits = engine->options.step_logits * ranks;
    const size_t d = config->hidden_size;
    const size_t q = config->heads * config->head_dim;
    const size_t kv = config->kv_heads * config->head_dim;

    all->normed = take_rows(arena, tokens, d);
    all->q = take_rows(arena, tokens, q);
    all->k = take_rows(arena, tokens, kv);
    all->v = take_rows(arena, tokens, kv);
    all->mixed = take_rows(arena, tokens, q);
    all->branch = take_rows(arena, tokens, d);
    all->last = take_rows(arena, logits, d);
    if (ce_weight_format_is_packed(engine->formats.dense)) {
        const size_t blocks = ce_quantised_blocks(q > d ? q : d);

        engine->dense.blocks =
            ce_arena_take(arena,
                          (tokens > logits ? tokens : logits) * blocks,
                          sizeof(engine->dense.blocks[0]));
    }
    all->logits = take_rows(arena, logits, config->vocab_size);
}

static float *rows_from(float *all, size_t first, size_t width)
{
    return all != NULL ? all + first * width : NULL;
}

static void place_rows(struct ce_engine *engine)
{
    const struct ce_config *config = &engine->config;
    const struct ce_activations *all = &engine->dense.all;
    struct ce_activations *act = &engine->act;
    const size_t token = engine->dense.tokens.first;
    const size_t row = engine->dense.logits.first;
    const size_t q = config->heads * config->head_dim;
    const size_t kv = config->kv_heads * config->head_dim;

    act->normed = rows_from(all->normed, token, config->hidden_size);
    act->q = rows_from(all->q, token, q);
    act->k = rows_from(all->k, token, kv);
    act->v = rows_from(all->v, token, kv);
    act->mixed = rows_from(all->mixed, token, q);
    act->branch = rows_from(all->branch, token, config->hidden_size);
    act->last = rows_from(all->last, row, config->hidden_size);
    act->logits = rows_from(all->logits, row, config->vocab_size);
}

/* Behind what split experts have there; a measuring arena before the window is made. */
static struct ce_arena window_arena(const struct ce_engine *engine)
{
    const size_t used = ce_split_window_bytes(&engine->moe, 0);
    struct ce_arena arena = {.used = used};

    if (engine->window == NULL) {
        arena.measuring = true;
    } else {
        arena.memory = engine->window->of[0];
        arena.capacity = used + engine->dense.window_bytes;
    }
    return arena;
}

void ce_dense_take(struct ce_engine *engine, struct ce_arena *arena)
{
    struct ce_dense *dense = &engine->dense;

    if (engine->split == CE_EXPERT_SPLIT_NONE) {
        take_arrays(engine, arena, 1);
    } else {
        const size_t ranks = (size_t)engine->transport->ranks;
        struct ce_arena shared = window_arena(engine);
        const size_t before = shared.used;

        dense->count = ce_arena_take(&shared, ranks, sizeof(dense->count[0]));
        take_arrays(engine, &shared, ranks);
        dense->window_bytes = shared.used - before;
    }
    place_rows(engine);
}

/* ---- a step ---- */

/* Where ranks share, a meeting. Of two failures the own is nearer to the cause. */
static enum ce_status
meet(const struct ce_engine *engine, enum ce_status status, struct ce_error *err)
{
    struct ce_error broken = {.text = ""};

    if (engine->window == NULL) {
        return status;
    }
    const enum ce_status met =
        ce_window_meet(engine->window, status == CE_OK ? err : &broken);
    return status == CE_OK ? met : status;
}

static void add_rows(struct ce_dense_rows *rows, size_t theirs, int compared)
{
    rows->first += compared < 0 ? theirs : 0;
    rows->mine = compared == 0 ? theirs : rows->mine;
    rows->all += theirs;
}

static enum ce_status read_counts(struct ce_engine *engine, struct ce_error *err)
{
    struct ce_dense *dense = &engine->dense;

    for (int r = 0; r < engine->transport->ranks; r++) {
        const struct ce_dense_count count = dense->count[r];

        if (count.tokens > engine->options.step_tokens ||
            count.logits > engine->options.step_logits) {
            dense->tokens = dense->logits = (struct ce_dense_rows){0};
            ce_transport_fail(engine->transport);
            return ce_fail(err, CE_ERR_COMM, "rank %d brings more rows than can be", r);
        }
        add_rows(&dense->tokens, (size_t)count.tokens, r - engine->transport->rank);
        add_rows(&dense->logits, (size_t)count.logits, r - engine->transport->rank);
    }
    return CE_OK;
}

/* Tells the others, and hears where this rank's rows are among theirs. */
static enum ce_status
share_counts(struct ce_engine *engine, enum ce_status status, struct ce_error *err)
{
    struct ce_dense *dense = &engine->dense;
    struct ce_error broken = {.text = ""};

    dense->count[engine->transport->rank] = (struct ce_dense_count){
        .tokens = dense->tokens.mine, .logits = dense->logits.mine};
    status = meet(engine, status, err);
    dense->tokens = dense->logits = (struct ce_dense_rows){0};
    if (!engine->transport->failed) {
        const enum ce_status read =
            read_counts(engine, status == CE_OK ? err : &broken);

        status = status == CE_OK ? read : status;
    }
    place_rows(engine);
    return status;
}

enum ce_status
ce_dense_begin(struct ce_engine *engine, enum ce_status status, struct ce_error *err)
{
    struct ce_dense *dense = &engine->dense;
    const size_t tokens = status == CE_OK ? engine->batch.tokens : 0;
    const size_t logits = status == CE_OK ? engine->batch.rows : 0;

    dense->tokens = (struct ce_dense_rows){.mine = tokens, .all = tokens};
    dense->logits = (struct ce_dense_rows){.mine = logits, .all = logits};
    if (engine->window != NULL) {
        status = share_counts(engine, status, err);
    }
    engine->counters.dense_steps += dense->tokens.all > 0;
    engine->counters.logits_steps += dense->logits.all > 0;
    return status;
}

/* The rows of all ranks; this rank's are quantised now unless it has failed. */
static struct ce_rows gather_rows(struct ce_engine *engine,
                                  const struct ce_dense_rows *rows,
                                  const float *x,
                                  size_t inputs,
                                  enum ce_status status)
{
    const size_t stride = ce_quantised_blocks(inputs);
    struct ce_quantised_block *blocks = engine->dense.blocks;
    struct ce_rows mine = {.values = x, .stride = inputs};

    if (blocks != NULL && status == CE_OK) {
        ce_rows_quantise(
            engine->kernels, &mine, blocks + rows->first * stride, rows->mine, inputs);
    }
    return (struct ce_rows){.values = x - rows->first * inputs,
                            .stride = inputs,
                            .blocks = blocks,
                            .block_stride = stride};
}

enum ce_status ce_dense_run(struct ce_engine *engine,
                            const struct ce_dense_rows *rows,
                            const float *x,
                            size_t inputs,
                            const struct ce_dense_output *output,
                            size_t outputs,
                            enum ce_status status,
                            struct ce_error *err)
{
    if (rows->all == 0 || (engine->window == NULL && status != CE_OK)) {
        return status;
    }
    const struct ce_rows all = gather_rows(engine, rows, x, inputs, status);

    status = meet(engine, status, err);
    for (size_t i = 0; i < outputs; i++) {
        const struct ce_slice slice =
            ce_weights_slice(ce_engine_share(engine), output[i].outputs);

        ce_product_parallel(engine->kernels,
                            output[i].y - rows->first * output[i].outputs + slice.first,
                            output[i].outputs,
                            &all,
                            rows->all,
                            output[i].matrix);
    }
    return meet(engine, status, err);
}
