/* exchange.c - starting, waiting for and finishing exchanges, on any back-end
 *
 *   open ──► send to each ──► next … next ──► finish
 *               back-end: sent, arrived, in any order
 *
 * All waiting of the engine for its peers happens in wait_until.
 */

#include "base/clock.h"
#include "base/patience.h"
#include "comm/backend.h"
#include "comm/transport.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

static const char *const slot_names[CE_SLOT_COUNT] = {"dispatch", "combine", "control"};

/* Nobody knows any more what the peers have sent: the transport is dead. */
static enum ce_status
give_up(struct ce_transport *t, enum ce_status status, struct ce_error *err)
{
    t->failed = true;
    if (err != NULL) {
        err->rank = t->rank;
    }
    return status;
}

/* Open wants an idle slot, the others an active one. */
static enum ce_status check_use(struct ce_transport *t,
                                enum ce_slot slot,
                                bool want_active,
                                struct ce_error *err)
{
    const struct ce_exchange *x = &t->slot[slot];
    const char *name = slot_names[slot];

    if (t->failed) {
        return ce_fail(err,
                       CE_ERR_COMM,
                       "rank %d: %s: the transport has failed before",
                       t->rank,
                       name);
    }
    if (x->active == want_active) {
        return CE_OK;
    }
    return give_up(t,
                   ce_fail(err,
                           CE_ERR_ARG,
                           "rank %d: %s: round %" PRIu64 " is %s",
                           t->rank,
                           name,
                           x->round,
                           want_active ? "already finished" : "not finished yet"),
                   err);
}

static void begin_to_move(struct ce_exchange *x)
{
    if (x->moving_ns == 0) {
        x->moving_ns = ce_clock_ns();
    }
}

void ce_exchange_sent(struct ce_transport *transport, enum ce_slot slot, int peer)
{
    struct ce_exchange *x = &transport->slot[slot];

    x->sent[peer] = 1;
    x->to_send--;
    x->mover = peer;
}

void ce_exchange_arrived(struct ce_transport *transport,
                         enum ce_slot slot,
                         int source,
                         struct ce_bytes message)
{
    struct ce_exchange *x = &transport->slot[slot];

    x->received[source] = message;
    x->arrived[source] = 1;
    x->to_arrive--;
    x->mover = source;
    x->link[source].received_messages++;
    x->link[source].received_bytes += message.bytes;
    if (transport->latency_ns > 0) {
        x->arrived_ns[source] = ce_clock_ns();
    }
    if (source != transport->rank) {
        begin_to_move(x);
    }
    if (x->to_arrive == 0 && x->moving_ns > 0) {
        x->span_ns += ce_clock_ns() - x->moving_ns;
    }
}

static void begin_round(struct ce_exchange *x, int ranks)
{
    size_t count = (size_t)ranks;

    memset(x->received, 0, count * sizeof(x->received[0]));
    memset(x->arrived, 0, count);
    memset(x->sent, 0, count);
    memset(x->handed_out, 0, count);
    x->to_give = x->to_arrive = x->to_send = x->to_hand_out = ranks;
    x->moving_ns = 0;
    x->active = true;
    x->round++;
}

enum ce_status ce_exchange_open(struct ce_transport *transport,
                                enum ce_slot slot,
                                struct ce_error *err)
{
    enum ce_status status = check_use(transport, slot, false, err);

    if (status != CE_OK) {
        return status;
    }
    begin_round(&transport->slot[slot], transport->ranks);
    if (transport->ops->open != NULL) {
        status = transport->ops->open(transport, slot, err);
    }
    return status == CE_OK ? CE_OK : give_up(transport, status, err);
}

void *ce_exchange_reserve(struct ce_transport *transport,
                          enum ce_slot slot,
                          int peer,
                          size_t bytes)
{
    if (peer == transport->rank || transport->ops->reserve == NULL ||
        transport->failed || !transport->slot[slot].active) {
        return NULL;
    }
    return transport->ops->reserve(transport, slot, peer, bytes);
}

enum ce_status ce_exchange_send(struct ce_transport *transport,
                                enum ce_slot slot,
                                int peer,
                                struct ce_bytes message,
                                struct ce_error *err)
{
    struct ce_exchange *x = &transport->slot[slot];
    enum ce_status status = check_use(transport, slot, true, err);

    if (status != CE_OK) {
        return status;
    }
    x->to_give--;
    x->link[peer].sent_messages++;
    x->link[peer].sent_bytes += message.bytes;
    if (peer == transport->rank) {
        ce_exchange_sent(transport, slot, peer);
        ce_exchange_arrived(transport, slot, peer, message);
        return CE_OK;
    }
    begin_to_move(x);
    status = transport->ops->send(transport, slot, peer, message, err);
    return status == CE_OK ? CE_OK : give_up(transport, status, err);
}

