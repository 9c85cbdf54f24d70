/* moe.h - one MoE block over all ranks: router, plan, dispatch, experts, combine
 *
 * Source: OLMoE (arXiv 2409.02060); compressed experts, arXiv 2503.00634. With
 * `auxiliary` 0 and mains = top_k this is the ordinary block; with mains < top_k
 * and auxiliary 0 the truncated one; with auxiliary = top_k - mains the
 * compressed one. Main weights are never renormalised after the split.
 */

#ifndef CE_MOE_MOE_H
#define CE_MOE_MOE_H

#include "base/arena.h"
#include "base/status.h"
#include "comm/transport.h"
#include "kernels/kernels.h"
#include "model/weights.h"
#include "moe/combine.h"
#include "moe/dispatch.h"
#include "moe/experts.h"
#include "moe/placement.h"
#include "moe/plan.h"
#include "moe/router.h"
#include "moe/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ce_moe_stage {
    CE_MOE_ROUTER = 0,
    CE_MOE_PLAN,
    CE_MOE_DISPATCH,
    CE_MOE_EXPERTS,
    CE_MOE_COMBINE,
    CE_MOE_STAGES
};

/* Totals over steps and layers, of this rank as the owner of tokens. */
struct ce_moe_counters {
    uint64_t tokens;           /* tokens times layers */
    uint64_t rows_sent;        /* rows of x to other ranks */
    uint64_t rows_local;       /* rows of x to itself */
    uint64_t results_received; /* rows of results from other ranks */
    uint64_t metadata_bytes;   /* headers, pairs, padding to other ranks */
    uint64_t payload_bytes;    /* rows of x to, results from other ranks */
    uint64_t stage_ns[CE_MOE_STAGES];
};

struct ce_moe {
    const struct ce_kernels *kernels;
    struct ce_transport *transport;
    const struct ce_placement *placement;
    size_t hidden;
    size_t intermediate;
    size_t experts;
    size_t top_k;
    size_t mains;
    size_t auxiliary;
    bool norm_topk_prob;
    struct ce_wire wire; /* of rows, width hidden */
    size_t max_tokens;   /* of a step on this rank */
    enum ce_combine_order order;

    /* Taken by ce_moe_take: */
    float *logits; /* [max_tokens][experts] */
    struct ce_routing routing;
    struct ce_plan plan;
    struct ce_outbox dispatch;
    struct ce_outbox combine;
    struct ce_dispatch_view *view;  /* [ranks] */
    unsigned char **outgoing;       /* [ranks] results to them */
    const unsigned char **incoming; /* [ranks] results from them */
    struct ce_experts work;
    struct ce_moe_counters counters;
};

/* The settings above must be filled in; takes the rest from the arena (or, with
 * a measuring arena, only computes how much that is). */
void ce_moe_take(struct ce_moe *moe, struct ce_arena *arena);

/* The most the transport can come to hold for this block's messages: buffers for
 * each peer that grow by half. After ce_moe_take. */
size_t ce_moe_receive_bytes(const struct ce_moe *moe);

/* y = MoE(x) for the rank's `tokens` rows [tokens][hidden]; y may not be x.
 * Collective, also with 0 tokens and also for a rank that has already failed in
 * this step: it passes that as `status` with the text in err, and every rank
 * returns the failure of the lowest rank that has one. */
CE_MUST_CHECK enum ce_status ce_moe_run(struct ce_moe *moe,
                                        const struct ce_layer_weights *layer,
                                        size_t layer_index,
                                        uint32_t step,
                                        enum ce_status status,
                                        const float *x,
                                        float *y,
                                        size_t tokens,
                                        struct ce_error *err);

#endif
