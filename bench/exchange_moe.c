/* exchange_moe.c - plan, dispatch and combine of one layer, without its experts */

#include "exchange_moe.h"

#include "harness.h"
#include "moe/moe.h"
#include "routing.h"

#include <mpi.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "sizes travel as uint64_t");

/* ---- the plan ---- */

static void take_plan(struct exchange *x, struct ce_arena *arena)
{
    const size_t selected = x->of.tokens * x->of.shape.top_k;

    x->routing.expert = ce_arena_take(arena, selected, sizeof(x->routing.expert[0]));
    x->routing.weight = ce_arena_take(arena, selected, sizeof(x->routing.weight[0]));
    x->shard = ce_arena_take(arena, x->ranks, sizeof(x->shard[0]));
    x->assigned = ce_arena_take(arena, x->ranks, sizeof(x->assigned[0]));
    for (size_t i = 0; i < EXCHANGE_PHASES; i++) {
        x->sends[i] = ce_arena_take(arena, x->ranks, sizeof(x->sends[0][0]));
        x->receives[i] = ce_arena_take(arena, x->ranks, sizeof(x->receives[0][0]));
    }
    x->view = ce_arena_take(arena, x->ranks, sizeof(x->view[0]));
    x->incoming = ce_arena_take(arena, x->ranks, sizeof(x->incoming[0]));
    x->scratch =
        ce_arena_take(arena, x->of.mains * x->of.shape.width, sizeof(x->scratch[0]));
    ce_plan_take(&x->plan, arena, x->of.tokens, x->of.mains, x->ranks);
}

/* The only owner of an expert. */
static size_t owner_of(const struct exchange *x, size_t expert)
{
    return ce_placement_owners(&x->placement, 0, expert).rank[0];
}

/* Counted from the routing, not taken from the plan. */
static void count_assigned(struct exchange *x)
{
    memset(x->assigned, 0, x->ranks * sizeof(x->assigned[0]));
    for (size_t r = 0; r < x->ranks; r++) {
        x->shard[r] = ce_placement_shard(&x->placement, 0, r);
    }
    for (size_t t = 0; t < x->of.tokens; t++) {
        const uint16_t *expert = x->routing.expert + t * x->of.shape.top_k;

        for (size_t i = 0; i < x->of.mains; i++) {
            x->assigned[owner_of(x, expert[i])]++;
        }
    }
}

static void tell_sizes(const size_t *mine, size_t *theirs)
{
    (void)MPI_Alltoall(mine, 1, MPI_UINT64_T, theirs, 1, MPI_UINT64_T, MPI_COMM_WORLD);
}

/* The own rows stay where they are, unless the wire rounds them. */
static size_t row_bytes_for(const struct exchange *x, size_t peer)
{
    return peer == x->rank && x->wire.format == CE_WIRE_F32 ? 0 : x->wire.row_bytes;
}

static void share_sizes(struct exchange *x)
{
    const size_t row_bytes = x->wire.row_bytes;

    for (size_t r = 0; r < x->ranks; r++) {
        x->sends[EXCHANGE_DISPATCH][r] =
            ce_dispatch_bytes(&x->plan, r, x->auxiliary, row_bytes_for(x, r));
        x->receives[EXCHANGE_COMBINE][r] = ce_message_combine_bytes(
            ce_combine_rows(&x->plan, x->of.combine, r), row_bytes);
    }
    tell_sizes(x->sends[EXCHANGE_DISPATCH], x->receives[EXCHANGE_DISPATCH]);
    tell_sizes(x->receives[EXCHANGE_COMBINE], x->sends[EXCHANGE_COMBINE]);
}

enum ce_status exchange_open(struct exchange *exchange,
                             const struct exchange_case *of,
                             int rank,
                             int ranks,
                             const double *chance,
                             uint64_t seed,
                             uint64_t first,
                             struct ce_error *err)
{
    struct ce_arena need;

