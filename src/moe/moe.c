/* moe.c - one MoE block over all ranks, stage by stage */

#include "moe/moe.h"

#include "base/clock.h"

/* Assignments an expert tile works on: bounds the scratch, not the results. */
#define TILE 512

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The most assignments that can arrive in one layer. */
static size_t most_assignments(const struct ce_moe *moe)
{
    size_t shard = ce_placement_largest_shard(moe->placement);

    return moe->max_tokens * (size_t)moe->transport->ranks *
           min_size(moe->mains, shard);
}

static void take_work(struct ce_moe *moe, struct ce_arena *arena)
{
    moe->work.kernels = moe->kernels;
    moe->work.wire = moe->wire;
    moe->work.experts = moe->experts;
    moe->work.hidden = moe->hidden;
    moe->work.intermediate = moe->intermediate;
    moe->work.capacity = most_assignments(moe);
    moe->work.tile = min_size(moe->work.capacity, TILE);
    ce_experts_take(&moe->work, arena);
}

void ce_moe_take(struct ce_moe *moe, struct ce_arena *arena)
{
    size_t tokens = moe->max_tokens;
    size_t ranks = (size_t)moe->transport->ranks;
    size_t results = most_assignments(moe);

    moe->logits = ce_arena_take(arena, tokens * moe->experts, sizeof(float));
    moe->routing.top_k = moe->top_k;
    moe->routing.expert = ce_arena_take(arena, tokens * moe->top_k, sizeof(uint16_t));
    moe->routing.weight = ce_arena_take(arena, tokens * moe->top_k, sizeof(float));
    ce_plan_take(&moe->plan, arena, tokens, moe->mains, ranks);
    ce_outbox_take(&moe->dispatch,
                   arena,
                   ce_dispatch_capacity(
                       tokens, moe->mains, moe->auxiliary, ranks, moe->wire.row_bytes),
                   ranks);
    ce_outbox_take(&moe->combine,
                   arena,
                   ranks * 2 * ce_message_combine_bytes(0, 0) +
                       results * moe->wire.row_bytes,
                   ranks);
    moe->view = ce_arena_take(arena, ranks, sizeof(moe->view[0]));
    moe->outgoing = ce_arena_take(arena, ranks, sizeof(moe->outgoing[0]));
    moe->incoming = ce_arena_take(arena, ranks, sizeof(moe->incoming[0]));
    take_work(moe, arena);
}

