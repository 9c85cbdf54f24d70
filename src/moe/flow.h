/* flow.h - rows out, experts on what has arrived, results back: a layer's two exchanges
 *
 *   this rank     rows to every rank ─►┐            ┌─► results to every rank
 *                                      │  batches:  │
 *   others        their rows ──────────┴─► experts ─┘   theirs to this rank ─► sums
 *
 * Both exchanges are open at once. What has arrived is run as one batch when it is
 * worth it (see enum ce_overlap), the own rows first, and its results leave; meanwhile
 * other rows travel.
 *
 * A rank that has failed says so in its dispatch messages, to all. Every rank takes all
 * of them, so all return the failure of the lowest rank that has one. After such a
 * dispatch the results say nothing, but they are exchanged all the same. A failure that
 * a rank meets later in the layer is told in the next dispatch (or in the agreement
 * at the end of the step): until then its results are zeros.
 */

#ifndef CE_MOE_FLOW_H
#define CE_MOE_FLOW_H

#include "moe/moe.h"

/* The plan is built unless `status`, this rank's failure so far with its text in err,
 * says otherwise; y [tokens][hidden] gets the sums. Sets moe->told when all ranks
 * return the same failure. Collective. */
CE_MUST_CHECK enum ce_status ce_flow_run(struct ce_moe *moe,
                                         const struct ce_layer_weights *layer,
                                         struct ce_message_key key,
                                         enum ce_status status,
                                         const float *x,
                                         float *y,
                                         struct ce_error *err);

#endif
