/* transport.h - moves messages between the ranks of a job: the one contract of comm/
 *
 * The only operation is the exchange: every rank sends one message (of 0 or
 * more bytes) to every rank, itself included, and receives one from each. There
 * is no separate round for counts: a receiver learns the size from the message.
 * All collectives of the engine are exchanges (see collective.h), so that each
 * wait has the same deadline and the same report of who is missing.
 *
 *   open ─► [ reserve ─► write ─► ] send to each rank, in any order and at any time
 *       └─► next … next: what the others sent, as it arrives ─► finish
 *
 * Ranks: every rank opens the same exchanges on the same slots in the same
 * order; that is all the agreement there is. A rank with nothing to send sends
 * 0 bytes. Slots are independent channels, so that exchanges may overlap.
 *
 * Memory: send buffers are borrowed from send to finish; received bytes belong
 * to the transport, are 64-byte aligned and stay valid until the next open on the
 * same slot. A rank's message to itself is handed over by pointer: it is the send
 * buffer. Memory from ce_exchange_reserve is the transport's, to be written before
 * its send and not after.
 *
 * Threads: one thread at a time uses a transport; for mpi and ucx the one that created
 * it. Ranks that are threads of one process have a transport each (threads.h).
 *
 * Deadline: each wait (next, finish) may last deadline_ms from its entry; 0
 * means for ever. It bounds how long a rank waits for a peer, so it must be
 * longer than the longest computation a peer does between two exchanges.
 *
 * Destroying waits for the peers, too, with the same deadline.
 *
 * Errors: CE_ERR_TIMEOUT when the deadline passes: the text says what this rank was
 * doing, which slot and round, which ranks have not been heard, which sends are not
 * done. After any error of an exchange `failed` is set and the transport can only be
 * destroyed or aborted. Destroy then does not wait for the peers, so that the others
 * learn of it from the launcher, which ends a job of which one process exits unclean.
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

/* Of the messages of a slot between two ranks. */
struct ce_message_size {
    size_t usual; /* few are larger: these get the fastest way */
    size_t largest;
};

/* What went between this rank and one peer on one slot since creation; counted by
 * ce_exchange_send, of what it hands to the back-end, and when a back-end says that a
 * message is here. The own rank's entry
 * counts what would have travelled, although it does not. */
struct ce_link_traffic {
    uint64_t sent_messages;
    uint64_t sent_bytes;
    uint64_t received_messages;
    uint64_t received_bytes;
    uint64_t
        wait_ns; /* of the waits that this peer ended: the last it was missing in */
};

/* What this rank is doing, for the report of a wait that never ends. */
struct ce_activity {
    uint64_t step; /* from 1; 0 before the first */
    size_t layer;
    const char *stage; /* a literal, or NULL */
    /* Called whenever a stage is entered; what it returns is the stage's result. For
     * tests of failures; NULL: nobody is called. */
    enum ce_status (*on_enter)(void *context,
                               const struct ce_activity *now,
                               struct ce_error *err);
    void *context;
};

struct ce_transport; /* common head, then the back-end's own state */

/* What a back-end implements; see the wrappers below for the meaning. */
struct ce_transport_ops {
    const char *name;
    bool one_process; /* the ranks are threads: what one has mapped all see */
    /* Joins the job and allocates the transport (see backend.h). For ucx *t is at first
     * the transport over which the ranks have met, which is then part of it. When it
     * fails, *t may be a transport that works instead, the same on all ranks; else
     * NULL. Collective. */
    enum ce_status (*create)(struct ce_transport **t, struct ce_error *err);
    /* Memory to receive messages of size[slot], and taking it; NULL where none is
     * needed. Collective. */
    size_t (*receive_bytes)(const struct ce_transport *t,
                            const struct ce_message_size *size);
    enum ce_status (*prepare)(struct ce_transport *t,
                              const struct ce_message_size *size,
                              struct ce_error *err);
    /* Begins a round: what came for it before may be handed out. Never blocks.
     * NULL where there is nothing to do. */
    enum ce_status (*open)(struct ce_transport *t,
                           enum ce_slot slot,
                           struct ce_error *err);
    /* Memory the message of this round for another rank may be written to where it
     * is read, or NULL. NULL where a back-end never has any. */
    void *(*reserve)(struct ce_transport *t, enum ce_slot slot, int peer, size_t bytes);
    /* Hands the message for another rank to the library; never blocks. */
    enum ce_status (*send)(struct ce_transport *t,
                           enum ce_slot slot,
                           int peer,
                           struct ce_bytes message,
                           struct ce_error *err);
    /* One bout of progress on an active exchange; never blocks. CE_OK when
     * something moved, CE_AGAIN when nothing did. */
    enum ce_status (*progress)(struct ce_transport *t,
                               enum ce_slot slot,
                               struct ce_error *err);
    /* Lets what is still under way for peers move on, whether or not an exchange is
     * open; never blocks. NULL where nothing can be. */
    enum ce_status (*tend)(struct ce_transport *t, struct ce_error *err);
    /* Leaves the job; collective unless t->failed, which must not wait. */
    void (*destroy)(struct ce_transport *t);
    /* Ends the job on all ranks now, without waiting for them. */
    void (*abort)(struct ce_transport *t, int exit_code);
};

