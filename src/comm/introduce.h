/* introduce.h - do all ranks want to talk in the same way?
 *
 * The first words between ranks, over what all of them have. What a rank was told of
 * transport and deadline decides what it sends next: ranks that were told different
 * things would wait for each other and not know why.
 */

#ifndef CE_COMM_INTRODUCE_H
#define CE_COMM_INTRODUCE_H

#include "comm/transport.h"

/* Compares what this rank was asked for with the other ranks'. Collective. Errors:
 * CE_ERR_MISMATCH, alike on all ranks, which names the first rank that differs from
 * rank 0, with its host and what each was given. */
CE_MUST_CHECK enum ce_status ce_introduce(struct ce_transport *transport,
                                          const char *name,
                                          uint64_t deadline_ms,
                                          struct ce_error *err);

#endif
