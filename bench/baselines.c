/* baselines.c - MPI_Alltoallv, and copies into windows of shared memory
 *
 *   window of rank q:  | arrivals | ... | from 0 | from 1 | ... |
 *
 * Each run uses the next part of the windows, at the same offset in all of them.
 * Whoever has copied its message counts itself in the owner's arrivals; the owner reads
 * when all have.
 */

#include "baselines.h"

#include "harness.h"

#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define UNIT       4 /* bytes MPI counts as one, so that an int reaches 8 GiB */
#define HEAD_BYTES 64

/* What MPI_Alltoallv wants for each rank. */
enum count { SEND_COUNT = 0, SEND_BEGIN, RECEIVE_COUNT, RECEIVE_BEGIN, COUNTS };

struct phase {
    const struct baseline_sizes *sizes;
    size_t *send_begin;    /* [ranks + 1] without the own */
    size_t *receive_begin; /* [ranks + 1] without the own */
    size_t *place;         /* [ranks] where our message begins among those to each */
    size_t part;           /* bytes of a window, the most of any rank */
    int *counts;           /* [4][ranks] of MPI_Alltoallv, see enum count */
};

struct baselines {
    int rank;
    int ranks;
    struct phase phase[BASELINE_PHASES];
    struct bench_pool source;
    struct bench_pool target;
    MPI_Comm host;        /* the ranks of this host; null when there are others */
    MPI_Win window;       /* null when there is none */
    unsigned char **peer; /* [ranks] windows */
    size_t window_bytes;  /* the same on all ranks */
    size_t next;          /* where the next part of the windows begins */
    size_t largest;       /* bytes a rank sends or receives, the most of any */
    uint64_t arrivals;    /* so far into our window */
};

/* ---- sizes ---- */

