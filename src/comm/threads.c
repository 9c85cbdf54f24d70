/* threads.c - the transport between ranks that are threads of one process
 *
 *   sender of round n ── bytes, then the round ──► box[from][to][slot][n mod 2]
 *                                                  handed out as it is: received[from]
 *
 * A sender copies a message into the box whose turn it is, or finds it written there
 * already (reserve), and stores the round last; the receiver sees the round and hands
 * the box out. Only the sender touches a box before that, so it also gives it its
 * memory. No box is written before it has been read, as in ucx_box.c: the sender of
 * round n + 2 has finished n + 1, for which it needed the receiver's message of n + 1,
 * which the receiver sent when its message of round n had ceased to be valid.
 */

#include "comm/threads.h"

#include "base/log.h"
#include "comm/backend.h"
#include "comm/collective.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TURNS 2
#define LINE  64

struct box {
    _Alignas(LINE) _Atomic uint64_t round; /* written last, read first */
    struct ce_landing landing;
};

/* Of one rank; the others look at it when they miss a message. */
enum presence { PRESENT = 0, GONE, ABORTED };

struct seat {
    _Alignas(LINE) atomic_int presence;
    int exit_code; /* of one that has aborted */
};

struct group {
    int ranks;
    struct seat *seats; /* [ranks] */
    struct box *boxes;  /* [from][to][slot][turn] */
    atomic_int first;   /* rank that was the first to fail, or -1 */
};

struct threads_transport {
    struct ce_transport head;
    struct group *group;
};

static struct threads_transport *from_head(const struct ce_transport *t)
{
    return (struct threads_transport *)(uintptr_t)t;
}

static struct box *
box_at(const struct group *group, int from, int to, enum ce_slot slot, uint64_t round)
{
    const size_t link = (size_t)from * (size_t)group->ranks + (size_t)to;

    return &group->boxes[(link * CE_SLOT_COUNT + slot) * TURNS + round % TURNS];
}

/* The box in which this rank has its message for `peer` in the open round. */
static struct box *outbox(const struct ce_transport *t, enum ce_slot slot, int peer)
{
    return box_at(from_head(t)->group, t->rank, peer, slot, t->slot[slot].round);
}

/* ---- messages ---- */

static void *
threads_reserve(struct ce_transport *t, enum ce_slot slot, int peer, size_t bytes)
{
    struct box *box = outbox(t, slot, peer);

    return ce_landing_reserve(&box->landing, bytes) ? box->landing.memory : NULL;
}

static enum ce_status threads_send(struct ce_transport *t,
                                   enum ce_slot slot,
                                   int peer,
                                   struct ce_bytes message,
                                   struct ce_error *err)
{
    struct box *box = outbox(t, slot, peer);

    if (!ce_landing_reserve(&box->landing, message.bytes)) {
        return ce_fail(err,
                       CE_ERR_NOMEM,
                       "rank %d: no memory for a message of %zu bytes to rank %d",
                       t->rank,
                       message.bytes,
                       peer);
    }
    if (message.bytes > 0 && message.data != box->landing.memory) {
        memcpy(box->landing.memory, message.data, message.bytes);
    }
    box->landing.bytes = message.bytes;
    atomic_store_explicit(&box->round, t->slot[slot].round, memory_order_release);
    ce_exchange_sent(t, slot, peer);
    return CE_OK;
}

/* True when the message of `source` is here that was not before. */
static bool take_message(struct ce_transport *t, enum ce_slot slot, int source)
{
    const struct ce_exchange *x = &t->slot[slot];
    const struct box *box =
        box_at(from_head(t)->group, source, t->rank, slot, x->round);

    if (source == t->rank || x->arrived[source] ||
        atomic_load_explicit(&box->round, memory_order_acquire) != x->round) {
        return false;
    }
    ce_exchange_arrived(
        t, slot, source, (struct ce_bytes){box->landing.memory, box->landing.bytes});
    return true;
}

static bool take_messages(struct ce_transport *t, enum ce_slot slot)
{
    bool moved = false;

    for (int source = 0; source < t->ranks; source++) {
        moved = take_message(t, slot, source) || moved;
    }
    return moved;
}

/* ---- ranks that are gone ---- */

static enum presence presence_of(const struct ce_transport *t, int rank)
{
    return (enum presence)atomic_load_explicit(
        &from_head(t)->group->seats[rank].presence, memory_order_acquire);
}

