/* moe.c - one MoE block over all ranks, stage by stage */

#include "moe/moe.h"

#include "base/clock.h"
#include "base/memory.h"
#include "moe/flow.h"
#include "moe/split.h"

#include <string.h>

/* Assignments an expert tile works on: bounds the scratch, not the results. */
#define TILE 512

/* The most assignments that can arrive in one layer. */
static size_t most_assignments(const struct ce_moe *moe)
{
    size_t shard = ce_placement_largest_shard(moe->placement);

    return moe->max_tokens * (size_t)moe->transport->ranks *
           ce_size_min(moe->mains, shard);
}

static void take_work(struct ce_moe *moe, struct ce_arena *arena)
{
    moe->work.kernels = moe->kernels;
    moe->work.wire = moe->wire;
    moe->work.packed = moe->packed_experts;
    moe->work.results_wire =
        moe->combine == CE_COMBINE_PARTIAL || moe->split == CE_EXPERT_SPLIT_NODE
            ? ce_wire_for(CE_WIRE_F32, moe->hidden)
            : moe->wire;
    moe->work.experts = moe->experts;
    moe->work.hidden = moe->hidden;
    moe->work.intermediate = moe->intermediate;
    moe->work.capacity = most_assignments(moe);
    moe->work.tile = ce_size_min(moe->work.capacity, TILE);
    ce_experts_take(&moe->work, arena);
    if (moe->split == CE_EXPERT_SPLIT_NODE) {
        moe->work.gate_slice = ce_weights_slice(moe->share, moe->intermediate);
        moe->work.down_slice = ce_weights_slice(moe->share, moe->hidden);
    }
}

static void take_affine(struct ce_moe *moe, struct ce_arena *arena)
{
    moe->affine = (struct ce_affine){.kernels = moe->kernels,
                                     .experts = moe->experts,
                                     .hidden = moe->hidden,
                                     .auxiliary = moe->affine_experts,
                                     .inputs = moe->affine_inputs,
                                     .max_tokens = moe->max_tokens};
    if (moe->affine_experts > 0) {
        ce_affine_take(&moe->affine, arena);
    }
}

/* For what travels in messages: all but the ranks' own. */
static void take_outboxes(struct ce_moe *moe, struct ce_arena *arena)
{
    size_t tokens = moe->max_tokens;
    size_t ranks = (size_t)moe->transport->ranks;
    bool partial = moe->combine == CE_COMBINE_PARTIAL;
    size_t rows = partial ? tokens * ranks : most_assignments(moe); /* of results */

    ce_outbox_take(&moe->dispatch,
                   arena,
                   ce_dispatch_capacity(
                       tokens, moe->mains, moe->auxiliary, ranks, moe->wire.row_bytes),
                   ranks);
    ce_outbox_take(&moe->results,
                   arena,
                   ranks * 2 * ce_message_combine_bytes(0, 0) +
                       rows * moe->wire.row_bytes,
                   ranks);
}

void ce_moe_take(struct ce_moe *moe, struct ce_arena *arena)
{
    size_t tokens = moe->max_tokens;
    size_t ranks = (size_t)moe->transport->ranks;
    bool split = moe->split == CE_EXPERT_SPLIT_NODE;
    size_t destinations = split ? 1 : ranks;

    moe->logits = ce_arena_take(arena, tokens * moe->experts, sizeof(float));
    moe->routing.top_k = moe->top_k;
    moe->routing.expert = ce_arena_take(arena, tokens * moe->top_k, sizeof(uint16_t));
    moe->routing.weight = ce_arena_take(arena, tokens * moe->top_k, sizeof(float));
    ce_plan_take(&moe->plan, arena, tokens, moe->mains, destinations);
    ce_plan_full_take(&moe->full, arena, moe->top_k, destinations);
    if (!split) {
        take_outboxes(moe, arena);
    } else if (moe->wire.format != CE_WIRE_F32) {
        moe->rounded = ce_arena_take(arena, tokens * moe->mains, moe->wire.row_bytes);
    }
    moe->arrival = ce_arena_take(arena, ranks, sizeof(moe->arrival[0]));
    moe->source = ce_arena_take(arena, ranks, sizeof(moe->source[0]));
    moe->rows = ce_arena_take(arena, ranks, sizeof(moe->rows[0]));
    moe->answered = ce_arena_take(arena, ranks, sizeof(moe->answered[0]));
    moe->incoming = ce_arena_take(arena, ranks, sizeof(moe->incoming[0]));
    moe->peer = ce_arena_take(arena, ranks, sizeof(moe->peer[0]));
    moe->shard = ce_placement_largest_shard(moe->placement);
    if (moe->combine == CE_COMBINE_PARTIAL) {
        moe->sums =
            ce_arena_take(arena, most_assignments(moe), moe->hidden * sizeof(float));
        moe->first = ce_arena_take(arena, tokens, sizeof(moe->first[0]));
    }
    take_work(moe, arena);
    take_affine(moe, arena);
}