    *exchange =
        (struct exchange){.of = *of,
                          .rank = (size_t)rank,
                          .ranks = (size_t)ranks,
                          .auxiliary = of->shape.top_k - of->mains,
                          .wire = ce_wire_for(of->format, of->shape.width),
                          .routing = {.tokens = of->tokens, .top_k = of->shape.top_k}};
    enum ce_status status =
        ce_placement_contiguous(&exchange->placement, 1, of->shape.experts, ranks, err);
    if (status != CE_OK) {
        return status;
    }
    ce_arena_measure(&need);
    take_plan(exchange, &need);
    status = ce_arena_create(&exchange->plan_memory, need.used, err);
    if (status != CE_OK) {
        return status;
    }
    take_plan(exchange, &exchange->plan_memory);
    routing_draw(&exchange->routing,
                 chance,
                 of->shape.experts,
                 seed,
                 first + (uint64_t)rank * of->tokens);
    ce_plan_build(
        &exchange->plan, &exchange->routing, &exchange->placement, 0, exchange->rank);
    count_assigned(exchange);
    share_sizes(exchange);
    return CE_OK;
}

void exchange_close(struct exchange *exchange)
{
    ce_arena_destroy(&exchange->box_memory);
    ce_arena_destroy(&exchange->plan_memory);
    ce_placement_destroy(&exchange->placement);
}

/* ---- buffers ---- */

static size_t sum(const size_t *bytes, size_t ranks)
{
    size_t all = 0;

    for (size_t r = 0; r < ranks; r++) {
        all += (bytes[r] + 63) / 64 * 64;
    }
    return all;
}

static void
take_boxes(const struct exchange *x, struct ce_outbox *box, struct ce_arena *arena)
{
    for (size_t i = 0; i < EXCHANGE_PHASES; i++) {
        ce_outbox_take(&box[i], arena, sum(x->sends[i], x->ranks), x->ranks);
    }
}

size_t exchange_box_bytes(const struct exchange *exchange)
{
    struct ce_outbox box[EXCHANGE_PHASES];
    struct ce_arena need;

    ce_arena_measure(&need);
    take_boxes(exchange, box, &need);
    return need.used;
}

enum ce_status exchange_take(struct exchange *exchange, struct ce_error *err)
{
    enum ce_status status =
        ce_arena_create(&exchange->box_memory, exchange_box_bytes(exchange), err);

    if (status == CE_OK) {
        take_boxes(exchange, exchange->box, &exchange->box_memory);
    }
    return status;
}

/* As the engine would for steps of so many tokens. */
static void find_sizes(const struct exchange *x, struct ce_message_size *size)
{
    const struct ce_moe moe = {
        .experts = x->of.shape.experts,
        .mains = x->of.mains,
        .auxiliary = x->auxiliary,
        .wire = x->wire,
        .max_tokens = x->of.tokens,
        .combine = x->of.combine,
        .shard = ce_placement_largest_shard(&x->placement),
    };

    ce_moe_message_sizes(&moe, size);
}

size_t exchange_transport_bytes(const struct exchange *exchange,
                                const struct ce_transport *transport)
{
    struct ce_message_size size[CE_SLOT_COUNT];

    find_sizes(exchange, size);
    return ce_transport_receive_bytes(transport, size);
}

enum ce_status exchange_prepare(const struct exchange *exchange,
                                struct ce_transport *transport,
                                struct ce_error *err)
{
    struct ce_message_size size[CE_SLOT_COUNT];

    find_sizes(exchange, size);
    return ce_transport_prepare(transport, size, err);
}

/* ---- dispatch ---- */

static struct ce_message_key key_of(const struct exchange *x, enum ce_phase phase)
{
    return (struct ce_message_key){x->step, 0, phase};
}

/* The successor first and the own message last, as in the engine. */
static enum ce_status send_rows(struct exchange *x,
                                struct ce_transport *transport,
                                const float *rows,
                                struct ce_error *err)
{
    const struct ce_message_key key = key_of(x, CE_PHASE_DISPATCH);
    struct ce_outbox *box = &x->box[EXCHANGE_DISPATCH];
    enum ce_status status = CE_OK;

