/* exchange_moe.h - one layer's dispatch and combine as the engine does them
 *
 * The only file of this folder that plans, packs, exchanges and sums with src/moe
 * and src/comm. One object is one layer's exchange with one routing; it runs on any
 * transport, one after the other.
 *
 *   open (plan) ──► take (buffers) ──► dispatch ─► combine ──► close
 *                                      └─ as often as wanted ─┘
 *
 * Experts are left out, so dispatch and combine follow each other: nothing overlaps
 * as it does in src/moe/flow.c.
 */

#ifndef CE_BENCH_EXCHANGE_MOE_H
#define CE_BENCH_EXCHANGE_MOE_H

#include "base/arena.h"
#include "comm/transport.h"
#include "moe/combine.h"
#include "moe/dispatch.h"
#include "moe/placement.h"
#include "moe/plan.h"
#include "moe/traffic.h"
#include "moe/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum exchange_phase { EXCHANGE_DISPATCH = 0, EXCHANGE_COMBINE, EXCHANGE_PHASES };

struct exchange_shape {
    const char *name;
    size_t experts;
    size_t top_k;
    size_t width; /* values of a row */
};

struct exchange_case {
    struct exchange_shape shape;
    size_t mains;  /* of the top_k; the others are auxiliary */
    size_t tokens; /* of each rank */
    enum ce_wire_format format;
    enum ce_combine combine;
};

struct exchange {
    struct exchange_case of;
    size_t rank;
    size_t ranks;
    size_t auxiliary;
    struct ce_wire wire;
    uint32_t step; /* counts dispatches */
    struct ce_arena plan_memory;
    struct ce_placement placement;
    struct ce_routing routing;
    struct ce_plan plan;
    size_t *shard;                     /* [ranks] experts each owns */
    size_t *assigned;                  /* [ranks] main experts of our tokens there */
    size_t *sends[EXCHANGE_PHASES];    /* [ranks] bytes of the message to each */
    size_t *receives[EXCHANGE_PHASES]; /* [ranks] and from each */
    struct ce_arena box_memory;
    struct ce_outbox box[EXCHANGE_PHASES];
    struct ce_dispatch_view *view;  /* [ranks] */
    const unsigned char **incoming; /* [ranks] */
    float *scratch;                 /* [mains][width] */
};

/* What one step moved, of this rank or summed over ranks; only between ranks. */
struct exchange_tally {
    uint64_t tokens;
    uint64_t rows;    /* rows of x */
    uint64_t results; /* rows of results */
    uint64_t bytes[EXCHANGE_PHASES];
};

/* Draws experts for this rank's tokens, of which the first of all ranks together
 * has the number `first`, and plans. Collective: ranks tell each other the sizes of
 * their messages. On failure close is still to be called. */
CE_MUST_CHECK enum ce_status exchange_open(struct exchange *exchange,
                                           const struct exchange_case *of,
                                           int rank,
                                           int ranks,
                                           const double *chance,
                                           uint64_t seed,
                                           uint64_t first,
                                           struct ce_error *err);
void exchange_close(struct exchange *exchange);

/* Bytes that take allocates. */
size_t exchange_box_bytes(const struct exchange *exchange);
CE_MUST_CHECK enum ce_status exchange_take(struct exchange *exchange,
                                           struct ce_error *err);

/* What a transport takes to be prepared as the engine prepares it for steps of so many
 * tokens, and doing so, once for each transport. Collective. */
size_t exchange_transport_bytes(const struct exchange *exchange,
                                const struct ce_transport *transport);
CE_MUST_CHECK enum ce_status exchange_prepare(const struct exchange *exchange,
                                              struct ce_transport *transport,
                                              struct ce_error *err);

/* Rows of x [tokens][width] to the owners of their main experts; with `read` all that
 * other ranks sent is read once, as it arrives. Collective. */
CE_MUST_CHECK enum ce_status exchange_dispatch(struct exchange *exchange,
                                               struct ce_transport *transport,
                                               const float *x,
                                               bool read,
                                               struct ce_error *err);
/* A result for each row's main expert, copied from `source` [rows][width] from row
 * `begin` on, round and round, or summed by row for a partial combine; then the sums,
 * y [tokens][width]. Collective. */
CE_MUST_CHECK enum ce_status exchange_combine(struct exchange *exchange,
                                              struct ce_transport *transport,
                                              const float *source,
                                              size_t rows,
                                              size_t begin,
                                              float *y,
                                              struct ce_error *err);

/* One dispatch and one combine, and what they moved, with results out of the `rows`
 * rows of x, of which the first are the tokens': rows found from the bytes that
 * were handed to the transport, which leave one number of rows only. Errors:
 * CE_ERR_MISMATCH when no number of rows has that many bytes. */
CE_MUST_CHECK enum ce_status exchange_count(struct exchange *exchange,
                                            struct ce_transport *transport,
                                            const float *x,
                                            size_t rows,
                                            float *y,
                                            struct exchange_tally *tally,
                                            struct ce_error *err);

/* What uniform routing makes of this case; for one token, between ranks. */
struct ce_traffic_estimate exchange_expected(const struct exchange *exchange);

/* What a transport has counted of dispatch and combine, for each peer. */
enum exchange_counter {
    EXCHANGE_SENT_MESSAGES = 0,
    EXCHANGE_SENT_BYTES,
    EXCHANGE_RECEIVED_MESSAGES,
    EXCHANGE_RECEIVED_BYTES,
    EXCHANGE_COUNTERS
};
/* Adds it to count [ranks]. */
void exchange_add_counters(const struct ce_transport *transport,
                           enum exchange_counter counter,
                           uint64_t *count);

#endif