/* Twice what a rank has of all experts, and a few rows: routers are not uniform, but
 * few are so far from it. */
#define USUAL_FACTOR 2
#define USUAL_ROWS   8

static size_t usual_mains(const struct ce_moe *moe)
{
    return USUAL_ROWS +
           USUAL_FACTOR * moe->max_tokens * moe->mains * moe->shard / moe->experts;
}

void ce_moe_message_sizes(const struct ce_moe *moe,
                          struct ce_message_size size[CE_SLOT_COUNT])
{
    size_t tokens = moe->max_tokens;
    size_t row_bytes = moe->wire.row_bytes;
    size_t mains = tokens * ce_size_min(moe->mains, moe->shard);
    size_t usual = ce_size_min(mains, usual_mains(moe));
    size_t pairs = mains + tokens * moe->auxiliary;
    bool partial = moe->combine == CE_COMBINE_PARTIAL;

    memset(size, 0, CE_SLOT_COUNT * sizeof(size[0]));
    if (moe->split == CE_EXPERT_SPLIT_NODE) {
        return; /* rows are in the window */
    }
    size[CE_SLOT_DISPATCH].largest =
        ce_message_dispatch_bytes(tokens, pairs, row_bytes);
    size[CE_SLOT_DISPATCH].usual =
        ce_message_dispatch_bytes(ce_size_min(tokens, usual), pairs, row_bytes);
    size[CE_SLOT_COMBINE].largest =
        ce_message_combine_bytes(partial ? tokens : mains, row_bytes);
    size[CE_SLOT_COMBINE].usual = ce_message_combine_bytes(
        partial ? ce_size_min(tokens, usual) : usual, row_bytes);
}

void ce_moe_reset_counters(struct ce_moe *moe)
{
    moe->counters = (struct ce_moe_counters){0};
    memset(moe->peer, 0, (size_t)moe->transport->ranks * sizeof(moe->peer[0]));
    moe->work.experts_read = 0;
    if (moe->window != NULL) {
        moe->window->wait_ns = 0;
    }
    moe->work.uniform_thetas = 0;
}

static const char *const overlaps[CE_OVERLAPS] = {"auto", "on", "off"};

const char *ce_overlap_name(enum ce_overlap overlap)
{
    return overlaps[overlap];
}

enum ce_status
ce_overlap_by_name(enum ce_overlap *overlap, const char *name, struct ce_error *err)
{
    for (int i = 0; i < CE_OVERLAPS; i++) {
        if (name == NULL || strcmp(name, overlaps[i]) == 0) {
            *overlap = (enum ce_overlap)i;
            return CE_OK;
        }
    }
    return ce_fail(
        err, CE_ERR_ARG, "unknown overlap \"%s\"; there are auto, on, off", name);
}

static const char *const splits[CE_EXPERT_SPLITS] = {"none", "node"};

const char *ce_expert_split_name(enum ce_expert_split split)
{
    return splits[split];
}

enum ce_status ce_expert_split_by_name(enum ce_expert_split *split,
                                       const char *name,
                                       struct ce_error *err)
{
    for (int i = 0; i < CE_EXPERT_SPLITS; i++) {
        if (name == NULL || strcmp(name, splits[i]) == 0) {
            *split = (enum ce_expert_split)i;
            return CE_OK;
        }
    }
    return ce_fail(
        err, CE_ERR_ARG, "unknown expert split \"%s\"; there are none, node", name);
}

static void end_stage(struct ce_moe *moe, enum ce_moe_stage stage, uint64_t *since)
{
    uint64_t now = ce_clock_ns();

    moe->counters.stage_ns[stage] += now - *since;
    *since = now;
}

static enum ce_status route(struct ce_moe *moe,
                            const struct ce_layer_weights *layer,
                            size_t layer_index,
                            const float *x,
                            struct ce_error *err)
{
    size_t tokens = moe->routing.tokens;
    size_t bad = SIZE_MAX;