static size_t whole_lines(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t total(const size_t *bytes, int ranks)
{
    size_t sum = 0;

    for (int r = 0; r < ranks; r++) {
        sum += whole_lines(bytes[r]);
    }
    return sum;
}

/* The most bytes of a phase that are sent and received. */
static void find_largest(const struct baseline_sizes *sizes,
                         int ranks,
                         size_t *sent,
                         size_t *received)
{
    *sent = *received = 64;
    for (size_t i = 0; i < BASELINE_PHASES; i++) {
        const size_t out = total(sizes[i].send, ranks);
        const size_t in = total(sizes[i].receive, ranks);

        *sent = out > *sent ? out : *sent;
        *received = in > *received ? in : *received;
    }
}

size_t baselines_bytes(const struct baseline_sizes *sizes, int ranks)
{
    size_t sent;
    size_t received;

    find_largest(sizes, ranks, &sent, &received);
    return bench_pool_bytes(sent) + 2 * bench_pool_bytes(received) + HEAD_BYTES;
}

/* Begins of messages back to back, the own left out. */
static size_t *lay_out(const size_t *bytes, int ranks, int own)
{
    size_t *begin = calloc((size_t)ranks + 1, sizeof(begin[0]));

    for (int r = 0; begin != NULL && r < ranks; r++) {
        begin[r + 1] = begin[r] + (r == own ? 0 : whole_lines(bytes[r]));
    }
    return begin;
}

static int *
counts_of(const struct baselines *b, const struct phase *phase, enum count which)
{
    return phase->counts + (size_t)which * (size_t)b->ranks;
}

static bool open_phase(struct baselines *b, struct phase *phase)
{
    const int ranks = b->ranks;
    const size_t count = (size_t)ranks;

    phase->send_begin = lay_out(phase->sizes->send, ranks, b->rank);
    phase->receive_begin = lay_out(phase->sizes->receive, ranks, b->rank);
    phase->place = calloc(count, sizeof(phase->place[0]));
    phase->counts = calloc(COUNTS * count, sizeof(phase->counts[0]));
    if (phase->send_begin == NULL || phase->receive_begin == NULL ||
        phase->place == NULL || phase->counts == NULL) {
        return false;
    }
    for (int r = 0; r < ranks; r++) {
        const bool is_own = r == b->rank;

        counts_of(b, phase, SEND_COUNT)[r] =
            is_own ? 0 : (int)(phase->sizes->send[r] / UNIT);
        counts_of(b, phase, SEND_BEGIN)[r] = (int)(phase->send_begin[r] / UNIT);
        counts_of(b, phase, RECEIVE_COUNT)[r] =
            is_own ? 0 : (int)(phase->sizes->receive[r] / UNIT);
        counts_of(b, phase, RECEIVE_BEGIN)[r] = (int)(phase->receive_begin[r] / UNIT);
    }
    return true;
}

static void close_phase(struct phase *phase)
{
    free(phase->send_begin);
    free(phase->receive_begin);
    free(phase->place);
    free(phase->counts);
}

/* ---- windows ---- */

/* A host's ranks have the same order as all, so numbers agree when all are there. */
static bool open_window(struct baselines *b)
{
    const MPI_Aint bytes = (MPI_Aint)b->window_bytes;
    unsigned char *mine = NULL;
    int near = 0;

    (void)MPI_Comm_split_type(
        MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, b->rank, MPI_INFO_NULL, &b->host);
    (void)MPI_Comm_size(b->host, &near);
    if (near != b->ranks) {
        return true;
    }
    (void)MPI_Comm_set_errhandler(b->host, MPI_ERRORS_RETURN);
    if (MPI_Win_allocate_shared(
            bytes, 1, MPI_INFO_NULL, b->host, (void *)&mine, &b->window) !=
        MPI_SUCCESS) {
        b->window = MPI_WIN_NULL;
        return false;
    }
    memset(mine, 0, (size_t)bytes);
    for (int r = 0; r < b->ranks; r++) {
        MPI_Aint size;
        int unit;

        (void)MPI_Win_shared_query(b->window, r, &size, &unit, (void *)&b->peer[r]);
    }
    (void)MPI_Win_lock_all(MPI_MODE_NOCHECK, b->window);
    return true;
}

/* Maps all pages of all windows, so that no sample is the first to touch one. */
static void touch_windows(const struct baselines *b)
{
    (void)MPI_Barrier(b->host);
    for (int r = 0; r < b->ranks; r++) {
        bench_read(b->peer[r], b->window_bytes);
    }
    (void)MPI_Barrier(b->host);
}

/* Senders must know where their messages begin, and all parts must have the same
 * size on all ranks. */
static void lay_out_windows(struct baselines *b)
{
    size_t part = 0;

    for (size_t i = 0; i < BASELINE_PHASES; i++) {
        struct phase *p = &b->phase[i];

        (void)MPI_Alltoall(p->receive_begin,
                           1,
                           MPI_UINT64_T,
                           p->place,
                           1,
                           MPI_UINT64_T,
                           MPI_COMM_WORLD);
        p->part = p->receive_begin[b->ranks];
        (void)MPI_Allreduce(
            MPI_IN_PLACE, &p->part, 1, MPI_UINT64_T, MPI_MAX, MPI_COMM_WORLD);
        part = p->part > part ? p->part : part;
    }
    b->window_bytes = HEAD_BYTES + bench_pool_bytes(part);
    b->next = HEAD_BYTES;
    (void)MPI_Allreduce(
        MPI_IN_PLACE, &b->largest, 1, MPI_UINT64_T, MPI_MAX, MPI_COMM_WORLD);
}

static enum ce_status open_pools(struct baselines *b,
                                 const struct baseline_sizes *sizes,
                                 struct ce_error *err)
{
    size_t sent;
    size_t received;

    find_largest(sizes, b->ranks, &sent, &received);
    b->largest = sent > received ? sent : received;
    enum ce_status status = bench_pool_open(&b->source, sent, err);
    return status == CE_OK ? bench_pool_open(&b->target, received, err) : status;
}

enum ce_status baselines_create(struct baselines **baselines,
                                const struct baseline_sizes *sizes,
                                struct ce_error *err)
{
    struct baselines *b = calloc(1, sizeof(*b));
    bool complete = b != NULL;

    *baselines = b;
    if (!complete) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for baselines");
    }
    b->window = MPI_WIN_NULL;
    b->host = MPI_COMM_NULL;
    (void)MPI_Comm_rank(MPI_COMM_WORLD, &b->rank);
    (void)MPI_Comm_size(MPI_COMM_WORLD, &b->ranks);
    b->peer = calloc((size_t)b->ranks, sizeof(b->peer[0]));
    for (size_t i = 0; i < BASELINE_PHASES; i++) {
        b->phase[i].sizes = &sizes[i];
        complete = open_phase(b, &b->phase[i]) && complete;
    }
    if (!complete || b->peer == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for baselines");
    }
    return open_pools(b, sizes, err);
}

enum ce_status baselines_connect(struct baselines *baselines, struct ce_error *err)
{
    struct baselines *b = baselines;

    lay_out_windows(b);
    if (!open_window(b)) {
        return ce_fail(err, CE_ERR_NOMEM, "no shared memory for the memcpy baseline");
    }
    if (b->window != MPI_WIN_NULL) {
        touch_windows(b);
    }
    return CE_OK;
}

