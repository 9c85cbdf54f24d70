/* engine_memory.c - what an engine needs, known before anything is loaded */

#include "base/host.h"
#include "base/log.h"
#include "base/memory.h"
#include "comm/collective.h"
#include "engine/engine.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static void take_batch(struct ce_engine *engine, struct ce_arena *arena)
{
    struct ce_batch *batch = &engine->batch;
    size_t tokens = engine->options.step_tokens;

    batch->sequence = ce_arena_take(arena, tokens, sizeof(batch->sequence[0]));
    batch->position = ce_arena_take(arena, tokens, sizeof(batch->position[0]));
    batch->id = ce_arena_take(arena, tokens, sizeof(batch->id[0]));
    batch->span = ce_arena_take(arena, tokens, sizeof(batch->span[0]));
    batch->logits_token = ce_arena_take(
        arena, engine->options.step_logits, sizeof(batch->logits_token[0]));
}

/* Angles as Hugging Face computes them: frequency and angle in F32; cosine and
 * sine are then rounded once. */
static void fill_rotary(struct ce_engine *engine)
{
    size_t half = engine->config.head_dim / 2;

    for (size_t i = 0; i < half; i++) {
        float exponent = (float)(2 * i) / (float)engine->config.head_dim;
        float frequency =
            1.0F / (float)pow(engine->config.rope_theta, (double)exponent);

        for (size_t p = 0; p < engine->sequence_positions; p++) {
            double angle = (double)((float)p * frequency);

            engine->cosine[p * half + i] = (float)cos(angle);
            engine->sine[p * half + i] = (float)sin(angle);
        }
    }
}

static void take_moe(struct ce_engine *engine, struct ce_arena *arena)
{
    const struct ce_config *config = &engine->config;
    const bool split = engine->split == CE_EXPERT_SPLIT_NODE;
    const bool affine = engine->separate.kind == CE_COMPRESSED_AFFINE;

    engine->moe = (struct ce_moe){
        .kernels = engine->kernels,
        .transport = engine->transport,
        .placement = split ? &engine->whole : &engine->placement,
        .hidden = config->hidden_size,
        .intermediate = config->intermediate_size,
        .experts = config->experts,
        .top_k = config->top_k,
        .mains = engine->mains,
        .auxiliary = affine ? 0 : engine->compressed,
        .affine_experts = affine ? engine->compressed : 0,
        .affine_inputs = engine->separate.most_inputs,
        .norm_topk_prob = config->norm_topk_prob,
        .wire = ce_wire_for(engine->wire, config->hidden_size),
        .max_tokens = engine->options.step_tokens,
        .packed_experts = ce_weight_format_is_packed(engine->formats.experts),
        .combine = engine->combine,
        .overlap = engine->overlap,
        .split = engine->split,
        .share = ce_engine_share(engine),
        .window = engine->window,
    };
    ce_moe_take(&engine->moe, arena);
}

void ce_engine_take(struct ce_engine *engine, struct ce_arena *arena)
{
    size_t angles = engine->sequence_positions * engine->config.head_dim / 2;
    size_t before = 0;

    engine->cosine = ce_arena_take(arena, angles, sizeof(float));
    engine->sine = ce_arena_take(arena, angles, sizeof(float));
    if (engine->cosine != NULL && engine->sine != NULL) {
        fill_rotary(engine);
    }
    before = arena->used;
    ce_kv_cache_take(&engine->cache,
                     arena,
                     &engine->config,
                     engine->kv,
                     engine->options.cache_tokens);
    engine->plan.cache = arena->used - before;
    take_batch(engine, arena);
    engine->act.hidden = ce_arena_take(
        arena, engine->options.step_tokens, engine->config.hidden_size * sizeof(float));
    take_moe(engine, arena);
    ce_dense_take(engine, arena);
}

/* A sum that stays at the largest size instead of wrapping to a small one. */
static size_t add_bytes(size_t a, size_t b)
{
    size_t sum = 0;

    return ce_size_add(a, b, &sum) == CE_OK ? sum : SIZE_MAX;
}

/* What a rank brings to the comparison. */
struct demand {
    struct ce_host host;
    uint64_t bytes;
    uint64_t available;
};

/* The demands of all ranks of this host together. */
struct sum {
    struct demand mine;
    size_t bytes;
    size_t machine_bytes; /* with those of other hosts on the same machine */
    int ranks;
};

static enum ce_status add_demands(struct sum *sum,
                                  const struct ce_bytes *all,
                                  int ranks,
                                  struct ce_error *err)
{
    for (int r = 0; r < ranks; r++) {
        struct demand demand;

        if (all[r].bytes != sizeof(demand)) {
            return ce_fail(err, CE_ERR_COMM, "rank %d sent a bad memory plan", r);
        }
        memcpy(&demand, all[r].data, sizeof(demand));
        if (demand.host.machine == sum->mine.host.machine) {
            sum->machine_bytes = add_bytes(sum->machine_bytes, demand.bytes);
        }
        if (ce_host_is_same(&demand.host, &sum->mine.host)) {
            sum->bytes = add_bytes(sum->bytes, demand.bytes);
            sum->ranks++;
        }
    }
    return CE_OK;
}