    ce_matmul_parallel(moe->kernels,
                       moe->logits,
                       moe->experts,
                       x,
                       moe->hidden,
                       tokens,
                       &layer->router);
#pragma omp parallel for schedule(static) reduction(min : bad)
    for (size_t t = 0; t < tokens; t++) {
        float *logits = moe->logits + t * moe->experts;

        if (!moe->kernels->all_finite(logits, moe->experts)) {
            bad = t < bad ? t : bad;
            continue;
        }
        ce_router_select(moe->kernels,
                         logits,
                         moe->experts,
                         moe->top_k,
                         moe->norm_topk_prob,
                         moe->routing.expert + t * moe->top_k,
                         moe->routing.weight + t * moe->top_k);
    }
    if (bad != SIZE_MAX) {
        return ce_fail(
            err,
            CE_ERR_NUMERIC,
            "layer %zu, router: a logit is not finite; are the weights damaged?",
            layer_index);
    }
    return CE_OK;
}

static void make_plan(struct ce_moe *moe, size_t layer_index)
{
    bool split = moe->split == CE_EXPERT_SPLIT_NODE;
    size_t sender = split ? 0 : (size_t)moe->transport->rank;

    ce_plan_build(&moe->plan, &moe->routing, moe->placement, layer_index, sender);
    if (!split && moe->mains < moe->top_k) {
        ce_plan_full_count(
            &moe->full, &moe->routing, moe->placement, layer_index, sender);
    }
}

/* What the tokens of the layer would take at rank r with all experts in full. */
static void count_full(const struct ce_moe *moe, size_t r, struct ce_moe_peer *peer)
{
    const struct ce_plan *plan = &moe->plan;
    size_t rows = plan->row_begin[r + 1] - plan->row_begin[r];
    size_t assignments = plan->assignment_begin[r + 1] - plan->assignment_begin[r];

    if (moe->mains < moe->top_k) {
        rows = moe->full.rows[r + 1];
        assignments = moe->full.assignments[r + 1];
    }
    peer->full_rows += rows;
    peer->full_assignments += assignments;
    peer->full_metadata_bytes += ce_message_metadata_bytes(rows, assignments);
    peer->assignment_metadata_bytes +=
        ce_message_metadata_bytes(assignments, assignments);
}

/* Rows to and from every rank in the layer that has just been run. */
static void count(struct ce_moe *moe)
{
    const struct ce_plan *plan = &moe->plan;

    moe->counters.tokens += plan->tokens;
    if (moe->split == CE_EXPERT_SPLIT_NODE) { /* nothing is sent */
        moe->counters.assignments += plan->assignment_begin[1];
        return;
    }
    for (size_t r = 0; r < plan->ranks; r++) {
        const struct ce_dispatch_view *view = &moe->arrival[r].view;
        struct ce_moe_peer *peer = &moe->peer[r];
        bool partial = moe->combine == CE_COMBINE_PARTIAL;

        peer->rows_sent += plan->row_begin[r + 1] - plan->row_begin[r];
        peer->rows_received += view->rows;
        peer->results_sent += partial ? view->rows : view->assignments;
        peer->results_received += ce_combine_rows(plan, moe->combine, r);
        count_full(moe, r, peer);
        moe->counters.assignments += view->assignments;
    }
}

enum ce_status ce_moe_run(struct ce_moe *moe,
                          const struct ce_layer_weights *layer,
                          size_t layer_index,
                          uint32_t step,
                          enum ce_status status,
                          const float *x,
                          float *y,
                          size_t tokens,
                          struct ce_error *err)
{
    const struct ce_message_key key = {step, (uint16_t)layer_index, CE_PHASE_DISPATCH};
    uint64_t since = ce_clock_ns();

    moe->told = false;
    moe->routing.tokens = tokens;
    status = ce_transport_enter(moe->transport, "router", status, err);
    if (status == CE_OK) {
        status = route(moe, layer, layer_index, x, err);
    }
    end_stage(moe, CE_MOE_ROUTER, &since);
    status = ce_transport_enter(moe->transport, "plan", status, err);
    if (status == CE_OK) {
        make_plan(moe, layer_index);
    }
    end_stage(moe, CE_MOE_PLAN, &since);
    status = moe->split == CE_EXPERT_SPLIT_NODE
                 ? ce_split_run(moe, layer, key, status, x, y, err)
                 : ce_flow_run(moe, layer, key, status, x, y, err);
    if (status == CE_OK) {
        count(moe);
    }
    return status;
}
