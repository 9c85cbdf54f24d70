/* backend.h - what a transport is made of: for the back-ends and their tests only
 *
 * A back-end is one exported table. Its create allocates a structure whose
 * first member is struct ce_transport and fills that with ce_transport_init.
 * It sends in send and tells what has happened with ce_exchange_sent and
 * ce_exchange_arrived; exchange.c does all the rest: the own message, the
 * waiting, the deadline, the counting.
 */

#ifndef CE_COMM_BACKEND_H
#define CE_COMM_BACKEND_H

#include "comm/transport.h"

/* The back-ends that can be asked for by name; transport.c lists them. That of threads
 * is private to threads.c, which gives each rank of a group its own. */
extern const struct ce_transport_ops ce_transport_self;
extern const struct ce_transport_ops ce_transport_mpi;
extern const struct ce_transport_ops ce_transport_ucx;

/* For what ranks tell each other before the caller's deadline counts. */
#define CE_START_UP_MS 120000

/* Fills a zeroed head. On failure ce_transport_fini is still to be called. */
CE_MUST_CHECK enum ce_status ce_transport_init(struct ce_transport *transport,
                                               const struct ce_transport_ops *ops,
                                               int rank,
                                               int ranks,
                                               struct ce_error *err);
/* Every transport begins so, when it has been made. */
void ce_transport_begin(struct ce_transport *transport, uint64_t deadline_ms);
/* Frees what init allocated, not the structure; accepts a zeroed head. */
void ce_transport_fini(struct ce_transport *transport);

/* True when no exchange is between start and finish. */
bool ce_transport_is_idle(const struct ce_transport *transport);

/* All ranks meet before they part, up to the deadline; false, with a warning, when some
 * do not come: the transport has then failed. Leaving returns no status. */
bool ce_transport_meet_at_end(struct ce_transport *transport);

/* The send buffer for `peer` is free again. */
void ce_exchange_sent(struct ce_transport *transport, enum ce_slot slot, int peer);
/* The message of `source` is here and stays until the next open on the slot. */
void ce_exchange_arrived(struct ce_transport *transport,
                         enum ce_slot slot,
                         int source,
                         struct ce_bytes message);

/* For reports of waits that never end. "none", "rank 2" or "ranks 2, 3 and 9 more": the
 * `count` ranks whose flag is 0. */
#define CE_RANKS_TEXT 160
void ce_describe_missing(char *text, const unsigned char *flags, int ranks, int count);
/* "rank 2: step 7, layer 3, stage experts: dispatch round 21"; "rank 2: after step 7:"
 * between steps and "rank 2: stage load:" before them. Without `what` nothing follows
 * the last colon and its space. */
#define CE_WHERE_TEXT 128
void ce_describe_where(char *text,
                       const struct ce_transport *t,
                       const char *what,
                       uint64_t round);

/* Where the messages of one source arrive. */
struct ce_landing {
    unsigned char *memory; /* 64-byte aligned; freed by its owner with free() */
    size_t capacity;
    size_t bytes; /* of the message in it or under way */
};

/* Makes room for `bytes`, losing what was there; false without memory. */
CE_MUST_CHECK bool ce_landing_reserve(struct ce_landing *landing, size_t bytes);

/* The same for just as many, so that later messages of that size allocate nothing. */
CE_MUST_CHECK bool ce_landing_prepare(struct ce_landing *landing, size_t bytes);

/* True when the environment says that an MPI library can join its job. */
bool ce_launcher_speaks_mpi(void);
/* The environment variable with this process' rank; NULL when nothing launched it. */
const char *ce_launcher_rank_variable(void);

#endif