/* Others leave because one has: that one is named. */
static enum ce_status
fail_gone(const struct ce_transport *t, int rank, struct ce_error *err)
{
    const int first = atomic_load(&from_head(t)->group->first);
    char where[CE_WHERE_TEXT];

    if (first >= 0 && rank != t->rank) {
        rank = first;
    }
    ce_describe_where(where, t, NULL, 0);
    if (presence_of(t, rank) == ABORTED) {
        return ce_fail(err,
                       CE_ERR_COMM,
                       "%srank %d has ended the job with exit code %d",
                       where,
                       rank,
                       from_head(t)->group->seats[rank].exit_code);
    }
    return ce_fail(err, CE_ERR_COMM, "%srank %d has left the job", where, rank);
}

/* The job is over when a rank has aborted, or is gone whose message is missing: one
 * that was sent before is taken first. */
static enum ce_status
threads_progress(struct ce_transport *t, enum ce_slot slot, struct ce_error *err)
{
    if (take_messages(t, slot)) {
        return CE_OK;
    }
    for (int rank = 0; rank < t->ranks; rank++) {
        const enum presence presence = presence_of(t, rank);

        if (presence == PRESENT || rank == t->rank) {
            continue;
        }
        if (take_message(t, slot, rank)) {
            return CE_OK;
        }
        if (presence == ABORTED || !t->slot[slot].arrived[rank]) {
            return fail_gone(t, rank, err);
        }
    }
    return CE_AGAIN;
}

/* Nothing is under way here; but who waits for all will not see one that is gone. */
static enum ce_status threads_tend(struct ce_transport *t, struct ce_error *err)
{
    for (int rank = 0; rank < t->ranks; rank++) {
        if (presence_of(t, rank) != PRESENT) {
            return fail_gone(t, rank, err);
        }
    }
    return CE_OK;
}

/* Once: who has aborted does not just leave. */
static void leave(struct group *group, int rank, enum presence presence, int exit_code)
{
    struct seat *seat = &group->seats[rank];

    if (atomic_load_explicit(&seat->presence, memory_order_relaxed) == PRESENT) {
        seat->exit_code = exit_code;
        atomic_store_explicit(&seat->presence, presence, memory_order_release);
    }
}

/* To be called before the rank leaves, so that nobody fails of that before it. */
static void note_failure(struct group *group, int rank)
{
    int none = -1;

    (void)atomic_compare_exchange_strong(&group->first, &none, rank);
}

/* Returns, as there is no process to end; the caller's thread is still to do so. */
static void threads_abort(struct ce_transport *t, int exit_code)
{
    struct group *group = from_head(t)->group;

    ce_transport_fail(t);
    note_failure(group, t->rank);
    leave(group, t->rank, ABORTED, exit_code);
}

/* ---- memory for messages of known sizes ---- */

/* Messages of the control slot are few and small: their boxes grow as they come. */
static const enum ce_slot prepared[] = {CE_SLOT_DISPATCH, CE_SLOT_COMBINE};
#define PREPARED (sizeof(prepared) / sizeof(prepared[0]))

static size_t threads_receive_bytes(const struct ce_transport *t,
                                    const struct ce_message_size *size)
{
    size_t sum = 0;

    for (size_t i = 0; i < PREPARED; i++) {
        sum += TURNS * size[prepared[i]].largest;
    }
    return sum * (size_t)(t->ranks - 1);
}

/* The memory of a box moves: no peer may still be reading it. */
static enum ce_status threads_prepare(struct ce_transport *t,
                                      const struct ce_message_size *size,
                                      struct ce_error *err)
{
    bool complete = true;
    enum ce_status status = ce_agree(t, CE_OK, err); /* all are here */

    if (status != CE_OK) {
        return status;
    }
    for (int peer = 0; peer < t->ranks; peer++) {
        for (size_t i = 0; peer != t->rank && i < PREPARED * TURNS; i++) {
            const enum ce_slot slot = prepared[i / TURNS];
            struct box *box =
                box_at(from_head(t)->group, t->rank, peer, slot, i % TURNS);

            complete =
                ce_landing_prepare(&box->landing, size[slot].largest) && complete;
        }
    }
    if (!complete) {
        status =
            ce_fail(err, CE_ERR_NOMEM, "rank %d: no memory to send messages", t->rank);
    }
    return ce_agree(t, status, err);
}

/* ---- the life of a transport ---- */

static void threads_destroy(struct ce_transport *t)
{
    if (!t->failed && ce_transport_is_idle(t)) {
        (void)ce_transport_meet_at_end(t);
    }
    leave(from_head(t)->group, t->rank, GONE, 0);
    ce_transport_fini(t);
    free(from_head(t));
}

/* No create: only who makes a group can give its ranks their transports. */
static const struct ce_transport_ops threads_ops = {
    .name = "threads",
    .one_process = true,
    .receive_bytes = threads_receive_bytes,
    .prepare = threads_prepare,
    .reserve = threads_reserve,
    .send = threads_send,
    .progress = threads_progress,
    .tend = threads_tend,
    .destroy = threads_destroy,
    .abort = threads_abort,
};

