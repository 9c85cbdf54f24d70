/* moe.h - one MoE block over all ranks: router, plan, dispatch, experts, combine
 *
 * Source: OLMoE (arXiv 2409.02060); compressed experts, arXiv 2503.00634. With
 * `auxiliary` 0 and mains = top_k this is the ordinary block; with mains < top_k
 * and auxiliary 0 the truncated one; with auxiliary = top_k - mains the
 * compressed one, scaling; with affine = top_k - mains likewise, of the affine kind
 * (affine.h). Main weights are never renormalised after the split.
 */

#ifndef CE_MOE_MOE_H
#define CE_MOE_MOE_H

#include "base/arena.h"
#include "base/status.h"
#include "comm/transport.h"
#include "comm/window.h"
#include "kernels/kernels.h"
#include "model/weights.h"
#include "moe/affine.h"
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
    CE_MOE_AFFINE,
    CE_MOE_EXPERTS,
    CE_MOE_COMBINE,
    CE_MOE_STAGES
};

/* Totals of this rank over steps and layers. */
struct ce_moe_counters {
    uint64_t tokens;       /* of its own, times layers */
    uint64_t assignments;  /* run here, of all ranks; split: of its own tokens */
    uint64_t batches;      /* the experts were run in */
    uint64_t shared_bytes; /* written for the ranks that share the experts */
    uint64_t stage_ns[CE_MOE_STAGES];
};

/* Rows between this rank and another, over steps and layers: its own tokens' from the
 * plans, those of the other rank's from its messages. The own rank's entry counts what
 * would have travelled. */
struct ce_moe_peer {
    uint64_t rows_sent;     /* of x */
    uint64_t rows_received; /* of x */
    uint64_t results_sent;
    uint64_t results_received;
    /* What all top_k experts of the same tokens would take, in full: */
    uint64_t full_rows;
    uint64_t full_assignments;
    uint64_t full_metadata_bytes;       /* of dispatch messages with those rows */
    uint64_t assignment_metadata_bytes; /* of those with a row an assignment */
};

/* When to run the experts on what has arrived while other rows still travel. */
enum ce_overlap {
    CE_OVERLAP_AUTO = 0, /* when there are many rows per expert */
    CE_OVERLAP_ON,       /* always */
    CE_OVERLAP_OFF,      /* never: all rows are waited for */
    CE_OVERLAPS
};
const char *ce_overlap_name(enum ce_overlap overlap);
/* By name; NULL is auto. Errors: CE_ERR_ARG listing the names. */
CE_MUST_CHECK enum ce_status
ce_overlap_by_name(enum ce_overlap *overlap, const char *name, struct ce_error *err);

/* Who runs an expert. */
enum ce_expert_split {
    CE_EXPERT_SPLIT_NONE = 0, /* its owner alone */
    CE_EXPERT_SPLIT_NODE,     /* all ranks of a host, a slice each: see split.h */
    CE_EXPERT_SPLITS
};
const char *ce_expert_split_name(enum ce_expert_split split);
/* By name; NULL is none. Errors: CE_ERR_ARG listing the names. */
CE_MUST_CHECK enum ce_status ce_expert_split_by_name(enum ce_expert_split *split,
                                                     const char *name,
                                                     struct ce_error *err);

struct ce_moe {
    const struct ce_kernels *kernels;
    struct ce_transport *transport;
    const struct ce_placement *placement; /* split: over one rank, which is all */
    size_t hidden;
    size_t intermediate;
    size_t experts;
    size_t top_k;
    size_t mains;
    size_t auxiliary;      /* that travel with rows, as pairs: of scaling kind */
    size_t affine_experts; /* auxiliary ones that do not: of affine kind */
    size_t affine_inputs;  /* the largest r + 2 s among those of all layers */
    bool norm_topk_prob;
    struct ce_wire wire; /* of rows, width hidden */
    bool packed_experts; /* their weights are q8 or q4 */
    size_t max_tokens;   /* of a step on this rank */
    enum ce_combine combine;
    enum ce_overlap overlap;
    enum ce_expert_split split;
    struct ce_weights_split share; /* split: which slices are here */
    struct ce_window *window; /* split: of ce_split_window_bytes; not needed to take */

    /* Taken by ce_moe_take: */
    float *logits; /* [max_tokens][experts] */
    struct ce_routing routing;
    struct ce_plan plan;
    struct ce_plan_full full; /* of all top_k; unused when those are the mains */
    struct ce_outbox dispatch;
    struct ce_outbox results;
    struct ce_arrival *arrival;     /* [ranks] what they sent in this layer */
    int *source;                    /* [ranks] those of a batch */
    unsigned char **rows;           /* [ranks] rows of the messages to those */
    unsigned char *answered;        /* [ranks] 1: results have left */
    const unsigned char **incoming; /* [ranks] results from them */
    float
        *sums; /* [most assignments][hidden], partial: results before they are summed */
    size_t *first;          /* [max_tokens] partial: of each row */
    size_t shard;           /* experts of this rank in a layer, at most */
    unsigned char *rounded; /* [max_tokens * mains][row_bytes] split, reduced wire */
    struct ce_experts work;
    struct ce_affine affine;
    struct ce_moe_counters counters;
    struct ce_moe_peer *peer; /* [ranks] */

    bool told;             /* the failure ce_moe_run returned is known to all ranks */
    enum ce_status polled; /* of the transport while the experts ran */
    struct ce_error poll_error;
};

/* The settings above must be filled in; takes the rest from the arena (or, with
 * a measuring arena, only computes how much that is). */
void ce_moe_take(struct ce_moe *moe, struct ce_arena *arena);

/* Messages of this block between two ranks. After ce_moe_take. */
void ce_moe_message_sizes(const struct ce_moe *moe,
                          struct ce_message_size size[CE_SLOT_COUNT]);

void ce_moe_reset_counters(struct ce_moe *moe);

/* y = MoE(x) for the rank's `tokens` rows [tokens][hidden]; y may not be x.
 * Collective, also with 0 tokens and also for a rank that has already failed in
 * this step: it passes that as `status` with the text in err, and every rank
 * returns the failure of the lowest rank that has one, with moe->told set. A failure
 * without it is this rank's own, met too late to be told: it must be passed to the next
 * call, or to an agreement of all ranks. */
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
