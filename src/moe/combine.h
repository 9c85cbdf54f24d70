/* combine.h - results back to their tokens, and summed
 *
 * ordered  the owner of a token adds the results of its main experts by selection
 *          position, whatever rank they came from and whenever: the same bits for any
 *          number of ranks and any placement
 * partial  a rank adds the results of the main experts of a token that it has, by
 *          position, and sends one row; the token's owner adds these by rank: fewer
 *          bytes where a token has several main experts on a rank, and bits that
 *          depend on the placement, but never on timing or transport
 */

#ifndef CE_MOE_COMBINE_H
#define CE_MOE_COMBINE_H

#include "moe/message.h"
#include "moe/plan.h"
#include "moe/wire.h"

#include <stddef.h>

enum ce_combine { CE_COMBINE_ORDERED = 0, CE_COMBINE_PARTIAL, CE_COMBINES };

const char *ce_combine_name(enum ce_combine combine);
/* By name; NULL is ordered. Errors: CE_ERR_ARG listing the names. */
CE_MUST_CHECK enum ce_status
ce_combine_by_name(enum ce_combine *combine, const char *name, struct ce_error *err);

/* Rows of results that come back from `rank` for the tokens of a plan. */
size_t
ce_combine_rows(const struct ce_plan *plan, enum ce_combine combine, size_t rank);

/* What a rank with the experts does for partial: out [rows][wire->row_bytes] gets for
 * each row of x the sum of the results of its assignments, results
 * [assignments][wire->width] in the order of the dispatch message, which are lost. */
void ce_combine_reduce(const struct ce_dispatch_view *view,
                       float *results,
                       unsigned char *out,
                       const struct ce_wire *wire,
                       size_t *first /* [rows] scratch */);

/* y [tokens][wire->width]: y[t] = sum of the token's results. results[r]:
 * [ce_combine_rows of r][row_bytes], in the order of the plan. */
void ce_combine_sum(const struct ce_plan *plan,
                    enum ce_combine combine,
                    const unsigned char *const *results,
                    float *y,
                    const struct ce_wire *wire);

#endif
