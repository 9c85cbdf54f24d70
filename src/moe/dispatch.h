/* dispatch.h - a layer's rows to the ranks that own their main experts */

#ifndef CE_MOE_DISPATCH_H
#define CE_MOE_DISPATCH_H

#include "base/arena.h"
#include "base/status.h"
#include "comm/transport.h"
#include "moe/message.h"
#include "moe/plan.h"
#include "moe/router.h"
#include "moe/wire.h"

#include <stddef.h>

/* Buffers of outgoing messages, one region a destination, back to back. */
struct ce_outbox {
    unsigned char *memory;
    size_t capacity;
    size_t used;
    struct ce_bytes *message; /* [ranks] */
};

void ce_outbox_take(struct ce_outbox *outbox,
                    struct ce_arena *arena,
                    size_t capacity,
                    size_t ranks);

/* Lays out the messages: clear, then reserve the regions in any order; the
 * capacity must suffice. message gives the region to write to. */
void ce_outbox_clear(struct ce_outbox *outbox);
void ce_outbox_reserve(struct ce_outbox *outbox, size_t rank, size_t bytes);
void *ce_outbox_message(const struct ce_outbox *outbox, size_t rank);

/* All messages say that this rank failed. */
void ce_outbox_fail(struct ce_outbox *outbox,
                    size_t ranks,
                    const struct ce_message_key *key,
                    enum ce_status status,
                    const struct ce_error *why);

/* Largest outbox a dispatch of `tokens` tokens can need. */
size_t ce_dispatch_capacity(
    size_t tokens, size_t mains, size_t auxiliary, size_t ranks, size_t row_bytes);

/* Writes the messages of a plan: x [tokens][wire->width], and of each token the pairs
 * of its mains at the destination and its `auxiliary` last experts. */
void ce_dispatch_pack(struct ce_outbox *outbox,
                      const struct ce_message_key *key,
                      const struct ce_plan *plan,
                      const struct ce_routing *routing,
                      size_t auxiliary,
                      const float *x,
                      const struct ce_wire *wire);

/* Waits for the messages of an exchange and checks their headers. All of them
 * are taken before a failure is returned (that of the lowest rank), so that all
 * ranks return the same. Collective. */
CE_MUST_CHECK enum ce_status ce_messages_receive(struct ce_transport *transport,
                                                 enum ce_slot slot,
                                                 const struct ce_message_key *key,
                                                 struct ce_error *err);

#endif
