/* collective.h - what all ranks do together outside the layers, as exchanges
 *
 * All of them are collective: every rank calls the same one. They use
 * CE_SLOT_CONTROL.
 */

#ifndef CE_COMM_COLLECTIVE_H
#define CE_COMM_COLLECTIVE_H

#include "comm/transport.h"

/* Every rank brings its status, and in err the text when it failed; all return
 * the same: CE_OK, or the status and text of the lowest rank that failed
 * (err->rank says which). Without this a rank that fails alone would leave the
 * others waiting. When the transport fails here, or had failed before, a rank
 * that brought a failure returns its own, which is nearer to the cause. */
CE_MUST_CHECK enum ce_status
ce_agree(struct ce_transport *transport, enum ce_status mine, struct ce_error *err);

/* (*all)[r] are the bytes rank r brought, from its own memory for the own rank;
 * valid until the next collective. Their sizes are the sender's word: check. */
CE_MUST_CHECK enum ce_status ce_allgather(struct ce_transport *transport,
                                          struct ce_bytes mine,
                                          const struct ce_bytes **all,
                                          struct ce_error *err);

/* Like allgather, but only rank 0 gets bytes; *all is NULL elsewhere. */
CE_MUST_CHECK enum ce_status ce_gather(struct ce_transport *transport,
                                       struct ce_bytes mine,
                                       const struct ce_bytes **all,
                                       struct ce_error *err);

/* Rank 0's bytes for everybody; valid until the next collective. */
CE_MUST_CHECK enum ce_status ce_broadcast(struct ce_transport *transport,
                                          struct ce_bytes mine,
                                          struct ce_bytes *out,
                                          struct ce_error *err);

#endif
