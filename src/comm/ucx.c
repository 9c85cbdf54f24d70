/* ucx.c - the transport over UCX active messages
 *
 *   slot s, peer p:  header {s, round, source, bytes} + bytes ──► on_message
 *                       small: the bytes come along, one copy into the landing
 *                       large: UCX fetches them from the sender into the landing
 *
 * The header says everything, so there is no round of counts: a message lands
 * where it belongs when it comes. A peer is at most one round ahead on a slot,
 * because to finish a round it needs our message of it. What is early is kept
 * until its round starts: a small message aside, a large one with its sender.
 *
 * All of UCX runs inside progress (and start), on the caller's thread.
 */

#include "comm/ucx.h"

#include "comm/collective.h"

#include <stdlib.h>
#include <string.h>
#include <ucp/api/ucp.h>

static struct ucx_transport *from_head(struct ce_transport *t)
{
    return (struct ucx_transport *)t;
}

void ucx_note_failure(struct ucx_transport *ucx,
                      enum ce_status status,
                      const char *what,
                      int peer,
                      const char *reason)
{
    if (ucx->status == CE_OK) {
        ucx->status = ce_fail(&ucx->error,
                              status,
                              "rank %d: %s rank %d: %.200s",
                              ucx->head.rank,
                              what,
                              peer,
                              reason);
    }
}

static uint64_t current_round(const struct ucx_link *link)
{
    return link->ucx->head.slot[link->slot].round;
}

static enum ce_status noted_failure(const struct ucx_transport *ucx,
                                    struct ce_error *err)
{
    return ce_fail(err, ucx->status, "%s", ucx->error.text);
}

/* ---- sending ---- */

static void on_sent(void *request, ucs_status_t status, void *user_data)
{
    struct ucx_link *link = user_data;
    struct ucx_transport *ucx = link->ucx;

    ucp_request_free(request);
    if (status == UCS_OK) {
        ucx->events++;
        ce_exchange_sent(&ucx->head, link->slot, link->peer);
    } else if (!ucx->closing) {
        ucx_note_failure(ucx,
                         CE_ERR_COMM,
                         "ucx cannot send to",
                         link->peer,
                         ucs_status_string(status));
    }
}

static void send_message(struct ucx_link *link, struct ce_bytes message)
{
    struct ucx_transport *ucx = link->ucx;
    const ucp_request_param_t how = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
        .cb.send = on_sent,
        .user_data = link,
    };

    link->header = (struct ucx_header){
        .round = current_round(link),
        .bytes = message.bytes,
        .slot = (uint32_t)link->slot,
        .source = (uint32_t)ucx->head.rank,
    };
    void *request = ucp_am_send_nbx(ucx->endpoints[link->peer].handle,
                                    UCX_MESSAGE_ID,
                                    &link->header,
                                    sizeof(link->header),
                                    message.data,
                                    message.bytes,
                                    &how);
    if (request == NULL) {
        ce_exchange_sent(&ucx->head, link->slot, link->peer);
    } else if (UCS_PTR_IS_ERR(request)) {
        ucx_note_failure(ucx,
                         CE_ERR_COMM,
                         "ucx cannot send to",
                         link->peer,
                         ucs_status_string(UCS_PTR_STATUS(request)));
    }
}

/* ---- receiving ---- */

/* The message of this round is in the landing. */
static void deliver(struct ucx_link *link)
{
    link->ucx->events++;
    ce_exchange_arrived(&link->ucx->head,
                        link->slot,
                        link->peer,
                        (struct ce_bytes){link->landing.memory, link->landing.bytes});
}

static void fail_fetch(const struct ucx_link *link, ucs_status_t status)
{
    if (!link->ucx->closing) {
        ucx_note_failure(link->ucx,
                         CE_ERR_COMM,
                         "ucx cannot receive from",
                         link->peer,
                         ucs_status_string(status));
    }
}

static bool make_room(struct ucx_link *link, struct ce_landing *landing, size_t bytes)
{
    if (ce_landing_reserve(landing, bytes)) {
        landing->bytes = bytes;
        return true;
    }
    ucx_note_failure(
        link->ucx, CE_ERR_NOMEM, "cannot take a message from", link->peer, "no memory");
    return false;
}

static void
on_fetched(void *request, ucs_status_t status, size_t bytes, void *user_data)
{
    struct ucx_link *link = user_data;

    (void)bytes;
    ucp_request_free(request);
    link->under_way = false;
    if (status == UCS_OK) {
        deliver(link);
    } else {
        fail_fetch(link, status);
    }
}

