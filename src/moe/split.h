/* split.h - a layer whose experts are shared by the ranks of one host, by slices
 *
 *   every rank   rows ─►│  gate, up: ─►│  down: some ─►│ sums of its
 *                       │  some of h   │  columns of   │ own tokens
 *   window      rows of │  h of the    │  the results  │
 *               all     │  tile, whole │  of all       │
 *                       meet           meet            meet
 *
 * Every rank has some rows of gate, up and down of every expert, so each does the same
 * work whatever experts a token has chosen. What they need of each other is in memory
 * that all see (comm/window.h). No sum is cut: every value of h and of a result is
 * computed whole by one rank, with the bits it has anywhere.
 *
 * Failures are told as in flow.h: in the rows' message; one that is met later is
 * carried to the next layer's, and until then what this rank shares is zeros.
 */

#ifndef CE_MOE_SPLIT_H
#define CE_MOE_SPLIT_H

#include "moe/moe.h"

/* What the part of a rank in the window takes, whole cache lines. After ce_moe_take,
 * also with a measuring arena. */
size_t ce_split_window_bytes(const struct ce_moe *moe, int rank);

/* As ce_flow_run, for a block with moe->split and a window. */
CE_MUST_CHECK enum ce_status ce_split_run(struct ce_moe *moe,
                                          const struct ce_layer_weights *layer,
                                          struct ce_message_key key,
                                          enum ce_status status,
                                          const float *x,
                                          float *y,
                                          struct ce_error *err);

#endif