size_t ce_moe_receive_bytes(const struct ce_moe *moe)
{
    size_t peers = (size_t)moe->transport->ranks - 1;
    size_t shard = ce_placement_largest_shard(moe->placement);
    size_t results = moe->max_tokens * min_size(moe->mains, shard);
    size_t pairs = results + moe->max_tokens * moe->auxiliary;
    size_t rows =
        ce_message_dispatch_bytes(moe->max_tokens, pairs, moe->wire.row_bytes) +
        ce_message_combine_bytes(results, moe->wire.row_bytes);

    return peers * (rows + rows / 2);
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

/* Collective: sends the outbox, or that this rank failed, and takes what arrives.
 * A rank that failed keeps its own reason when the transport then fails too. */
static enum ce_status exchange(struct ce_moe *moe,
                               enum ce_slot slot,
                               struct ce_outbox *outbox,
                               const struct ce_message_key *key,
                               enum ce_status mine,
                               struct ce_error *err)
{
    struct ce_transport *transport = moe->transport;
    struct ce_error theirs = {.text = ""};
    enum ce_status status = CE_OK;

    if (mine != CE_OK) {
        ce_outbox_fail(outbox, (size_t)transport->ranks, key, mine, err);
    }
    status = ce_exchange_start(transport, slot, outbox->message, &theirs);
    if (status == CE_OK) {
        status = ce_messages_receive(transport, slot, key, &theirs);
    }
    if (transport->failed && mine != CE_OK) {
        return mine;
    }
    if (status != CE_OK) {
        *err = theirs;
    }
    return status;
}

static enum ce_status dispatch(struct ce_moe *moe,
                               const struct ce_message_key *key,
                               enum ce_status status,
                               const float *x,
                               struct ce_error *err)
{
    if (status == CE_OK) {
        ce_dispatch_pack(&moe->dispatch,
                         key,
                         &moe->plan,
                         &moe->routing,
                         moe->auxiliary,
                         x,
                         &moe->wire);
    }
    return exchange(moe, CE_SLOT_DISPATCH, &moe->dispatch, key, status, err);
}

/* Reads what arrived and lays out the results for each source. */
static enum ce_status
open_inbox(struct ce_moe *moe, const struct ce_message_key *key, struct ce_error *err)
{
    const struct ce_bytes *received = moe->transport->slot[CE_SLOT_DISPATCH].received;
    size_t assignments = 0;

    ce_outbox_clear(&moe->combine);
    for (int r = 0; r < moe->transport->ranks; r++) {
        struct ce_dispatch_view *view = &moe->view[r];
        enum ce_status status = ce_message_read_dispatch(
            &received[r], moe->wire.row_bytes, moe->auxiliary, r, view, err);
        void *message = NULL;

        if (status != CE_OK) {
            return status;
        }
        assignments += view->assignments;
        if (assignments > moe->work.capacity) {
            return ce_fail(err, CE_ERR_COMM, "rank %d sent more rows than can be", r);
        }
        ce_outbox_reserve(
            &moe->combine,
            (size_t)r,
            ce_message_combine_bytes(view->assignments, moe->wire.row_bytes));
        message = ce_outbox_message(&moe->combine, (size_t)r);
        ce_message_write_header(
            message, key, view->assignments, 0, 0, moe->wire.row_bytes);
        moe->outgoing[r] = ce_message_combine_rows(message);
    }
    return CE_OK;
}

static enum ce_status run_experts(struct ce_moe *moe,
                                  const struct ce_layer_weights *layer,
                                  const struct ce_message_key *key,
                                  struct ce_error *err)
{
    enum ce_status status = open_inbox(moe, key, err);

    if (status == CE_OK) {
        status = ce_experts_collect(&moe->work,
                                    layer,
                                    moe->view,
                                    moe->outgoing,
                                    (size_t)moe->transport->ranks,
                                    err);
    }
    if (status == CE_OK) {
        status = ce_experts_run(&moe->work, layer, key->layer, moe->auxiliary, err);
    }
    return status;
}

/* The results of each rank for this rank's tokens. */
static enum ce_status read_results(struct ce_moe *moe, struct ce_error *err)
{
    struct ce_transport *transport = moe->transport;
    const size_t *begin = moe->plan.assignment_begin;
    enum ce_status status = CE_OK;

    for (int r = 0; status == CE_OK && r < transport->ranks; r++) {
        status = ce_message_read_combine(&transport->slot[CE_SLOT_COMBINE].received[r],
                                         begin[r + 1] - begin[r],
                                         moe->wire.row_bytes,
                                         r,
                                         &moe->incoming[r],
                                         err);
    }
    if (status != CE_OK) {
        ce_transport_fail(transport); /* nobody else has noticed */
    }
    return status;
}

static enum ce_status combine(struct ce_moe *moe,
                              const struct ce_message_key *key,
                              enum ce_status status,
                              float *y,
                              struct ce_error *err)
{
    status = exchange(moe, CE_SLOT_COMBINE, &moe->combine, key, status, err);
    if (status == CE_OK) {
        status = read_results(moe, err);
    }
    if (status == CE_OK) {
        ce_combine_sum(&moe->plan, moe->order, moe->incoming, y, &moe->wire);
    }
    return status;
}

static void count(struct ce_moe *moe)
{
    struct ce_moe_counters *counters = &moe->counters;
    const struct ce_plan *plan = &moe->plan;
    size_t me = (size_t)moe->transport->rank;
    size_t row = moe->wire.row_bytes;

    counters->tokens += plan->tokens;
    for (size_t r = 0; r < plan->ranks; r++) {
        size_t rows = plan->row_begin[r + 1] - plan->row_begin[r];
        size_t results = plan->assignment_begin[r + 1] - plan->assignment_begin[r];

        if (r == me) {
            counters->rows_local += rows;
            continue;
        }
        counters->rows_sent += rows;
        counters->results_received += results;
        counters->payload_bytes += (rows + results) * row;
        counters->metadata_bytes +=
            ce_message_metadata_bytes(rows, results + rows * moe->auxiliary) +
            ce_message_combine_bytes(0, 0);
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
    struct ce_message_key key = {step, (uint16_t)layer_index, CE_PHASE_DISPATCH};
    uint64_t since = ce_clock_ns();

    moe->routing.tokens = tokens;
    if (status == CE_OK) {
        status = route(moe, layer, layer_index, x, err);
    }
    end_stage(moe, CE_MOE_ROUTER, &since);
    if (status == CE_OK) {
        ce_plan_build(&moe->plan,
                      &moe->routing,
                      moe->placement,
                      layer_index,
                      (size_t)moe->transport->rank);
    }
    end_stage(moe, CE_MOE_PLAN, &since);
    status = dispatch(moe, &key, status, x, err);
    end_stage(moe, CE_MOE_DISPATCH, &since);
    if (status != CE_OK) {
        return status;
    }
    key.phase = CE_PHASE_COMBINE;
    status = run_experts(moe, layer, &key, err);
    end_stage(moe, CE_MOE_EXPERTS, &since);
    status = combine(moe, &key, status, y, err);
    end_stage(moe, CE_MOE_COMBINE, &since);
    if (status == CE_OK) {
        count(moe);
    }
    return status;
}
