/* forward.h - the model over all ranks, under one setting: see forward.c
 *
 * A setting is words as in "wire=int8 split=node threads=2"; forward.c has the list.
 */

#ifndef CE_TESTS_RANKS_FORWARD_H
#define CE_TESTS_RANKS_FORWARD_H

#include "comm/transport.h"

#include <stdint.h>

/* The hash of all logits in the order of the sequences, on rank 0; elsewhere 0. What is
 * not as it must be ends the program. Collective. */
uint64_t
forward_run(struct ce_transport *transport, const char *model, const char *words);

#endif
