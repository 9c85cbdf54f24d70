/* plan.h - where each token's row goes: integer arithmetic on one rank, no MPI
 *
 * A token travels once to each rank that owns at least one of its main experts:
 * that is a row. Each main expert of a token is an assignment; its result is one
 * row on the way back. Rows and assignments are ordered by destination rank,
 * then token, then selection position, so both ends know the order without
 * sending it.
 *
 * Where an expert has several owners, the sender of the token chooses: itself; else
 * a rank the token goes to anyway; else the owner with the fewest assignments of the
 * plan so far, and of equals the next one after the sender, so that not all senders
 * choose the same. Every owner gives the same bits: the choice changes no result.
 *
 *   rows         | to rank 0: t0 t2 | to rank 1: t0 t1 t2 | ...
 *   assignments  | t0p1 t2p0 t2p3   | t0p0 t1p0 ...       | ...
 */

#ifndef CE_MOE_PLAN_H
#define CE_MOE_PLAN_H

#include "base/arena.h"
#include "moe/placement.h"
#include "moe/router.h"

#include <stddef.h>
#include <stdint.h>

struct ce_plan {
    size_t tokens;
    size_t mains; /* main experts of a token, k - n_ce */
    size_t ranks;
    size_t *row_begin;        /* [ranks + 1] */
    size_t *assignment_begin; /* [ranks + 1] */
    uint32_t *row_token;      /* [rows] */
    uint16_t *row_mains;      /* [rows] assignments of the row */
    uint32_t *result;         /* [tokens][mains] its assignment's index */
    uint16_t *destination;    /* [tokens][mains] the owner that was chosen */
};

/* Takes arrays for at most `tokens` tokens from the arena; NULL members when it
 * does not fit or measures. */
void ce_plan_take(struct ce_plan *plan,
                  struct ce_arena *arena,
                  size_t tokens,
                  size_t mains,
                  size_t ranks);

/* Fills the plan of rank `sender` for its routing->tokens tokens of one layer. */
void ce_plan_build(struct ce_plan *plan,
                   const struct ce_routing *routing,
                   const struct ce_placement *placement,
                   size_t layer,
                   size_t sender);

/* What all top_k experts of the same tokens would take, by the same rule: the baseline
 * that compression is compared with. For accounts only, nothing is sent by it. */
struct ce_plan_full {
    size_t ranks;
    size_t *rows;          /* [ranks + 1] those to rank r in [r + 1] */
    size_t *assignments;   /* [ranks + 1] likewise */
    uint16_t *destination; /* [top_k] of the token at hand */
};

/* As ce_plan_take. */
void ce_plan_full_take(struct ce_plan_full *full,
                       struct ce_arena *arena,
                       size_t top_k,
                       size_t ranks);

void ce_plan_full_count(struct ce_plan_full *full,
                        const struct ce_routing *routing,
                        const struct ce_placement *placement,
                        size_t layer,
                        size_t sender);

#endif
