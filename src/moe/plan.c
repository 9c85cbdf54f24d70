/* plan.c - chooses destinations and counts, then places rows and assignments */

#include "moe/plan.h"

#include <stdbool.h>
#include <string.h>

void ce_plan_take(struct ce_plan *plan,
                  struct ce_arena *arena,
                  size_t tokens,
                  size_t mains,
                  size_t ranks)
{
    size_t assignments = tokens * mains;

    *plan = (struct ce_plan){.tokens = tokens, .mains = mains, .ranks = ranks};
    plan->row_begin = ce_arena_take(arena, ranks + 1, sizeof(plan->row_begin[0]));
    plan->assignment_begin =
        ce_arena_take(arena, ranks + 1, sizeof(plan->assignment_begin[0]));
    plan->row_token = ce_arena_take(arena, assignments, sizeof(plan->row_token[0]));
    plan->row_mains = ce_arena_take(arena, assignments, sizeof(plan->row_mains[0]));
    plan->result = ce_arena_take(arena, assignments, sizeof(plan->result[0]));
    plan->destination = ce_arena_take(arena, assignments, sizeof(plan->destination[0]));
}

void ce_plan_full_take(struct ce_plan_full *full,
                       struct ce_arena *arena,
                       size_t top_k,
                       size_t ranks)
{
    full->ranks = ranks;
    full->rows = ce_arena_take(arena, ranks + 1, sizeof(full->rows[0]));
    full->assignments = ce_arena_take(arena, ranks + 1, sizeof(full->assignments[0]));
    full->destination = ce_arena_take(arena, top_k, sizeof(full->destination[0]));
}

/* True when an earlier main expert of the token goes to the same rank. */
static bool is_repeat(const uint16_t *destination, size_t position)
{
    for (size_t i = 0; i < position; i++) {
        if (destination[i] == destination[position]) {
            return true;
        }
    }
    return false;
}

/* Stands for a choice not made yet; ranks are below. */
#define UNDECIDED UINT16_MAX

/* A rank among the owners that the token already goes to. */
static uint16_t
find_shared(struct ce_owners owners, const uint16_t *destination, size_t mains)
{
    for (size_t i = 0; i < mains; i++) {
        if (ce_owners_include(owners, destination[i])) {
            return destination[i];
        }
    }
    return UNDECIDED;
}

/* The owner with the fewest assignments so far; load[r + 1] has those of rank r. */
static uint16_t
find_least_loaded(struct ce_owners owners, const size_t *load, size_t sender)
{
    size_t next = 0; /* the first owner after the sender */
    uint16_t best = UNDECIDED;

    while (next < owners.count && owners.rank[next] <= sender) {
        next++;
    }
    for (size_t i = 0; i < owners.count; i++) {
        uint16_t rank = owners.rank[(next + i) % owners.count];

        if (best == UNDECIDED || load[rank + 1] < load[best + 1]) {
            best = rank;
        }
    }
    return best;
}

/* What destinations are chosen for, and where they and their counts go. */
struct choice {
    const struct ce_routing *routing;
    const struct ce_placement *placement;
    size_t layer;
    size_t sender;
    size_t mains; /* of each token the leading experts */
    size_t ranks;
    size_t *rows;        /* [ranks + 1] those of rank r in [r + 1] */
    size_t *assignments; /* [ranks + 1] likewise */
};

/* The destinations of one token. Those without a choice come first: the others can
 * then go along. */
static void
choose(const struct choice *choice, const uint16_t *expert, uint16_t *destination)
{
    const struct ce_placement *placement = choice->placement;

    for (size_t i = 0; i < choice->mains; i++) {
        struct ce_owners owners =
            ce_placement_owners(placement, choice->layer, expert[i]);

        destination[i] = owners.count == 1 ? owners.rank[0] : UNDECIDED;
        if (ce_owners_include(owners, choice->sender)) {
            destination[i] = (uint16_t)choice->sender;
        }
    }
    for (size_t i = 0; i < choice->mains; i++) {
        struct ce_owners owners =
            ce_placement_owners(placement, choice->layer, expert[i]);

        if (destination[i] == UNDECIDED) {
            destination[i] = find_shared(owners, destination, choice->mains);
        }
        if (destination[i] == UNDECIDED) {
            destination[i] =
                find_least_loaded(owners, choice->assignments, choice->sender);
        }
    }
}

/* Chooses the destinations of all tokens and counts their rows and assignments. Those
 * of a token are `stride` after those of the one before: none keeps only the last. */
static void count(const struct choice *choice, uint16_t *destination, size_t stride)
{
    const struct ce_routing *routing = choice->routing;

    memset(choice->rows, 0, (choice->ranks + 1) * sizeof(choice->rows[0]));
    memset(
        choice->assignments, 0, (choice->ranks + 1) * sizeof(choice->assignments[0]));
    for (size_t t = 0; t < routing->tokens; t++, destination += stride) {
        choose(choice, routing->expert + t * routing->top_k, destination);
        for (size_t i = 0; i < choice->mains; i++) {
            choice->assignments[destination[i] + 1]++;
            choice->rows[destination[i] + 1] += !is_repeat(destination, i);
        }
    }
}

void ce_plan_full_count(struct ce_plan_full *full,
                        const struct ce_routing *routing,
                        const struct ce_placement *placement,
                        size_t layer,
                        size_t sender)
{
    const struct choice choice = {.routing = routing,
                                  .placement = placement,
                                  .layer = layer,
                                  .sender = sender,
                                  .mains = routing->top_k,
                                  .ranks = full->ranks,
                                  .rows = full->rows,
                                  .assignments = full->assignments};

    count(&choice, full->destination, 0);
}

static void accumulate(size_t *begin, size_t ranks)
{
    for (size_t r = 0; r < ranks; r++) {
        begin[r + 1] += begin[r];
    }
}

/* Gives every row and assignment its index, using the begins as cursors. */
static void place(struct ce_plan *plan)
{
    for (size_t t = 0; t < plan->tokens; t++) {
        const uint16_t *destination = plan->destination + t * plan->mains;

        for (size_t i = 0; i < plan->mains; i++) {
            size_t rank = destination[i];

            if (!is_repeat(destination, i)) {
                size_t row = plan->row_begin[rank]++;

                plan->row_token[row] = (uint32_t)t;
                plan->row_mains[row] = 0;
            }
            plan->row_mains[plan->row_begin[rank] - 1]++;
            plan->result[t * plan->mains + i] =
                (uint32_t)plan->assignment_begin[rank]++;
        }
    }
}

/* After place, begin[r] is the end of r: shift back. */
static void rewind_begins(size_t *begin, size_t ranks)
{
    memmove(begin + 1, begin, ranks * sizeof(begin[0]));
    begin[0] = 0;
}

void ce_plan_build(struct ce_plan *plan,
                   const struct ce_routing *routing,
                   const struct ce_placement *placement,
                   size_t layer,
                   size_t sender)
{
    const struct choice choice = {.routing = routing,
                                  .placement = placement,
                                  .layer = layer,
                                  .sender = sender,
                                  .mains = plan->mains,
                                  .ranks = plan->ranks,
                                  .rows = plan->row_begin,
                                  .assignments = plan->assignment_begin};

    plan->tokens = routing->tokens;
    count(&choice, plan->destination, plan->mains);
    accumulate(plan->row_begin, plan->ranks);
    accumulate(plan->assignment_begin, plan->ranks);
    place(plan);
    rewind_begins(plan->row_begin, plan->ranks);
    rewind_begins(plan->assignment_begin, plan->ranks);
}