/* Has the bytes of a large message of this round brought from the sender. */
static void fetch(struct ucx_link *link, void *description)
{
    const ucp_request_param_t how = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
        .cb.recv_am = on_fetched,
        .user_data = link,
    };

    link->under_way = true;
    void *request = ucp_am_recv_data_nbx(link->ucx->worker,
                                         description,
                                         link->landing.memory,
                                         link->landing.bytes,
                                         &how);
    if (UCS_PTR_IS_PTR(request)) {
        return;
    }
    link->under_way = false;
    if (request == NULL) {
        deliver(link);
    } else {
        fail_fetch(link, UCS_PTR_STATUS(request));
    }
}

/* A round starts: takes what came for it before. */
static void take_early(struct ucx_link *link)
{
    struct ucx_arrival *arrival = &link->arrival[current_round(link) & 1];
    void *description = arrival->description;

    arrival->description = NULL;
    if (arrival->here) {
        arrival->here = false;
        if (make_room(link, &link->landing, arrival->bytes)) {
            if (arrival->bytes > 0) {
                memcpy(link->landing.memory, link->early.memory, arrival->bytes);
            }
            deliver(link);
        }
    } else if (description != NULL) {
        if (make_room(link, &link->landing, arrival->bytes)) {
            fetch(link, description);
        } else {
            ucp_am_data_release(link->ucx->worker, description);
        }
    }
}

/* The link a header speaks of; NULL when it makes no sense. */
static struct ucx_link *find_link(struct ucx_transport *ucx,
                                  struct ucx_header *header,
                                  const void *data,
                                  size_t header_bytes,
                                  size_t bytes)
{
    if (header_bytes != sizeof(*header)) {
        return NULL;
    }
    memcpy(header, data, sizeof(*header));
    if (header->slot >= CE_SLOT_COUNT || header->source >= (uint32_t)ucx->head.ranks ||
        header->source == (uint32_t)ucx->head.rank || header->bytes != bytes) {
        return NULL;
    }
    return &ucx->links[header->slot][header->source];
}

/* Of this round or the next, and not seen before. */
static bool is_expected(const struct ucx_link *link, uint64_t round)
{
    const struct ce_exchange *x = &link->ucx->head.slot[link->slot];
    const uint64_t now = x->round;

    if (round == now && x->arrived[link->peer]) {
        return false;
    }
    return (round == now || round == now + 1) && round > link->arrival[round & 1].round;
}

/* A message that brought its bytes. */
static ucs_status_t
take_small(struct ucx_link *link, struct ucx_arrival *arrival, const void *data)
{
    const bool early = arrival->round > current_round(link);
    struct ce_landing *landing = early ? &link->early : &link->landing;

    if (!make_room(link, landing, arrival->bytes)) {
        return UCS_OK;
    }
    if (arrival->bytes > 0) {
        memcpy(landing->memory, data, arrival->bytes);
    }
    if (early) {
        arrival->here = true;
    } else {
        deliver(link);
    }
    return UCS_OK;
}

/* A message whose bytes are still with the sender. */
static ucs_status_t
take_large(struct ucx_link *link, struct ucx_arrival *arrival, void *description)
{
    if (arrival->round > current_round(link)) {
        arrival->description = description;
    } else if (make_room(link, &link->landing, arrival->bytes)) {
        fetch(link, description);
    } else {
        return UCS_ERR_NO_MEMORY;
    }
    return UCS_INPROGRESS;
}

static void note_nonsense(struct ucx_transport *ucx, int peer)
{
    ucx_note_failure(ucx,
                     CE_ERR_COMM,
                     "a message that makes no sense came from",
                     peer,
                     "unknown slot, source or round, or wrong size");
}

static ucs_status_t on_message(void *argument,
                               const void *header_data,
                               size_t header_bytes,
                               void *data,
                               size_t bytes,
                               const ucp_am_recv_param_t *how)
{
    struct ucx_transport *ucx = argument;
    const bool is_here = (how->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) == 0;
    struct ucx_header header = {0};
    struct ucx_link *link = find_link(ucx, &header, header_data, header_bytes, bytes);

    if (link != NULL && is_expected(link, header.round)) {
        struct ucx_arrival *arrival = &link->arrival[header.round & 1];

        arrival->round = header.round;
        arrival->bytes = bytes;
        return is_here ? take_small(link, arrival, data)
                       : take_large(link, arrival, data);
    }
    note_nonsense(ucx, (int)header.source);
    return is_here ? UCS_OK : UCS_ERR_INVALID_PARAM;
}

