/* ucx.h - state of the ucx transport, shared by its files only
 *
 * UCX's own types appear here by their tags, so that ucp/api/ucp.h is included
 * by the files that call it and by nobody else.
 */

#ifndef CE_COMM_UCX_H
#define CE_COMM_UCX_H

#include "comm/backend.h"

/* Goes before the bytes of every message; ranks run the same build (hello.h). */
struct ucx_header {
    uint64_t round;
    uint64_t bytes;
    uint32_t slot;
    uint32_t source;
};

/* What is known of a message that came as an active message. */
struct ucx_arrival {
    uint64_t round;
    size_t bytes;
    bool here;         /* early, and its bytes are in the link's memory for that */
    void *description; /* early, and its bytes are still with the sender */
};

/* One slot's traffic with one peer. */
struct ucx_link {
    struct ucx_transport *ucx;
    enum ce_slot slot;
    int peer;
    struct ucx_header header;      /* borrowed by UCX until the send is done */
    struct ucx_arrival arrival[2]; /* this round's and the next's, in turns */
    struct ce_landing landing;     /* of the message of this round */
    struct ce_landing early;       /* of a small message of the next round */
    bool under_way;                /* UCX may still write to the landing */
    struct ucx_box *outbox[2]; /* in the peer's memory; NULL when it cannot be mapped */
    struct ucx_box *inbox[2];  /* in ours; NULL when the peer is on another host */
    size_t outbox_bytes;
    size_t inbox_bytes;
};

/* What UCX reports for an endpoint goes to its peer's entry. */
struct ucx_endpoint {
    struct ucx_transport *ucx;
    struct ucp_ep *handle; /* NULL for the own rank */
    struct ucp_rkey *key;  /* of the peer's boxes, or NULL */
    int peer;
    bool is_near; /* on the same host */
};

struct ucx_transport {
    struct ce_transport head;
    struct ce_transport *bootstrap; /* MPI: start-up, end and abort */
    struct ucp_context *context;
    struct ucp_worker *worker;
    struct ucp_mem *boxes; /* memory the others of the host write to, or NULL */
    struct ucx_endpoint *endpoints;        /* [ranks] */
    struct ucx_link *links[CE_SLOT_COUNT]; /* [ranks] */
    uint64_t events;                       /* sends done and messages arrived */
    bool closing;                          /* peers may be gone already */
    enum ce_status status;                 /* of the first failure in a callback */
    struct ce_error error;                 /* likewise */
};

/* Keeps the first failure of a callback for the next bout of progress. */
void ucx_note_failure(struct ucx_transport *ucx,
                      enum ce_status status,
                      const char *what,
                      int peer,
                      const char *reason);

/* Context, worker and an endpoint to every rank. Collective; all ranks return
 * the same status. Needs head and bootstrap. */
CE_MUST_CHECK enum ce_status ucx_connect(struct ucx_transport *ucx,
                                         struct ce_error *err);
/* The reverse; false when it failed, which it says, and UCX is left as it is.
 * Collective. */
bool ucx_disconnect(struct ucx_transport *ucx);
/* Returns when all ranks have called it. The bootstrap then has this transport's
 * deadline and activity, for what it does next. Collective. */
CE_MUST_CHECK enum ce_status ucx_meet(struct ucx_transport *ucx, struct ce_error *err);

/* Gives the others of the host boxes for messages of the usual size, or what there is
 * room for, and maps theirs (see ucx_box.c); to be able to is not needed.
 * Collective. */
CE_MUST_CHECK enum ce_status ucx_open_boxes(struct ucx_transport *ucx,
                                            const struct ce_message_size *size,
                                            struct ce_error *err);
/* The largest message each slot's boxes will hold, and what they take together. */
size_t ucx_box_capacities(const struct ucx_transport *ucx,
                          const struct ce_message_size *size,
                          size_t capacity[CE_SLOT_COUNT]);
/* Before the endpoints are closed, and when nobody writes any more. */
void ucx_forget_boxes(struct ucx_transport *ucx);
void ucx_free_boxes(struct ucx_transport *ucx);

/* Where the message of the current round may be written in the peer's box; NULL when
 * there is none or it is too small. */
void *ucx_box_reserve(const struct ucx_link *link, size_t bytes);
/* Puts the message of the current round into the peer's box; false when there is
 * none or it is too small. */
bool ucx_box_send(struct ucx_link *link, struct ce_bytes message);
enum ucx_box_state { UCX_BOX_EMPTY, UCX_BOX_FULL, UCX_BOX_BAD };
/* Looks for the peer's message of the current round. */
enum ucx_box_state ucx_box_look(const struct ucx_link *link, struct ce_bytes *message);

/* Boxes and landings for messages of these sizes (ucx_prepare.c); members of the table.
 */
size_t ucx_receive_bytes(const struct ce_transport *t,
                         const struct ce_message_size *size);
CE_MUST_CHECK enum ce_status ucx_prepare(struct ce_transport *t,
                                         const struct ce_message_size *size,
                                         struct ce_error *err);

/* Sets the worker's handler of messages; false when UCX refuses. */
#define UCX_MESSAGE_ID 1
bool ucx_listen(struct ucx_transport *ucx);

#endif
