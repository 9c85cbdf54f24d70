/* experts.h - the full experts of this rank, run on the rows that arrived
 *
 * One assignment is one row through one expert. Assignments of the sources at hand are
 * grouped by expert and worked on in tiles of bounded size: scale the inputs,
 * gate and up, SiLU, down, router weight. Each result is written to its place. A
 * result's bits do not depend on what else is in the tile (see kernels.h), so neither
 * on ranks, threads, batch nor on who has arrived.
 */

#ifndef CE_MOE_EXPERTS_H
#define CE_MOE_EXPERTS_H

#include "base/arena.h"
#include "base/status.h"
#include "kernels/kernels.h"
#include "model/weights.h"
#include "moe/compressed.h"
#include "moe/message.h"
#include "moe/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What one source sent, and where its results go. */
struct ce_arrival {
    struct ce_dispatch_view view;
    unsigned char *results; /* a row an assignment, in the order of the view */
};

struct ce_assignment {
    const unsigned char *x;          /* a row as it arrived */
    const struct ce_pair *auxiliary; /* of the token */
    unsigned char *out;              /* the row of its result */
    float weight;
    uint16_t expert;
    uint16_t position; /* of the expert in the router's order */
};

/* A run of assignments of one expert within a tile. */
struct ce_segment {
    const struct ce_expert_weights *weights;
    size_t first; /* row of the tile */
    size_t rows;
};

/* What one expert makes of some rows, before the router's weights. */
struct ce_expert_run {
    size_t layer;
    size_t expert;
    size_t rows;
    const float *x;                         /* [rows][hidden] */
    const float *h;                         /* [rows][intermediate] */
    const float *y;                         /* [rows][hidden] */
    const struct ce_assignment *assignment; /* [rows] the weights and positions */
};

/* Sees every run as it is computed, in the order of the sources' ranks and then of
 * their rows. Called by several threads at once, for different experts; the arrays are
 * valid during the call. Only where experts are whole: not by ranks that share them. */
struct ce_expert_observer {
    void (*see)(void *context, const struct ce_expert_run *run); /* NULL: nobody */
    void *context;
};

struct ce_experts;

/* Works on the assignments that were collected in place of ce_experts_run, in the order
 * of the sources' ranks and then of their rows, and writes a result for each of them.
 * Only where experts are whole. */
struct ce_expert_substitute {
    enum ce_status (*run)(void *context, /* run is NULL: nobody */
                          struct ce_experts *experts,
                          const struct ce_layer_weights *layer,
                          size_t layer_index,
                          struct ce_error *err);
    void *context;
};

/* A rank that shares its experts with others (split.h) computes some columns of h and
 * of the results; one that does not computes all. */
struct ce_experts {
    const struct ce_kernels *kernels;
    struct ce_wire wire;         /* of the rows of x, width hidden */
    struct ce_wire results_wire; /* of the rows of results, width hidden */
    size_t experts;
    size_t hidden;
    size_t intermediate;
    size_t capacity; /* assignments */
    size_t tile;     /* assignments worked on at once */
    size_t count;
    struct ce_assignment *assignment; /* [capacity], grouped by expert */
    size_t *begin;                    /* [experts + 1] */
    struct ce_segment *segment;       /* [experts] */
    float *gate_input;                /* [tile][hidden] x * theta1 */
    float *up_input;                  /* [tile][hidden] x * theta3 */
    float *down_scale;                /* [tile][intermediate] theta2 */
    struct ce_slice gate_slice;       /* rows of gate and up that are here */
    struct ce_slice down_slice;       /* rows of down that are here */
    float *gate;                      /* [tile][intermediate], then h */
    float *up;                        /* [tile][intermediate] */
    float *down;                      /* [tile][hidden] */
    bool packed; /* the experts' weights are: their inputs are quantised, too */
    struct ce_quantised_block *gate_blocks; /* [tile][blocks of hidden] */
    struct ce_quantised_block *up_blocks;   /* [tile][blocks of hidden] */
    struct ce_quantised_block *down_blocks; /* [tile][blocks of intermediate] */
    uint64_t experts_read;   /* that had rows, summed over the calls of collect */
    uint64_t uniform_thetas; /* assignments whose auxiliary weights summed to 0 */
    /* Called by the calling thread between pieces of work; NULL: nobody. */
    void (*progress)(void *context);
    void *progress_context;
    struct ce_expert_observer observer;
    struct ce_expert_substitute substitute;
};

/* Sizes in `experts` must be set; takes the arrays from the arena. */
void ce_experts_take(struct ce_experts *experts, struct ce_arena *arena);

/* Groups the rows of `count` sources, together at most `capacity` assignments:
 * arrival[source[0]], arrival[source[1]], … Errors: an expert id out of range, a main
 * expert that is not resident here. */
CE_MUST_CHECK enum ce_status ce_experts_collect(struct ce_experts *experts,
                                                const struct ce_layer_weights *layer,
                                                const struct ce_arrival *arrival,
                                                const int *source,
                                                size_t count,
                                                struct ce_error *err);

/* Runs them, or has the substitute do it. `auxiliary` > 0 applies the layer's
 * compressed experts. Errors: CE_ERR_NUMERIC naming the expert whose result is not
 * finite. */
CE_MUST_CHECK enum ce_status ce_experts_run(struct ce_experts *experts,
                                            const struct ce_layer_weights *layer,
                                            size_t layer_index,
                                            size_t auxiliary,
                                            struct ce_error *err);

/* ---- the same in pieces, for ranks that meet in between ---- */

/* At most `tile` assignments that are worked on at once. */
struct ce_tile {
    struct ce_experts *experts;
    const struct ce_assignment *assignment;
    size_t rows;
    size_t auxiliary;
    size_t segments;
    struct ce_segment *segment;
};

/* The tile that begins with assignment `first`, of those collected. */
struct ce_tile ce_experts_tile(struct ce_experts *experts,
                               const struct ce_layer_weights *layer,
                               size_t first,
                               size_t auxiliary);
/* Its inputs; returns how many rows had auxiliary weights that summed to 0. */
uint64_t ce_experts_scale(const struct ce_tile *tile,
                          const struct ce_layer_weights *layer);
/* The columns gate_slice of h, then those of down_slice of the results from all of h.
 * Both return the lowest expert whose values are not finite, or SIZE_MAX. */
size_t ce_experts_gate_up(const struct ce_tile *tile);
size_t ce_experts_down(const struct ce_tile *tile);
/* The failure that such an expert is. */
CE_MUST_CHECK enum ce_status
ce_experts_fail(size_t layer_index, size_t expert, struct ce_error *err);

#endif
