/* allocate.h - which rank, or how many neurons, each expert gets for a budget of bytes
 *
 * Every expert has choices (bytes, expected error). Of each the lower convex hull is
 * taken, and its steps are made in the order of error saved per byte while they fit;
 * a step that does not fit is passed over together with its expert's later ones. At
 * the budgets where every step fits this is the best choice there is, and in between
 * at most one step from it; more budget never gives a larger error.
 */

#ifndef CE_CALIBRATE_ALLOCATE_H
#define CE_CALIBRATE_ALLOCATE_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

struct ce_allocate_choice {
    uint64_t bytes;
    double error; /* expected, finite */
    size_t rank;
    size_t neurons;
};

/* One expert of one layer. */
struct ce_allocate_item {
    const struct ce_allocate_choice *choices; /* at least one, in any order */
    size_t count;
    double factor; /* by which its errors count against those of others */
    size_t chosen; /* result: index into `choices` */
};

struct ce_allocate_sum {
    uint64_t bytes;
    double error; /* with the factors */
};

/* CE_ERR_ARG when not even the smallest choices fit; the text says what they take.
 * Equal steps are made in the order of the items. */
CE_MUST_CHECK enum ce_status ce_allocate_budget(struct ce_allocate_item *items,
                                                size_t count,
                                                uint64_t budget,
                                                struct ce_allocate_sum *sum,
                                                struct ce_error *err);

/* Every expert the choice of this rank and these neurons, or the most below that it
 * has.
 */
void ce_allocate_uniform(struct ce_allocate_item *items,
                         size_t count,
                         size_t rank,
                         size_t neurons,
                         struct ce_allocate_sum *sum);

/* BF16: a constant, `rank` columns of U and rows of V, `neurons` of gate, up, down. */
uint64_t ce_allocate_bytes(size_t hidden, size_t rank, size_t neurons);

#endif