bool ucx_listen(struct ucx_transport *ucx)
{
    const ucp_am_handler_param_t handler = {
        .field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
                      UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG,
        .id = UCX_MESSAGE_ID,
        .flags = UCP_AM_FLAG_WHOLE_MSG,
        .cb = on_message,
        .arg = ucx,
    };

    return ucp_worker_set_am_recv_handler(ucx->worker, &handler) == UCS_OK;
}

/* ---- the table ---- */

static enum ce_status
ucx_open(struct ce_transport *t, enum ce_slot slot, struct ce_error *err)
{
    struct ucx_transport *ucx = from_head(t);

    for (int peer = 0; peer < t->ranks; peer++) {
        if (peer != t->rank) {
            take_early(&ucx->links[slot][peer]);
        }
    }
    return ucx->status == CE_OK ? CE_OK : noted_failure(ucx, err);
}

static void *
ucx_reserve(struct ce_transport *t, enum ce_slot slot, int peer, size_t bytes)
{
    return ucx_box_reserve(&from_head(t)->links[slot][peer], bytes);
}

static enum ce_status ucx_send(struct ce_transport *t,
                               enum ce_slot slot,
                               int peer,
                               struct ce_bytes message,
                               struct ce_error *err)
{
    struct ucx_transport *ucx = from_head(t);
    struct ucx_link *link = &ucx->links[slot][peer];

    if (ucx_box_send(link, message)) {
        ce_exchange_sent(t, slot, peer);
    } else {
        send_message(link, message);
    }
    return ucx->status == CE_OK ? CE_OK : noted_failure(ucx, err);
}

/* Hands out what has come into the boxes of a slot. */
static void look_into_boxes(struct ucx_transport *ucx, enum ce_slot slot)
{
    const struct ce_exchange *x = &ucx->head.slot[slot];

    for (int peer = 0; peer < ucx->head.ranks && x->to_arrive > 0; peer++) {
        struct ce_bytes message;

        if (x->arrived[peer]) {
            continue;
        }
        enum ucx_box_state state = ucx_box_look(&ucx->links[slot][peer], &message);
        if (state == UCX_BOX_FULL) {
            ucx->events++;
            ce_exchange_arrived(&ucx->head, slot, peer, message);
        } else if (state == UCX_BOX_BAD) {
            note_nonsense(ucx, peer);
        }
    }
}

#define BOUT 16 /* calls of UCX before the caller looks at its deadline */

static enum ce_status
ucx_progress(struct ce_transport *t, enum ce_slot slot, struct ce_error *err)
{
    struct ucx_transport *ucx = from_head(t);
    const uint64_t events = ucx->events;
    int calls = 0;

    look_into_boxes(ucx, slot);
    /* UCX moves all slots at once. */
    while (ucx->events == events && calls < BOUT &&
           ucp_worker_progress(ucx->worker) != 0) {
        calls++;
    }
    if (ucx->status != CE_OK) {
        return noted_failure(ucx, err);
    }
    return ucx->events == events ? CE_AGAIN : CE_OK;
}

static enum ce_status ucx_tend(struct ce_transport *t, struct ce_error *err)
{
    struct ucx_transport *ucx = from_head(t);

    (void)ucp_worker_progress(ucx->worker);
    return ucx->status == CE_OK ? CE_OK : noted_failure(ucx, err);
}

static void free_links(struct ucx_transport *ucx, struct ucx_link *links)
{
    for (int peer = 0; links != NULL && peer < ucx->head.ranks; peer++) {
        /* UCX may still write to a landing whose message never completed; it is
         * left to the end of the process. */
        if (!links[peer].under_way) {
            free(links[peer].landing.memory);
        }
        free(links[peer].early.memory);
    }
    free(links);
}

static void ucx_destroy(struct ce_transport *t)
{
    struct ucx_transport *ucx = from_head(t);

    /* After a failure UCX is left as it is: its own end may wait for peers, and
     * its callbacks know our memory. */
    bool orderly = !t->failed && ucx->status == CE_OK && ce_transport_is_idle(t) &&
                   ucx_disconnect(ucx);
    if (ucx->bootstrap != NULL) {
        ucx->bootstrap->failed = ucx->bootstrap->failed || !orderly;
        ce_transport_destroy(ucx->bootstrap);
    }
    for (int i = 0; i < CE_SLOT_COUNT; i++) {
        free_links(ucx, ucx->links[i]);
    }
    free(ucx->endpoints);
    ce_transport_fini(t);
    free(ucx);
}

