/* plan.c - counts per destination, then places rows and assignments */

#include "moe/plan.h"

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
}

/* True when an earlier main expert of the token lives on the same rank. */
static int is_repeat(const uint16_t *owner, const uint16_t *expert, size_t position)
{
    for (size_t i = 0; i < position; i++) {
        if (owner[expert[i]] == owner[expert[position]]) {
            return 1;
        }
    }
    return 0;
}

/* Counts rows and assignments of rank r into [r + 1]. */
static void
count(struct ce_plan *plan, const struct ce_routing *routing, const uint16_t *owner)
{
    memset(plan->row_begin, 0, (plan->ranks + 1) * sizeof(plan->row_begin[0]));
    memset(plan->assignment_begin,
           0,
           (plan->ranks + 1) * sizeof(plan->assignment_begin[0]));
    for (size_t t = 0; t < routing->tokens; t++) {
        const uint16_t *expert = routing->expert + t * routing->top_k;

        for (size_t i = 0; i < plan->mains; i++) {
            size_t rank = owner[expert[i]];

            plan->assignment_begin[rank + 1]++;
            plan->row_begin[rank + 1] += !is_repeat(owner, expert, i);
        }
    }
}

static void accumulate(size_t *begin, size_t ranks)
{
    for (size_t r = 0; r < ranks; r++) {
        begin[r + 1] += begin[r];
    }
}

/* Gives every row and assignment its index, using the begins as cursors. */
static void
place(struct ce_plan *plan, const struct ce_routing *routing, const uint16_t *owner)
{
    for (size_t t = 0; t < routing->tokens; t++) {
        const uint16_t *expert = routing->expert + t * routing->top_k;

        for (size_t i = 0; i < plan->mains; i++) {
            size_t rank = owner[expert[i]];

            if (!is_repeat(owner, expert, i)) {
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
                   size_t layer)
{
    const uint16_t *owner = placement->owner + layer * placement->experts;

    plan->tokens = routing->tokens;
    count(plan, routing, owner);
    accumulate(plan->row_begin, plan->ranks);
    accumulate(plan->assignment_begin, plan->ranks);
    place(plan, routing, owner);
    rewind_begins(plan->row_begin, plan->ranks);
    rewind_begins(plan->assignment_begin, plan->ranks);
}
