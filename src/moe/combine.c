/* combine.c - summing a token's results */

#include "moe/combine.h"

#include <string.h>

/* The row of results of assignment `index`. */
static const unsigned char *find_result(const struct ce_plan *plan,
                                        const unsigned char *const *results,
                                        size_t index,
                                        const struct ce_wire *wire)
{
    size_t rank = 0;

    while (index >= plan->assignment_begin[rank + 1]) {
        rank++;
    }
    return results[rank] + (index - plan->assignment_begin[rank]) * wire->row_bytes;
}

/* The assignment of a token that is next after `previous` in index order, which
 * is the order of ranks. */
static size_t next_by_owner(const struct ce_plan *plan, size_t token, size_t previous)
{
    size_t next = SIZE_MAX;

    for (size_t i = 0; i < plan->mains; i++) {
        size_t index = plan->result[token * plan->mains + i];

        if ((previous == SIZE_MAX || index > previous) && index < next) {
            next = index;
        }
    }
    return next;
}

void ce_combine_sum(const struct ce_plan *plan,
                    enum ce_combine_order order,
                    const unsigned char *const *results,
                    float *y,
                    const struct ce_wire *wire)
{
#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < plan->tokens; t++) {
        size_t index = SIZE_MAX;

        memset(y + t * wire->width, 0, wire->width * sizeof(float));
        for (size_t i = 0; i < plan->mains; i++) {
            index = order == CE_COMBINE_ROUTER ? plan->result[t * plan->mains + i]
                                               : next_by_owner(plan, t, index);
            ce_wire_add(
                wire, y + t * wire->width, find_result(plan, results, index, wire));
        }
    }
}