/* Each rank brings what it needs. Collective, and the failure is not agreed upon. */
static enum ce_status
compare(struct ce_engine *engine, size_t bytes, struct sum *sum, struct ce_error *err)
{
    const struct ce_bytes *all = NULL;
    enum ce_status status = CE_OK;

    *sum = (struct sum){.mine = {.bytes = bytes, .available = ce_memory_available()}};
    ce_host_self(&sum->mine.host);
    status = ce_allgather(
        engine->transport, (struct ce_bytes){&sum->mine, sizeof(sum->mine)}, &all, err);
    if (status == CE_OK) {
        status = add_demands(sum, all, engine->transport->ranks, err);
    }
    sum->mine.available = ce_host_memory_left(sum->mine.available,
                                              ce_memory_available_to_machine(),
                                              sum->machine_bytes,
                                              sum->bytes);
    return status;
}

/* The most that buffers and messages take with any number of main experts that the
 * engine may be asked for. */
static void measure_largest(struct ce_engine *engine, struct ce_arena *measure)
{
    const size_t mains = engine->mains;
    const size_t compressed = engine->compressed;

    if (engine->options.switchable) {
        engine->mains = engine->config.top_k;
        engine->compressed = engine->config.top_k - 1;
    }
    ce_arena_measure(measure);
    ce_engine_take(engine, measure);
    ce_moe_message_sizes(&engine->moe, engine->message_size);
    engine->mains = mains;
    engine->compressed = compressed;
}

void ce_engine_measure(struct ce_engine *engine, const struct ce_weights *weights_plan)
{
    struct ce_memory_plan *plan = &engine->plan;
    struct ce_arena measure = {0};

    measure_largest(engine, &measure);
    plan->scratch = measure.used - plan->cache;
    plan->dense = weights_plan->dense_bytes;
    plan->experts = weights_plan->expert_bytes;
    plan->compressed = weights_plan->compressed_bytes + engine->separate.bytes;
    plan->receive = ce_transport_receive_bytes(engine->transport, engine->message_size);
    plan->receive += ce_engine_window_bytes(engine);
    plan->extra = engine->options.extra_bytes;
    plan->total =
        add_bytes(add_bytes(weights_plan->arena.used, weights_plan->mapped_bytes),
                  add_bytes(measure.used, add_bytes(plan->receive, plan->extra)));
    plan->total = add_bytes(plan->total, engine->separate.arena.used);
}

static enum ce_status
fail_memory(const struct ce_engine *engine, const struct sum *sum, struct ce_error *err)
{
    const struct ce_memory_plan *plan = &engine->plan;

    return ce_fail(
        err,
        CE_ERR_NOMEM,
        "not enough memory on %s: %d rank(s) need %.1f MiB, %.1f MiB are free; "
        "this rank: dense weights %.1f, experts %.1f, compressed experts %.1f, "
        "KV cache %.1f (--cache-tokens), buffers %.1f (--step-tokens), messages %.1f",
        sum->mine.host.name,
        sum->ranks,
        (double)sum->bytes / 0x1p20,
        (double)sum->mine.available / 0x1p20,
        (double)plan->dense / 0x1p20,
        (double)plan->experts / 0x1p20,
        (double)plan->compressed / 0x1p20,
        (double)plan->cache / 0x1p20,
        (double)plan->scratch / 0x1p20,
        (double)plan->receive / 0x1p20);
}

enum ce_status ce_engine_check_memory(struct ce_engine *engine,
                                      const struct ce_weights *weights_plan,
                                      struct ce_error *err)
{
    struct sum sum;
    enum ce_status status = CE_OK;

    ce_engine_measure(engine, weights_plan);
    status = compare(engine, engine->plan.total, &sum, err);
    if (status == CE_OK && sum.bytes > sum.mine.available) {
        status = fail_memory(engine, &sum, err);
    }
    return ce_agree(engine->transport, status, err);
}

enum ce_status ce_engine_check_compressed_memory(struct ce_engine *engine,
                                                 struct ce_error *err)
{
    struct ce_arena measure = {0};
    struct sum sum;
    enum ce_status status = CE_OK;

    measure_largest(engine, &measure);
    status = compare(
        engine, add_bytes(measure.used, engine->separate.arena.used), &sum, err);
    if (status == CE_OK && sum.bytes > sum.mine.available) {
        status = ce_fail(err,
                         CE_ERR_NOMEM,
                         "not enough memory on %s: %d rank(s) need %.1f MiB for other "
                         "compressed experts and their buffers, %.1f MiB are free",
                         sum.mine.host.name,
                         sum.ranks,
                         (double)sum.bytes / 0x1p20,
                         (double)sum.mine.available / 0x1p20);
    }
    return ce_agree(engine->transport, status, err);
}