void baselines_destroy(struct baselines *baselines)
{
    struct baselines *b = baselines;

    if (b == NULL) {
        return;
    }
    if (b->window != MPI_WIN_NULL) {
        (void)MPI_Win_unlock_all(b->window);
        (void)MPI_Win_free(&b->window);
    }
    if (b->host != MPI_COMM_NULL) {
        (void)MPI_Comm_free(&b->host);
    }
    for (size_t i = 0; i < BASELINE_PHASES; i++) {
        close_phase(&b->phase[i]);
    }
    bench_pool_close(&b->source);
    bench_pool_close(&b->target);
    free(b->peer);
    free(b);
}

bool baselines_share_memory(const struct baselines *baselines)
{
    return baselines->window != MPI_WIN_NULL;
}

bool baselines_can_count(const struct baselines *baselines)
{
    return baselines->largest <= (size_t)INT_MAX * UNIT;
}

/* ---- lanes ---- */

static void read_received(const struct baselines *b,
                          const struct phase *phase,
                          const unsigned char *received)
{
    for (int r = 0; r < b->ranks; r++) {
        if (r != b->rank) {
            bench_read(received + phase->receive_begin[r], phase->sizes->receive[r]);
        }
    }
}

enum ce_status baseline_alltoallv(void *baselines, size_t phase, struct ce_error *err)
{
    struct baselines *b = baselines;
    const struct phase *p = &b->phase[phase];
    const void *source = bench_pool_next(&b->source, p->send_begin[b->ranks]);
    void *target = bench_pool_next(&b->target, p->receive_begin[b->ranks]);

    const int code = MPI_Alltoallv(source,
                                   counts_of(b, p, SEND_COUNT),
                                   counts_of(b, p, SEND_BEGIN),
                                   MPI_UINT32_T,
                                   target,
                                   counts_of(b, p, RECEIVE_COUNT),
                                   counts_of(b, p, RECEIVE_BEGIN),
                                   MPI_UINT32_T,
                                   MPI_COMM_WORLD);
    if (code != MPI_SUCCESS) {
        return ce_fail(err, CE_ERR_COMM, "MPI_Alltoallv failed");
    }
    read_received(b, p, target);
    return CE_OK;
}

static atomic_uint_fast64_t *arrivals_of(const struct baselines *b, int rank)
{
    return (void *)b->peer[rank];
}

/* The next part of the windows; all ranks run the same lanes, so all get the same. */
static size_t take_part(struct baselines *b, const struct phase *p)
{
    const size_t begin = b->next + p->part <= b->window_bytes ? b->next : HEAD_BYTES;

    b->next = begin + p->part;
    return begin;
}

static void copy_to_peers(struct baselines *b, const struct phase *p, size_t part)
{
    const unsigned char *source = bench_pool_next(&b->source, p->send_begin[b->ranks]);

    /* Each begins with its successor, so that not all write to one. */
    for (int step = 1; step < b->ranks; step++) {
        const int peer = (b->rank + step) % b->ranks;

        memcpy(b->peer[peer] + part + p->place[peer],
               source + p->send_begin[peer],
               p->sizes->send[peer]);
        (void)atomic_fetch_add_explicit(arrivals_of(b, peer), 1, memory_order_release);
    }
}

static void read_from_peers(struct baselines *b, const struct phase *p, size_t part)
{
    b->arrivals += (uint64_t)b->ranks - 1;
    while (atomic_load_explicit(arrivals_of(b, b->rank), memory_order_acquire) <
           b->arrivals) {
        (void)sched_yield();
    }
    read_received(b, p, b->peer[b->rank] + part);
}

enum ce_status baseline_memcpy(void *baselines, size_t phase, struct ce_error *err)
{
    struct baselines *b = baselines;
    const struct phase *p = &b->phase[phase];
    const size_t part = take_part(b, p);

    (void)err;
    copy_to_peers(b, p, part);
    read_from_peers(b, p, part);
    return CE_OK;
}

enum ce_status baseline_memcpy_own(void *baselines, size_t phase, struct ce_error *err)
{
    struct baselines *b = baselines;
    const struct phase *p = &b->phase[phase];
    const size_t part = take_part(b, p);
    const size_t own = p->sizes->send[b->rank];

    (void)err;
    copy_to_peers(b, p, part);
    memcpy(bench_pool_next(&b->target, own), bench_pool_next(&b->source, own), own);
    read_from_peers(b, p, part);
    return CE_OK;
}