enum ce_status ce_exchange_start(struct ce_transport *transport,
                                 enum ce_slot slot,
                                 const struct ce_bytes *send,
                                 struct ce_error *err)
{
    enum ce_status status = ce_exchange_open(transport, slot, err);

    /* The own message, then each rank begins with its successor, so that not all
     * flood rank 0. */
    for (int step = 0; status == CE_OK && step < transport->ranks; step++) {
        int peer = (transport->rank + step) % transport->ranks;

        status = ce_exchange_send(transport, slot, peer, send[peer], err);
    }
    return status;
}

#define NAMED_RANKS 8 /* of any size fit into CE_RANKS_TEXT */

void ce_describe_missing(char *text, const unsigned char *flags, int ranks, int count)
{
    const size_t size = CE_RANKS_TEXT;
    int named = 0;

    if (count == 0) {
        (void)snprintf(text, size, "none");
        return;
    }
    size_t used = (size_t)snprintf(text, size, count == 1 ? "rank" : "ranks");
    for (int rank = 0; rank < ranks && named < NAMED_RANKS; rank++) {
        if (flags[rank] == 0) {
            const char *separator = named++ == 0 ? "" : ",";
            used +=
                (size_t)snprintf(text + used, size - used, "%s %d", separator, rank);
        }
    }
    if (count > named) {
        (void)snprintf(text + used, size - used, " and %d more", count - named);
    }
}

void ce_describe_where(char *text,
                       const struct ce_transport *t,
                       const char *what,
                       uint64_t round)
{
    const struct ce_activity *now = &t->activity;
    char doing[CE_WHERE_TEXT / 2] = "";

    if (now->stage != NULL && now->step > 0) {
        (void)snprintf(doing,
                       sizeof(doing),
                       "step %" PRIu64 ", layer %zu, stage %s: ",
                       now->step,
                       now->layer,
                       now->stage);
    } else if (now->stage != NULL) {
        (void)snprintf(doing, sizeof(doing), "stage %s: ", now->stage);
    } else if (now->step > 0) {
        (void)snprintf(doing, sizeof(doing), "after step %" PRIu64 ": ", now->step);
    }
    if (what == NULL) {
        (void)snprintf(text, CE_WHERE_TEXT, "rank %d: %s", t->rank, doing);
        return;
    }
    (void)snprintf(text,
                   CE_WHERE_TEXT,
                   "rank %d: %s%s round %" PRIu64,
                   t->rank,
                   doing,
                   what,
                   round);
}

static enum ce_status
fail_timeout(struct ce_transport *t, enum ce_slot slot, struct ce_error *err)
{
    const struct ce_exchange *x = &t->slot[slot];
    char missing[CE_RANKS_TEXT];
    char unsent[CE_RANKS_TEXT];
    char where[CE_WHERE_TEXT];

    ce_describe_where(where, t, slot_names[slot], x->round);
    ce_describe_missing(missing, x->arrived, t->ranks, x->to_arrive);
    ce_describe_missing(unsent, x->sent, t->ranks, x->to_send);
    if (x->to_arrive == 0) {
        return ce_fail(err,
                       CE_ERR_TIMEOUT,
                       "%s: all messages are here, but after %" PRIu64
                       " ms sends not done: %s (of %d)",
                       where,
                       t->deadline_ms,
                       unsent,
                       t->ranks);
    }
    return ce_fail(err,
                   CE_ERR_TIMEOUT,
                   "%s: no message after %" PRIu64
                   " ms from %s (of %d, %d here); sends not done: %s",
                   where,
                   t->deadline_ms,
                   missing,
                   t->ranks,
                   t->ranks - x->to_arrive,
                   unsent);
}

/* One bout of progress. When nothing moves on the wanted slot the others get
 * theirs: a peer may wait there for us to take its message before it turns to
 * the slot we wait for. */
static enum ce_status
advance(struct ce_transport *t, enum ce_slot wanted, struct ce_error *err)
{
    enum ce_status status = t->ops->progress(t, wanted, err);

    for (int i = 0; i < CE_SLOT_COUNT && status == CE_AGAIN; i++) {
        enum ce_slot other = (enum ce_slot)i;

        if (other != wanted && t->slot[other].active) {
            status = t->ops->progress(t, other, err);
        }
    }
    return status;
}

enum ce_status ce_exchange_poll(struct ce_transport *transport, struct ce_error *err)
{
    enum ce_status status = transport->failed ? CE_ERR_COMM : CE_OK;