    ce_outbox_clear(box);
    for (size_t step = 1; status == CE_OK && step <= x->ranks; step++) {
        const size_t peer = (x->rank + step) % x->ranks;
        void *message = ce_outbox_place(box,
                                        transport,
                                        CE_SLOT_DISPATCH,
                                        (int)peer,
                                        x->sends[EXCHANGE_DISPATCH][peer]);

        ce_dispatch_pack(message,
                         &key,
                         &x->plan,
                         &x->routing,
                         peer,
                         x->auxiliary,
                         row_bytes_for(x, peer) > 0 ? rows : NULL,
                         &x->wire);
        status = ce_exchange_send(
            transport, CE_SLOT_DISPATCH, (int)peer, box->message[peer], err);
    }
    return status;
}

/* Takes one message apart; *source is -1 when there are no more. */
static enum ce_status take_rows(struct exchange *x,
                                struct ce_transport *transport,
                                bool read,
                                int *source,
                                struct ce_error *err)
{
    const struct ce_message_key key = key_of(x, CE_PHASE_DISPATCH);
    struct ce_bytes message;
    enum ce_status status =
        ce_exchange_next(transport, CE_SLOT_DISPATCH, source, &message, err);

    if (status != CE_OK || *source < 0) {
        return status;
    }
    status = ce_message_check(&message, &key, *source, err);
    if (status == CE_OK) {
        status = ce_message_read_dispatch(&message,
                                          row_bytes_for(x, (size_t)*source),
                                          x->auxiliary,
                                          *source,
                                          &x->view[*source],
                                          err);
    }
    if (status == CE_OK && read && (size_t)*source != x->rank) {
        bench_read(message.data, message.bytes);
    }
    return status;
}

enum ce_status exchange_dispatch(struct exchange *exchange,
                                 struct ce_transport *transport,
                                 const float *x,
                                 bool read,
                                 struct ce_error *err)
{
    enum ce_status status = ce_exchange_open(transport, CE_SLOT_DISPATCH, err);
    int source = 0;

    exchange->step++;
    if (status == CE_OK) {
        status = send_rows(exchange, transport, x, err);
    }
    while (status == CE_OK && source >= 0) {
        status = take_rows(exchange, transport, read, &source, err);
    }
    return status == CE_OK ? ce_exchange_finish(transport, CE_SLOT_DISPATCH, err)
                           : status;
}

/* ---- combine ---- */

/* Where the results stand, [rows][width], and which is next. */
struct source {
    const float *values;
    size_t rows;
    size_t next;
};

/* `count` rows that stand together. */
static const float *take_results(struct source *source, size_t count, size_t width)
{
    const size_t from = source->next + count <= source->rows ? source->next : 0;

    source->next = from + count;
    return source->values + from * width;
}

/* The results for one peer: a row for each assignment, or their sum for each row of
 * x, as the engine leaves them. */
static void write_results(struct exchange *x,
                          const struct ce_dispatch_view *view,
                          unsigned char *out,
                          struct source *source)
{
    const struct ce_wire *wire = &x->wire;

    if (x->of.combine == CE_COMBINE_ORDERED) {
        for (size_t i = 0; i < view->assignments; i++) {
            ce_wire_encode(
                wire, out + i * wire->row_bytes, take_results(source, 1, wire->width));
        }
        return;
    }
    for (size_t i = 0; i < view->rows; i++) {
        const struct ce_dispatch_view one = {.rows = 1,
                                             .row_mains = view->row_mains + i};
        const size_t count = view->row_mains[i];
        size_t first = 0;

        memcpy(x->scratch,
               take_results(source, count, wire->width),
               count * wire->width * sizeof(x->scratch[0]));
        ce_combine_reduce(&one, x->scratch, out + i * wire->row_bytes, wire, &first);
    }
}

