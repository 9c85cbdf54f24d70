/* transport.h - moves messages between the ranks of a job: the one contract of comm/
 *
 * The only operation is the exchange: every rank sends one message (of 0 or
 * more bytes) to every rank, itself included, and receives one from each. There
 * is no separate round for counts: a receiver learns the size from the message.
 * All collectives of the engine are exchanges (see collective.h), so that each
 * wait has the same deadline and the same report of who is missing.
 *
 * Ranks: every rank starts the same exchanges on the same slots in the same
 * order; that is all the agreement there is. A rank with nothing to send sends
 * 0 bytes. Slots are independent channels, so that exchanges may overlap.
 *
 * Memory: send buffers are borrowed from start to finish (the array that names
 * them only during start); received bytes belong to the transport, are 64-byte
 * aligned and stay valid until the next start on the same slot. Only a rank's
 * message to itself is handed over by pointer: it is the send buffer.
 *
 * Threads: one thread at a time uses a transport; for mpi and ucx the one that created
 * it.
 *
 * Deadline: each wait (next, finish) may last deadline_ms from its entry; 0
 * means for ever. It bounds how long a rank waits for a peer, so it must be
 * longer than the longest computation a peer does between two exchanges.
 *
 * Errors: CE_ERR_TIMEOUT when the deadline passes: the text says which slot and
 * round, which ranks have not been heard, which sends are not done. After any
 * error of an exchange `failed` is set and the transport can only be destroyed
 * or aborted. Destroy then does not wait for the peers, so that the others learn
 * of it from the launcher, which ends a job of which one process exits unclean.
 */

#ifndef CE_COMM_TRANSPORT_H
#define CE_COMM_TRANSPORT_H

#include "base/status.h"
#include "cemoe/cemoe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Slots: two for the layers' dispatch and combine, one for control. */
enum ce_slot { CE_SLOT_DISPATCH = 0, CE_SLOT_COMBINE, CE_SLOT_CONTROL, CE_SLOT_COUNT };

struct ce_bytes {
    const void *data; /* may be NULL when bytes is 0 */
    size_t bytes;
};

/* Totals since creation, indexed by peer; counted where bytes are handed to or
 * taken from the underlying library. The own rank's entries count what would
 * have travelled, although it does not. */
struct ce_traffic {
    uint64_t *sent_messages;
    uint64_t *sent_bytes;
    uint64_t *received_messages;
    uint64_t *received_bytes;
    uint64_t wait_ns; /* time inside ce_exchange_next and ce_exchange_finish */
};

struct ce_transport; /* common head, then the back-end's own state */

/* What a back-end implements; see the wrappers below for the meaning. */
struct ce_transport_ops {
    const char *name;
    /* Joins the job and allocates the transport (see backend.h). Collective. */
    enum ce_status (*create)(struct ce_transport **t, struct ce_error *err);
    /* Hands the messages for the other ranks to the library; never blocks. */
    enum ce_status (*start)(struct ce_transport *t,
                            enum ce_slot slot,
                            const struct ce_bytes *send,
                            struct ce_error *err);
    /* One bout of progress on an active exchange; never blocks. CE_OK when
     * something moved, CE_AGAIN when nothing did. */
    enum ce_status (*progress)(struct ce_transport *t,
                               enum ce_slot slot,
                               struct ce_error *err);
    /* Leaves the job; collective unless t->failed, which must not wait. */
    void (*destroy)(struct ce_transport *t);
    /* Ends the job on all ranks now, without waiting for them. */
    void (*abort)(struct ce_transport *t, int exit_code);
};

/* State of one slot, kept by exchange.c and filled by the back-ends. */
struct ce_exchange {
    bool active;
    uint64_t round;            /* exchanges started on this slot */
    int to_arrive;             /* messages not here yet */
    int to_send;               /* send buffers not free yet */
    int to_hand_out;           /* messages ce_exchange_next has not returned */
    struct ce_bytes *received; /* [ranks] */
    unsigned char *arrived;    /* [ranks] 1: message of that rank is here */
    unsigned char *sent;       /* [ranks] 1: send buffer of that rank is free again */
    unsigned char *handed_out; /* [ranks] 1: next has returned it */
};

struct ce_transport {
    const struct ce_transport_ops *ops;
    int rank;
    int ranks;
    uint64_t deadline_ms;
    bool failed; /* an exchange failed: only destroy and abort are left */
    struct ce_exchange slot[CE_SLOT_COUNT];
    struct ce_traffic traffic;
    struct ce_bytes *outgoing; /* [ranks] what a collective sends */
};

/* ce_transport_create, _destroy, _rank and _ranks are public: see cemoe/cemoe.h. */

/* Ends the job on all ranks. Does not return for mpi and ucx; does nothing for self,
 * whose only rank is the caller. After an error call it before send buffers are
 * freed: a peer may be reading them. */
void ce_transport_abort(struct ce_transport *transport, int exit_code);
/* Rank and size the launcher's environment announces, before any library is
 * started; 0 and 1 when not launched, 0 ranks when it does not say how many.
 * For messages of early failures. */
void ce_transport_launcher(int *rank, int *ranks);
/* The names ce_transport_create accepts besides "auto", NULL-terminated. */
const char *const *ce_transport_names(void);

/* Marks the transport as failed, by a caller that found that a peer's message
 * makes no sense: it is alone with that, and only abort tells the others. */
void ce_transport_fail(struct ce_transport *transport);

/* Starts an exchange: send[r] goes to rank r. Collective, does not block. */
CE_MUST_CHECK enum ce_status ce_exchange_start(struct ce_transport *transport,
                                               enum ce_slot slot,
                                               const struct ce_bytes *send,
                                               struct ce_error *err);

/* Waits for one more message: the own first, then as they arrive, the lowest
 * rank first among those already here. Each source is returned once; *source is
 * -1 when all have been. The exchange still has to be finished. */
CE_MUST_CHECK enum ce_status ce_exchange_next(struct ce_transport *transport,
                                              enum ce_slot slot,
                                              int *source,
                                              struct ce_bytes *message,
                                              struct ce_error *err);

/* Waits until all messages are here and all send buffers are free. The received
 * messages are then in transport->slot[slot].received. */
CE_MUST_CHECK enum ce_status ce_exchange_finish(struct ce_transport *transport,
                                                enum ce_slot slot,
                                                struct ce_error *err);

#endif
