/* dispatch.c - packing rows and pairs for their destinations */

#include "moe/dispatch.h"

#include <string.h>

void ce_outbox_take(struct ce_outbox *outbox,
                    struct ce_arena *arena,
                    size_t capacity,
                    size_t ranks)
{
    outbox->capacity = capacity;
    outbox->memory = ce_arena_take(arena, outbox->capacity, 1);
    outbox->failure = ce_arena_take(arena, CE_MESSAGE_FAILURE_BYTES, 1);
    outbox->message = ce_arena_take(arena, ranks, sizeof(outbox->message[0]));
}

void ce_outbox_clear(struct ce_outbox *outbox)
{
    outbox->used = 0;
}

void *ce_outbox_place(struct ce_outbox *outbox,
                      struct ce_transport *transport,
                      enum ce_slot slot,
                      int rank,
                      size_t bytes)
{
    void *place = ce_exchange_reserve(transport, slot, rank, bytes);

    if (place == NULL) {
        place = outbox->memory + outbox->used;
        outbox->used += (bytes + 63) / 64 * 64;
    }
    outbox->message[rank] = (struct ce_bytes){place, bytes};
    return place;
}

void ce_outbox_fail(struct ce_outbox *outbox,
                    size_t ranks,
                    const struct ce_message_key *key,
                    enum ce_status status,
                    const struct ce_error *why)
{
    size_t bytes = ce_message_write_failure(outbox->failure, key, status, why);

    for (size_t r = 0; r < ranks; r++) {
        outbox->message[r] = (struct ce_bytes){outbox->failure, bytes};
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

size_t ce_dispatch_bytes(const struct ce_plan *plan,
                         size_t rank,
                         size_t auxiliary,
                         size_t row_bytes)
{
    size_t rows = plan->row_begin[rank + 1] - plan->row_begin[rank];
    size_t mains = plan->assignment_begin[rank + 1] - plan->assignment_begin[rank];

    return ce_message_dispatch_bytes(rows, mains + rows * auxiliary, row_bytes);
}

/* Fewer rows than this are copied sooner than threads can be woken. */
#define PARALLEL_ROWS 32

void ce_dispatch_pack(unsigned char *message,
                      const struct ce_message_key *key,
                      const struct ce_plan *plan,
                      const struct ce_routing *routing,
                      size_t rank,
                      size_t auxiliary,
                      const float *x,
                      const struct ce_wire *wire)
{
    const uint32_t *token = plan->row_token + plan->row_begin[rank];
    size_t rows = plan->row_begin[rank + 1] - plan->row_begin[rank];
    size_t mains = plan->assignment_begin[rank + 1] - plan->assignment_begin[rank];
    size_t pairs = mains + rows * auxiliary;
    struct ce_pair *pair = ce_message_pairs(message, rows);
    unsigned char *out = ce_message_dispatch_rows(message, rows, pairs);
    size_t row_bytes = x != NULL ? wire->row_bytes : 0;

    ce_message_write_header(message, key, rows, pairs, auxiliary, row_bytes);
    memcpy(ce_message_row_mains(message),
           plan->row_mains + plan->row_begin[rank],
           rows * sizeof(plan->row_mains[0]));
    for (size_t i = 0; i < rows; i++) {
        pair += pack_pairs(pair, plan, routing, token[i], rank, auxiliary);
    }
    if (x == NULL) {
        return;
    }
#pragma omp parallel for schedule(static) if (rows >= PARALLEL_ROWS)
    for (size_t i = 0; i < rows; i++) {
        ce_wire_encode(wire, out + i * wire->row_bytes, x + token[i] * wire->width);
    }
}