static enum ce_status answer(struct exchange *x,
                             struct ce_transport *transport,
                             size_t peer,
                             struct source *source,
                             struct ce_error *err)
{
    const struct ce_message_key key = key_of(x, CE_PHASE_COMBINE);
    const struct ce_dispatch_view *view = &x->view[peer];
    const size_t rows =
        x->of.combine == CE_COMBINE_PARTIAL ? view->rows : view->assignments;
    struct ce_outbox *box = &x->box[EXCHANGE_COMBINE];
    void *message = ce_outbox_place(box,
                                    transport,
                                    CE_SLOT_COMBINE,
                                    (int)peer,
                                    ce_message_combine_bytes(rows, x->wire.row_bytes));

    ce_message_write_header(message, &key, rows, 0, 0, x->wire.row_bytes);
    write_results(x, view, ce_message_combine_rows(message), source);
    return ce_exchange_send(
        transport, CE_SLOT_COMBINE, (int)peer, box->message[peer], err);
}

static enum ce_status read_answers(struct exchange *x,
                                   const struct ce_transport *transport,
                                   struct ce_error *err)
{
    const struct ce_message_key key = key_of(x, CE_PHASE_COMBINE);
    enum ce_status status = CE_OK;

    for (size_t r = 0; status == CE_OK && r < x->ranks; r++) {
        const struct ce_bytes *message = &transport->slot[CE_SLOT_COMBINE].received[r];

        status = ce_message_check(message, &key, (int)r, err);
        if (status == CE_OK) {
            status =
                ce_message_read_combine(message,
                                        ce_combine_rows(&x->plan, x->of.combine, r),
                                        x->wire.row_bytes,
                                        (int)r,
                                        &x->incoming[r],
                                        err);
        }
    }
    return status;
}

enum ce_status exchange_combine(struct exchange *exchange,
                                struct ce_transport *transport,
                                const float *source,
                                size_t rows,
                                size_t begin,
                                float *y,
                                struct ce_error *err)
{
    struct source results = {source, rows, begin};
    enum ce_status status = ce_exchange_open(transport, CE_SLOT_COMBINE, err);

    ce_outbox_clear(&exchange->box[EXCHANGE_COMBINE]);
    for (size_t step = 1; status == CE_OK && step <= exchange->ranks; step++) {
        const size_t peer = (exchange->rank + step) % exchange->ranks;

        status = answer(exchange, transport, peer, &results, err);
    }
    if (status == CE_OK) {
        status = ce_exchange_finish(transport, CE_SLOT_COMBINE, err);
    }
    if (status == CE_OK) {
        status = read_answers(exchange, transport, err);
    }
    if (status == CE_OK) {
        ce_combine_sum(&exchange->plan,
                       exchange->of.combine,
                       exchange->incoming,
                       y,
                       &exchange->wire);
    }
    return status;
}

/* ---- counting ---- */

static uint64_t read_counter(const struct ce_link_traffic *link,
                             enum exchange_counter counter)
{
    switch (counter) {
    case EXCHANGE_SENT_MESSAGES:
        return link->sent_messages;
    case EXCHANGE_SENT_BYTES:
        return link->sent_bytes;
    case EXCHANGE_RECEIVED_MESSAGES:
        return link->received_messages;
    case EXCHANGE_RECEIVED_BYTES:
        return link->received_bytes;
    case EXCHANGE_COUNTERS:
        break;
    }
    return 0;
}

void exchange_add_counters(const struct ce_transport *transport,
                           enum exchange_counter counter,
                           uint64_t *count)
{
    for (int r = 0; r < transport->ranks; r++) {
        count[r] += read_counter(&transport->slot[CE_SLOT_DISPATCH].link[r], counter) +
                    read_counter(&transport->slot[CE_SLOT_COMBINE].link[r], counter);
    }
}

/* The rows of a dispatch message of `bytes`; bytes grow with the rows, so there is
 * one number at most. SIZE_MAX when there is none. */