static bool allocate_links(struct ucx_transport *ucx, enum ce_slot slot)
{
    struct ucx_link *links = calloc((size_t)ucx->head.ranks, sizeof(links[0]));

    ucx->links[slot] = links;
    for (int peer = 0; links != NULL && peer < ucx->head.ranks; peer++) {
        links[peer].ucx = ucx;
        links[peer].slot = slot;
        links[peer].peer = peer;
    }
    return links != NULL;
}

static enum ce_status allocate(struct ucx_transport *ucx, struct ce_error *err)
{
    const size_t ranks = (size_t)ucx->head.ranks;
    bool complete = true;

    ucx->endpoints = calloc(ranks, sizeof(ucx->endpoints[0]));
    for (int i = 0; i < CE_SLOT_COUNT; i++) {
        complete = allocate_links(ucx, (enum ce_slot)i) && complete;
    }
    if (!complete || ucx->endpoints == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the transport's links");
    }
    for (int peer = 0; peer < ucx->head.ranks; peer++) {
        ucx->endpoints[peer] = (struct ucx_endpoint){.ucx = ucx, .peer = peer};
    }
    return CE_OK;
}

/* Until the caller says how large its messages are. */
static const struct ce_message_size first_sizes[CE_SLOT_COUNT] = {
    {128 << 10, 128 << 10}, {128 << 10, 128 << 10}, {16 << 10, 16 << 10}};

/* The first exchange: UCX builds its connections when they are first used. */
static enum ce_status greet(struct ucx_transport *ucx, struct ce_error *err)
{
    struct ce_transport *t = &ucx->head;

    enum ce_status status = ce_exchange_start(t, CE_SLOT_CONTROL, t->outgoing, err);
    if (status == CE_OK) {
        status = ce_exchange_finish(t, CE_SLOT_CONTROL, err);
    }
    if (status == CE_OK) {
        status = ucx_meet(ucx, err);
    }
    if (status == CE_OK) {
        status = ucx_open_boxes(ucx, first_sizes, err);
    }
    ce_transport_reset_counters(t);
    return status;
}

/* Up to here all ranks succeed or all fail, so that MPI alone can go on. */
static enum ce_status join(struct ucx_transport *ucx, struct ce_error *err)
{
    struct ce_transport *mpi = ucx->bootstrap;

    mpi->deadline_ms = ucx->head.deadline_ms = CE_START_UP_MS;
    mpi->activity.stage = ucx->head.activity.stage = "start";
    enum ce_status status =
        ce_transport_init(&ucx->head, &ce_transport_ucx, mpi->rank, mpi->ranks, err);
    if (status == CE_OK) {
        status = allocate(ucx, err);
    }
    status = ce_agree(mpi, status, err);
    return status == CE_OK ? ucx_connect(ucx, err) : status;
}

/* The ranks have met over *out. */
static enum ce_status ucx_create(struct ce_transport **out, struct ce_error *err)
{
    struct ucx_transport *ucx = calloc(1, sizeof(*ucx));

    if (ucx == NULL) {
        (*out)->failed = true; /* the others are not told */
        ce_transport_destroy(*out);
        *out = NULL;
        return ce_fail(err, CE_ERR_NOMEM, "no memory for a transport");
    }
    ucx->bootstrap = *out;
    *out = NULL;
    enum ce_status status = join(ucx, err);
    if (status != CE_OK && !ucx->bootstrap->failed) {
        ucx->bootstrap->activity.stage = NULL;
        ucx->bootstrap->serve = NULL; /* there is no worker any more */
        *out = ucx->bootstrap;
        ucx->bootstrap = NULL;
    }
    if (status == CE_OK) {
        status = greet(ucx, err);
    }
    if (status != CE_OK) {
        ucx->head.failed = true;
        ucx_destroy(&ucx->head);
        return status;
    }
    ucx->head.activity.stage = ucx->bootstrap->activity.stage = NULL;
    *out = &ucx->head;
    return CE_OK;
}

static void ucx_abort(struct ce_transport *t, int exit_code)
{
    ce_transport_abort(from_head(t)->bootstrap, exit_code);
}

const struct ce_transport_ops ce_transport_ucx = {
    .name = "ucx",
    .create = ucx_create,
    .receive_bytes = ucx_receive_bytes,
    .prepare = ucx_prepare,
    .open = ucx_open,
    .reserve = ucx_reserve,
    .send = ucx_send,
    .progress = ucx_progress,
    .tend = ucx_tend,
    .destroy = ucx_destroy,
    .abort = ucx_abort,
};
