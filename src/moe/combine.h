/* combine.h - results back to their tokens, summed in the router's order
 *
 * The owner of a token adds the results of its main experts by selection
 * position, whatever rank they came from and whenever: the same bits for any
 * number of ranks and any placement.
 */

#ifndef CE_MOE_COMBINE_H
#define CE_MOE_COMBINE_H

#include "moe/plan.h"
#include "moe/wire.h"

#include <stddef.h>

enum ce_combine_order {
    CE_COMBINE_ROUTER = 0,
    /* By owning rank: wrong on purpose, the sum then depends on the placement.
     * Only for the test that shows that such a mistake would be noticed. */
    CE_COMBINE_OWNER_FOR_TESTS,
};

/* y [tokens][wire->width]: y[t] = sum over positions of the token's results.
 * results[r]: [assignments to r][row_bytes], in the order of the plan. */
void ce_combine_sum(const struct ce_plan *plan,
                    enum ce_combine_order order,
                    const unsigned char *const *results,
                    float *y,
                    const struct ce_wire *wire);

#endif