/* State of one slot, kept by exchange.c and filled by the back-ends. */
struct ce_exchange {
    bool active;
    uint64_t round;            /* exchanges opened on this slot */
    int to_give;               /* messages not given to ce_exchange_send yet */
    int to_arrive;             /* messages not here yet */
    int to_send;               /* send buffers not free yet */
    int to_hand_out;           /* messages ce_exchange_next has not returned */
    int mover;                 /* rank whose message arrived or was taken last */
    uint64_t moving_ns;        /* when the first message between ranks moved, or 0 */
    struct ce_bytes *received; /* [ranks] */
    uint64_t *arrived_ns;      /* [ranks] the clock then; kept with a latency only */
    unsigned char *arrived;    /* [ranks] 1: message of that rank is here */
    unsigned char *sent;       /* [ranks] 1: send buffer of that rank is free again */
    unsigned char *handed_out; /* [ranks] 1: next has returned it */
    struct ce_link_traffic *link; /* [ranks] totals */
    uint64_t exposed_ns;          /* total time in next and finish */
    uint64_t span_ns;             /* total time from moving_ns to the last arrival */
};

struct ce_transport {
    const struct ce_transport_ops *ops;
    int rank;
    int ranks;
    uint64_t deadline_ms;
    uint64_t latency_ns; /* messages of others are held back for so long */
    bool failed;         /* an exchange failed: only destroy and abort are left */
    char reason[160];    /* why it is this transport, for the log */
    struct ce_activity activity;
    struct ce_exchange slot[CE_SLOT_COUNT];
    struct ce_bytes *outgoing; /* [ranks] what a collective sends */
    /* Called while this rank waits; NULL: nobody is. For a transport under another one,
     * whose peers may need this rank's progress there. */
    void (*serve)(void *context);
    void *serve_context;
};

/* ce_transport_create, _destroy, _rank and _ranks are public: see cemoe/cemoe.h. */

/* Ends the job on all ranks. Does not return for mpi and ucx; does nothing for self,
 * whose only rank is the caller; for threads (threads.h) the next wait of every other
 * rank fails, and the caller is to end by itself. After an error call it before send
 * buffers are freed: a peer may be reading them. */
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

/* What ce_transport_prepare will take. */
size_t ce_transport_receive_bytes(const struct ce_transport *transport,
                                  const struct ce_message_size size[CE_SLOT_COUNT]);
/* Takes memory for messages of the sizes of each slot. Without it, and for larger ones,
 * memory is taken when they come. No exchange may be active. Collective. */
CE_MUST_CHECK enum ce_status
ce_transport_prepare(struct ce_transport *transport,
                     const struct ce_message_size size[CE_SLOT_COUNT],
                     struct ce_error *err);

/* Notes that this rank enters a stage of activity.step and activity.layer. `status` is
 * what has become of this rank so far: a failure is returned as it is, since a rank
 * that has failed still goes through the stages in which it meets others. Errors: those
 * of on_enter. */
CE_MUST_CHECK enum ce_status ce_transport_enter(struct ce_transport *transport,
                                                const char *stage,
                                                enum ce_status status,
                                                struct ce_error *err);

/* To be called again and again by a rank that waits for others by other means than an
 * exchange (window.h): they may need its progress to come. Does not block. */
CE_MUST_CHECK enum ce_status ce_transport_tend(struct ce_transport *transport,
                                               struct ce_error *err);

/* Counts messages, bytes and times from zero again. */
void ce_transport_reset_counters(struct ce_transport *transport);

/* Begins an exchange. Collective, does not block. */
CE_MUST_CHECK enum ce_status ce_exchange_open(struct ce_transport *transport,
                                              enum ce_slot slot,
                                              struct ce_error *err);

/* Memory of `bytes` bytes, 64-byte aligned, in which the message for `peer` saves a
 * copy: for a rank of the same host it may be where that rank reads it. NULL when
 * there is none; the message is then written to memory of the caller. */
void *ce_exchange_reserve(struct ce_transport *transport,
                          enum ce_slot slot,
                          int peer,
                          size_t bytes);

/* Sends the one message of this exchange to `peer`. Does not block. */
CE_MUST_CHECK enum ce_status ce_exchange_send(struct ce_transport *transport,
                                              enum ce_slot slot,
                                              int peer,
                                              struct ce_bytes message,
                                              struct ce_error *err);

/* Opens an exchange and sends send[r] to each rank r. Collective, does not block. */
CE_MUST_CHECK enum ce_status ce_exchange_start(struct ce_transport *transport,
                                               enum ce_slot slot,
                                               const struct ce_bytes *send,
                                               struct ce_error *err);

/* Lets all active exchanges move on while the caller has other things to do. Does
 * not block. */
CE_MUST_CHECK enum ce_status ce_exchange_poll(struct ce_transport *transport,
                                              struct ce_error *err);

/* True when ce_exchange_next would return a message without waiting. */
bool ce_exchange_has_next(const struct ce_transport *transport, enum ce_slot slot);

/* Waits for one more message: the own first when it has been sent, then as they
 * arrive, the lowest rank first among those already here. Each source is returned
 * once; *source is -1 when all have been. The exchange still has to be finished. */
CE_MUST_CHECK enum ce_status ce_exchange_next(struct ce_transport *transport,
                                              enum ce_slot slot,
                                              int *source,
                                              struct ce_bytes *message,
                                              struct ce_error *err);

/* Waits until all messages are here and all send buffers are free; a message must
 * have been sent to each rank. The received messages are then in
 * transport->slot[slot].received. */
CE_MUST_CHECK enum ce_status ce_exchange_finish(struct ce_transport *transport,
                                                enum ce_slot slot,
                                                struct ce_error *err);

#endif