static enum ce_status join_group(struct ce_transport **out,
                                 struct group *group,
                                 int rank,
                                 struct ce_error *err)
{
    struct threads_transport *threads = calloc(1, sizeof(*threads));

    *out = NULL;
    if (threads == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for a transport");
    }
    threads->group = group;
    enum ce_status status =
        ce_transport_init(&threads->head, &threads_ops, rank, group->ranks, err);
    if (status != CE_OK) {
        ce_transport_fini(&threads->head);
        free(threads);
        return status;
    }
    (void)snprintf(threads->head.reason,
                   sizeof(threads->head.reason),
                   "the ranks are threads of one process");
    *out = &threads->head;
    return CE_OK;
}

/* ---- the group and its threads ---- */

/* What a rank's thread is started with. */
struct rank {
    struct group *group;
    int number;
    uint64_t deadline_ms;
    ce_threads_function *run;
    void *context;
    struct ce_threads_outcome outcome;
    pthread_t thread;
    bool started;
};

static void end_rank(struct rank *rank, enum ce_status status)
{
    rank->outcome.status = status;
    if (status != CE_OK) {
        note_failure(rank->group, rank->number);
        leave(rank->group, rank->number, GONE, 0);
    }
}

static void *live(void *argument)
{
    struct rank *rank = argument;
    struct ce_error *err = &rank->outcome.err;
    struct ce_transport *transport = NULL;

    ce_log_as_rank(rank->number);
    enum ce_status status = join_group(&transport, rank->group, rank->number, err);
    if (status == CE_OK) {
        ce_transport_begin(transport, rank->deadline_ms);
        status = rank->run(transport, rank->context, err);
    }
    if (status == CE_OK && presence_of(transport, rank->number) == ABORTED) {
        status = fail_gone(transport, rank->number, err);
    }
    if (status != CE_OK && transport != NULL) {
        ce_transport_fail(transport); /* who fails does not wait for the others */
    }
    end_rank(rank, status);
    ce_transport_destroy(transport);
    return NULL;
}

static void start_rank(struct rank *rank)
{
    rank->started = pthread_create(&rank->thread, NULL, live, rank) == 0;
    if (!rank->started) {
        end_rank(rank,
                 ce_fail(&rank->outcome.err,
                         CE_ERR_NOMEM,
                         "no thread for rank %d of %d",
                         rank->number,
                         rank->group->ranks));
    }
}

static void *allocate_lines(size_t count, size_t bytes)
{
    void *lines = aligned_alloc(LINE, count * bytes);

    if (lines != NULL) {
        memset(lines, 0, count * bytes);
    }
    return lines;
}

static size_t count_boxes(const struct group *group)
{
    return (size_t)group->ranks * (size_t)group->ranks * CE_SLOT_COUNT * TURNS;
}

static bool init_group(struct group *group, int ranks)
{
    *group = (struct group){.ranks = ranks};
    atomic_init(&group->first, -1);
    group->seats = allocate_lines((size_t)ranks, sizeof(group->seats[0]));
    group->boxes = allocate_lines(count_boxes(group), sizeof(group->boxes[0]));
    return group->seats != NULL && group->boxes != NULL;
}

static void fini_group(struct group *group)
{
    for (size_t i = 0; group->boxes != NULL && i < count_boxes(group); i++) {
        free(group->boxes[i].landing.memory);
    }
    free(group->boxes);
    free(group->seats);
}

enum ce_status ce_threads_run(int ranks,
                              uint64_t deadline_ms,
                              ce_threads_function *run,
                              void *context,
                              struct ce_threads_outcome *outcome,
                              struct ce_error *err)
{
    struct group group;
    struct rank *all = NULL;
    enum ce_status status = CE_OK;

    if (ranks < 1) {
        return ce_fail(err, CE_ERR_ARG, "a group of %d ranks", ranks);
    }
    all = calloc((size_t)ranks, sizeof(all[0]));
    if (!init_group(&group, ranks) || all == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory for a group of %d ranks", ranks);
        goto fail;
    }
    for (int r = 0; r < ranks; r++) {
        all[r] = (struct rank){.group = &group,
                               .number = r,
                               .deadline_ms = deadline_ms,
                               .run = run,
                               .context = context};
        start_rank(&all[r]);
    }
    for (int r = 0; r < ranks; r++) {
        if (all[r].started) {
            (void)pthread_join(all[r].thread, NULL);
        }
        if (outcome != NULL) {
            outcome[r] = all[r].outcome;
        }
    }
    const int first = group.first;
    if (first >= 0) {
        status = all[first].outcome.status;
        if (err != NULL) {
            *err = all[first].outcome.err;
        }
    }
fail:
    fini_group(&group);
    free(all);
    return status;
}
