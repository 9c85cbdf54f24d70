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

/* Memory of outgoing messages, for those the transport has no better place for. */
struct ce_outbox {
    unsigned char *memory;
    size_t capacity;
    size_t used;
    unsigned char *failure;   /* [CE_MESSAGE_FAILURE_BYTES] */
    struct ce_bytes *message; /* [ranks] */
};

void ce_outbox_take(struct ce_outbox *outbox,
                    struct ce_arena *arena,
                    size_t capacity,
                    size_t ranks);

/* Begins a round: the messages of the last one are gone. */
void ce_outbox_clear(struct ce_outbox *outbox);
/* Where the message for `rank` in the open exchange of `slot` is to be written: in the
 * transport's memory or else in the outbox, whose capacity must suffice. */
void *ce_outbox_place(struct ce_outbox *outbox,
                      struct ce_transport *transport,
                      enum ce_slot slot,
                      int rank,
                      size_t bytes);
/* The message for every rank says that this rank failed. */
void ce_outbox_fail(struct ce_outbox *outbox,
                    size_t ranks,
                    const struct ce_message_key *key,
                    enum ce_status status,
                    const struct ce_error *why);

/* Largest outbox a dispatch of `tokens` tokens can need. */
size_t ce_dispatch_capacity(
    size_t tokens, size_t mains, size_t auxiliary, size_t ranks, size_t row_bytes);

/* Bytes of the message for `rank` that ce_dispatch_pack writes, with rows of
 * `row_bytes` bytes; 0: without rows. */
size_t ce_dispatch_bytes(const struct ce_plan *plan,
                         size_t rank,
                         size_t auxiliary,
                         size_t row_bytes);

/* Writes the message of a plan for `rank`: rows of x [tokens][wire->width], and of each
 * of their tokens the pairs of its mains there and its `auxiliary` last experts.
 * Without x the rows are left out: that serves a rank's own rows, which it can read
 * where they are. */
void ce_dispatch_pack(unsigned char *message,
                      const struct ce_message_key *key,
                      const struct ce_plan *plan,
                      const struct ce_routing *routing,
                      size_t rank,
                      size_t auxiliary,
                      const float *x,
                      const struct ce_wire *wire);

#endif