    if (status != CE_OK) {
        return ce_fail(err, status, "the transport has failed before");
    }
    for (int i = 0; i < CE_SLOT_COUNT && status == CE_OK; i++) {
        if (transport->slot[i].active) {
            status = transport->ops->progress(transport, (enum ce_slot)i, err);
            status = status == CE_AGAIN ? CE_OK : status;
        }
    }
    return status == CE_OK ? CE_OK : give_up(transport, status, err);
}

/* With a latency a message of another rank is held back for so long. */
static bool
is_due(const struct ce_transport *t, const struct ce_exchange *x, int source)
{
    return t->latency_ns == 0 || source == t->rank ||
           ce_clock_ns() - x->arrived_ns[source] >= t->latency_ns;
}

/* The own rank, else the lowest, of those that are here and not handed out; -1 when
 * there is none. */
static int find_next(const struct ce_transport *t, const struct ce_exchange *x)
{
    if (x->arrived[t->rank] && !x->handed_out[t->rank]) {
        return t->rank;
    }
    if (x->to_arrive == x->to_hand_out) {
        return -1;
    }
    for (int source = 0; source < t->ranks; source++) {
        if (x->arrived[source] && !x->handed_out[source] && is_due(t, x, source)) {
            return source;
        }
    }
    return -1;
}

typedef bool ready_function(const struct ce_transport *t, const struct ce_exchange *x);

static bool is_complete(const struct ce_transport *t, const struct ce_exchange *x)
{
    bool due = x->to_arrive == 0 && x->to_send == 0;

    for (int source = 0; due && t->latency_ns > 0 && source < t->ranks; source++) {
        due = is_due(t, x, source);
    }
    return due;
}

/* Something has arrived that next has not returned, or it has returned all. */
static bool has_next(const struct ce_transport *t, const struct ce_exchange *x)
{
    return x->to_hand_out == 0 || find_next(t, x) >= 0;
}

bool ce_exchange_has_next(const struct ce_transport *transport, enum ce_slot slot)
{
    return find_next(transport, &transport->slot[slot]) >= 0;
}

/* Nothing moved: lets others run, because the peer we wait for may need this
 * very core, until the deadline. */
static enum ce_status idle(struct ce_transport *t,
                           enum ce_slot slot,
                           struct ce_patience *patience,
                           struct ce_error *err)
{
    if (ce_patience_is_over(patience)) {
        return fail_timeout(t, slot, err);
    }
    (void)sched_yield();
    return CE_OK;
}

static enum ce_status wait_until(struct ce_transport *t,
                                 enum ce_slot slot,
                                 ready_function *ready,
                                 struct ce_error *err)
{
    struct ce_exchange *x = &t->slot[slot];
    const uint64_t begin_ns = ce_clock_ns();
    struct ce_patience patience;
    enum ce_status status = CE_OK;

    ce_patience_begin(&patience, t->deadline_ms);
    while (status == CE_OK && !ready(t, x)) {
        if (t->serve != NULL) {
            t->serve(t->serve_context);
        }
        status = advance(t, slot, err);
        if (status == CE_AGAIN) {
            status = idle(t, slot, &patience, err);
        }
    }
    const uint64_t waited_ns = ce_clock_ns() - begin_ns;
    x->exposed_ns += waited_ns;
    x->link[x->mover].wait_ns += waited_ns;
    return status == CE_OK ? CE_OK : give_up(t, status, err);
}

enum ce_status ce_exchange_next(struct ce_transport *transport,
                                enum ce_slot slot,
                                int *source,
                                struct ce_bytes *message,
                                struct ce_error *err)
{
    struct ce_exchange *x = &transport->slot[slot];
    enum ce_status status = check_use(transport, slot, true, err);

    if (status == CE_OK) {
        status = wait_until(transport, slot, has_next, err);
    }
    if (status != CE_OK) {
        return status;
    }
    if (x->to_hand_out == 0) {
        *source = -1;
        *message = (struct ce_bytes){NULL, 0};
        return CE_OK;
    }
    *source = find_next(transport, x);
    *message = x->received[*source];
    x->handed_out[*source] = 1;
    x->to_hand_out--;
    return CE_OK;
}

enum ce_status ce_exchange_finish(struct ce_transport *transport,
                                  enum ce_slot slot,
                                  struct ce_error *err)
{
    enum ce_status status = check_use(transport, slot, true, err);

    if (status == CE_OK && transport->slot[slot].to_give > 0) {
        status = give_up(transport,
                         ce_fail(err,
                                 CE_ERR_ARG,
                                 "rank %d: %s: %d message(s) have not been sent",
                                 transport->rank,
                                 slot_names[slot],
                                 transport->slot[slot].to_give),
                         err);
    }
    if (status == CE_OK) {
        status = wait_until(transport, slot, is_complete, err);
    }
    if (status == CE_OK) {
        transport->slot[slot].active = false;
    }
    return status;
}
