/* dispatch.c - packing rows and pairs for their destinations */

#include "moe/dispatch.h"

#include <string.h>

void ce_outbox_take(struct ce_outbox *outbox,
                    struct ce_arena *arena,
                    size_t capacity,
                    size_t ranks)
{
    outbox->capacity = capacity + CE_MESSAGE_FAILURE_BYTES;
    outbox->memory = ce_arena_take(arena, outbox->capacity, 1);
    outbox->message = ce_arena_take(arena, ranks, sizeof(outbox->message[0]));
}

void ce_outbox_clear(struct ce_outbox *outbox)
{
    outbox->used = 0;
}

void ce_outbox_reserve(struct ce_outbox *outbox, size_t rank, size_t bytes)
{
    outbox->message[rank] = (struct ce_bytes){outbox->memory + outbox->used, bytes};
    outbox->used += (bytes + 63) / 64 * 64;
}

void *ce_outbox_message(const struct ce_outbox *outbox, size_t rank)
{
    const unsigned char *data = outbox->message[rank].data;

    return outbox->memory + (data - outbox->memory);
}

void ce_outbox_fail(struct ce_outbox *outbox,
                    size_t ranks,
                    const struct ce_message_key *key,
                    enum ce_status status,
                    const struct ce_error *why)
{
    size_t bytes = ce_message_write_failure(outbox->memory, key, status, why);

    for (size_t r = 0; r < ranks; r++) {
        outbox->message[r] = (struct ce_bytes){outbox->memory, bytes};
    }
}

size_t ce_dispatch_capacity(
    size_t tokens, size_t mains, size_t auxiliary, size_t ranks, size_t row_bytes)
{
    size_t rows = tokens * (mains < ranks ? mains : ranks);
    size_t pairs = tokens * mains + rows * auxiliary;

    /* The fixed parts of a message occur once a rank. */
    return ranks * ce_message_dispatch_bytes(0, 0, row_bytes) +
           ce_message_dispatch_bytes(rows, pairs, row_bytes) + ranks * 128;
}

/* The pairs of one row; returns how many were written. */
static size_t pack_pairs(struct ce_pair *pair,
                         const struct ce_plan *plan,
                         const struct ce_routing *routing,
                         size_t token,
                         size_t rank,
                         size_t auxiliary)
{
    const uint16_t *expert = routing->expert + token * routing->top_k;
    const float *weight = routing->weight + token * routing->top_k;
    const uint16_t *destination = plan->destination + token * plan->mains;
    size_t count = 0;

    for (size_t i = 0; i < plan->mains + auxiliary; i++) {
        if (i >= plan->mains || destination[i] == rank) {
            pair[count++] = (struct ce_pair){expert[i], (uint16_t)i, weight[i]};
        }
    }
    return count;
}

static void pack_message(unsigned char *message,
                         const struct ce_message_key *key,
                         const struct ce_plan *plan,
                         const struct ce_routing *routing,
                         size_t rank,
                         size_t auxiliary,
                         const float *x,
                         const struct ce_wire *wire)
{
    size_t first = plan->row_begin[rank];
    size_t rows = plan->row_begin[rank + 1] - first;
    size_t mains = plan->assignment_begin[rank + 1] - plan->assignment_begin[rank];
    size_t pairs = mains + rows * auxiliary;
    struct ce_pair *pair = ce_message_pairs(message, rows);
    unsigned char *out = ce_message_dispatch_rows(message, rows, pairs);

    ce_message_write_header(message, key, rows, pairs, auxiliary, wire->row_bytes);
    memcpy(ce_message_row_mains(message),
           plan->row_mains + first,
           rows * sizeof(plan->row_mains[0]));
    for (size_t i = 0; i < rows; i++) {
        size_t token = plan->row_token[first + i];

        pair += pack_pairs(pair, plan, routing, token, rank, auxiliary);
        ce_wire_encode(wire, out + i * wire->row_bytes, x + token * wire->width);
    }
}

void ce_dispatch_pack(struct ce_outbox *outbox,
                      const struct ce_message_key *key,
                      const struct ce_plan *plan,
                      const struct ce_routing *routing,
                      size_t auxiliary,
                      const float *x,
                      const struct ce_wire *wire)
{
    ce_outbox_clear(outbox);
    for (size_t r = 0; r < plan->ranks; r++) {
        size_t rows = plan->row_begin[r + 1] - plan->row_begin[r];
        size_t mains = plan->assignment_begin[r + 1] - plan->assignment_begin[r];

        ce_outbox_reserve(
            outbox,
            r,
            ce_message_dispatch_bytes(rows, mains + rows * auxiliary, wire->row_bytes));
    }
#pragma omp parallel for schedule(dynamic)
    for (size_t r = 0; r < plan->ranks; r++) {
        pack_message(
            ce_outbox_message(outbox, r), key, plan, routing, r, auxiliary, x, wire);
    }
}

enum ce_status ce_messages_receive(struct ce_transport *transport,
                                   enum ce_slot slot,
                                   const struct ce_message_key *key,
                                   struct ce_error *err)
{
    enum ce_status status = ce_exchange_finish(transport, slot, err);

    for (int r = 0; status == CE_OK && r < transport->ranks; r++) {
        const struct ce_bytes *message = &transport->slot[slot].received[r];

        status = ce_message_check(message, key, r, err);
        if (status != CE_OK && !ce_message_tells_failure(message)) {
            ce_transport_fail(transport);
        }
    }
    return status;
}