static size_t find_rows(const struct exchange *x, size_t peer, uint64_t bytes)
{
    size_t low = 0;
    size_t high = (size_t)bytes / x->wire.row_bytes + 1;

    while (low < high) {
        const size_t rows = low + (high - low) / 2;
        const size_t pairs = x->assigned[peer] + rows * x->auxiliary;
        const size_t found = ce_message_dispatch_bytes(rows, pairs, x->wire.row_bytes);

        if (found == bytes) {
            return rows;
        }
        low = found < bytes ? rows + 1 : low;
        high = found < bytes ? high : rows;
    }
    return SIZE_MAX;
}

/* The results in a combine message of `bytes`, or SIZE_MAX. */
static size_t find_results(const struct exchange *x, size_t peer, uint64_t bytes)
{
    const size_t results =
        (size_t)(bytes - ce_message_combine_bytes(0, 0)) / x->wire.row_bytes;

    (void)peer;
    return ce_message_combine_bytes(results, x->wire.row_bytes) == bytes ? results
                                                                         : SIZE_MAX;
}

/* Bytes handed to the transport so far. */
static void
read_sent(const struct ce_transport *transport, enum ce_slot slot, uint64_t *sent)
{
    for (int r = 0; r < transport->ranks; r++) {
        sent[r] = transport->slot[slot].link[r].sent_bytes;
    }
}

/* Adds what was sent to other ranks beyond `before`. */
static enum ce_status
count_phase(const struct exchange *x,
            const struct ce_transport *transport,
            enum ce_slot slot,
            const uint64_t *before,
            size_t (*find)(const struct exchange *x, size_t peer, uint64_t bytes),
            uint64_t *items,
            uint64_t *bytes,
            struct ce_error *err)
{
    for (size_t r = 0; r < x->ranks; r++) {
        const uint64_t sent = transport->slot[slot].link[r].sent_bytes - before[r];
        const size_t found = r == x->rank ? 0 : find(x, r, sent);

        if (found == SIZE_MAX) {
            return ce_fail(
                err,
                CE_ERR_MISMATCH,
                "rank %zu sent %llu bytes to rank %zu: no number of rows has "
                "that size",
                x->rank,
                (unsigned long long)sent,
                r);
        }
        *items += found;
        *bytes += r == x->rank ? 0 : sent;
    }
    return CE_OK;
}

enum ce_status exchange_count(struct exchange *exchange,
                              struct ce_transport *transport,
                              const float *x,
                              size_t rows,
                              float *y,
                              struct exchange_tally *tally,
                              struct ce_error *err)
{
    uint64_t *before = calloc(exchange->ranks, sizeof(before[0]));

    *tally = (struct exchange_tally){.tokens = exchange->of.tokens};
    if (before == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for counters");
    }
    read_sent(transport, CE_SLOT_DISPATCH, before);
    enum ce_status status = exchange_dispatch(exchange, transport, x, false, err);
    if (status == CE_OK) {
        status = count_phase(exchange,
                             transport,
                             CE_SLOT_DISPATCH,
                             before,
                             find_rows,
                             &tally->rows,
                             &tally->bytes[EXCHANGE_DISPATCH],
                             err);
    }
    read_sent(transport, CE_SLOT_COMBINE, before);
    if (status == CE_OK) {
        status = exchange_combine(exchange, transport, x, rows, 0, y, err);
    }
    if (status == CE_OK) {
        status = count_phase(exchange,
                             transport,
                             CE_SLOT_COMBINE,
                             before,
                             find_results,
                             &tally->results,
                             &tally->bytes[EXCHANGE_COMBINE],
                             err);
    }
    free(before);
    return status;
}

struct ce_traffic_estimate exchange_expected(const struct exchange *exchange)
{
    const bool partial = exchange->of.combine == CE_COMBINE_PARTIAL;
    const struct ce_traffic_model model = {.experts = exchange->of.shape.experts,
                                           .ranks = exchange->ranks,
                                           .shard = exchange->shard,
                                           .mains = exchange->of.mains,
                                           .auxiliary = exchange->auxiliary,
                                           .row_bytes = exchange->wire.row_bytes};

    return ce_traffic_mean(&model, partial ? CE_TRAFFIC_PARTIAL : CE_TRAFFIC_ORDERED);
}
