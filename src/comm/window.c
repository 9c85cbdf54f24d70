/* window.c - one anonymous file mapped by every rank of a host */

#include "comm/window.h"

#include "base/clock.h"
#include "base/patience.h"
#include "comm/backend.h"
#include "comm/collective.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE        ((size_t)4096)
#define FILE_NAME   "cemoe-window"
#define NONCE_BYTES 16

/* The file begins with what tells it from any other, so that a process with the same
 * number on another host is not taken for rank 0. */
struct head {
    unsigned char nonce[NONCE_BYTES];
    atomic_int
        users; /* ranks that have not destroyed it: of one process, else unused */
};

/* How often a rank has come to meet; each on its own cache line. */
struct counter {
    _Alignas(64) _Atomic uint64_t rounds;
};

/* What rank 0 tells the others. */
struct card {
    unsigned char nonce[NONCE_BYTES];
    uint64_t bytes;
    uint64_t address; /* of rank 0's mapping, for ranks of its process */
    int64_t process;
    int32_t file;
};

static struct head *head_of(const struct ce_window *window)
{
    return (struct head *)(void *)window->memory;
}

static size_t align_page(size_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static size_t counters_bytes(int ranks)
{
    return align_page(sizeof(struct counter) * ((size_t)ranks + 1));
}

size_t ce_window_overhead(int ranks)
{
    return counters_bytes(ranks) + (size_t)ranks * PAGE;
}

static struct counter *counter_of(const struct ce_window *window, int rank)
{
    return (struct counter *)(void *)window->memory + 1 + rank;
}

static enum ce_status
fail_system(const struct ce_window *window, const char *call, struct ce_error *err)
{
    return ce_fail(err,
                   CE_ERR_NOMEM,
                   "rank %d: %zu bytes of shared memory: %s: %s",
                   window->transport->rank,
                   window->bytes,
                   call,
                   strerror(errno));
}

static enum ce_status map(struct ce_window *window, int file, struct ce_error *err)
{
    void *memory =
        mmap(NULL, window->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

    if (memory == MAP_FAILED) {
        return fail_system(window, "mmap", err);
    }
    window->memory = memory;
    return CE_OK;
}

/* ---- rank 0 ---- */

static enum ce_status
make_file(struct ce_window *window, struct card *card, struct ce_error *err)
{
    unsigned char nonce[NONCE_BYTES];

    card->bytes = window->bytes;
    card->process = getpid();
    card->file = memfd_create(FILE_NAME, MFD_CLOEXEC);
    if (card->file < 0) {
        return fail_system(window, "memfd_create", err);
    }
    if (ftruncate(card->file, (off_t)window->bytes) != 0) {
        return fail_system(window, "ftruncate", err);
    }
    if (getrandom(nonce, sizeof(nonce), 0) != (ssize_t)sizeof(nonce)) {
        return fail_system(window, "getrandom", err);
    }
    enum ce_status status = map(window, card->file, err);
    if (status == CE_OK) {
        memcpy(card->nonce, nonce, sizeof(nonce));
        memcpy(head_of(window)->nonce, nonce, sizeof(nonce));
        atomic_init(&head_of(window)->users, window->transport->ranks);
        card->address = (uintptr_t)window->memory;
    }
    return status;
}

/* ---- the others ---- */

static enum ce_status
fail_apart(const struct ce_window *window, const char *reason, struct ce_error *err)
{
    return ce_fail(err,
                   CE_ERR_UNSUPPORTED,
                   "rank %d cannot share memory with rank 0, which only ranks of one "
                   "host can: %s",
                   window->transport->rank,
                   reason);
}

/* Opening what another host's process has there by chance must do no harm: only a file
 * of the right name is opened. */
static int open_file(const struct card *card)
{
    static const char wanted[] = "/memfd:" FILE_NAME " (deleted)";
    char path[64];
    char target[sizeof(wanted)];

    (void)snprintf(
        path, sizeof(path), "/proc/%" PRId64 "/fd/%" PRId32, card->process, card->file);
    ssize_t length = readlink(path, target, sizeof(target));
    if (length < 0) {
        return -1;
    }
    if (length != (ssize_t)sizeof(wanted) - 1 ||
        memcmp(target, wanted, sizeof(wanted) - 1) != 0) {
        errno = ENOENT;
        return -1;
    }
    return open(path, O_RDWR | O_CLOEXEC);
}

static enum ce_status
join_file(struct ce_window *window, const struct card *card, struct ce_error *err)
{
    struct stat found = {.st_size = 0};
    int file = open_file(card);

    if (file < 0) {
        return fail_apart(window, strerror(errno), err);
    }
    enum ce_status status = CE_OK;
    if (fstat(file, &found) != 0 || (size_t)found.st_size != window->bytes) {
        status = fail_apart(window, "another memory is there", err);
    } else {
        status = map(window, file, err);
    }
    (void)close(file);
    if (status == CE_OK && memcmp(window->memory, card->nonce, NONCE_BYTES) != 0) {
        status = fail_apart(window, "another memory is there", err);
    }
    return status;
}

/* Ranks of one process share rank 0's mapping, so that their memory is the same to all
 * tools that watch it. */
static enum ce_status
join_memory(struct ce_window *window, const struct card *card, struct ce_error *err)
{
    if (!window->transport->ops->one_process) {
        return join_file(window, card, err);
    }
    window->memory = (unsigned char *)(uintptr_t)card->address;
    return CE_OK;
}

/* ---- all ---- */

static enum ce_status allocate(struct ce_window **window,
                               struct ce_transport *transport,
                               struct ce_error *err)
{
    const size_t ranks = (size_t)transport->ranks;
    struct ce_window *w = calloc(1, sizeof(*w));

    *window = w;
    if (w != NULL) {
        w->transport = transport;
        w->of = calloc(ranks, sizeof(w->of[0]));
        w->seen = calloc(ranks, 1);
    }
    if (w == NULL || w->of == NULL || w->seen == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for a window");
    }
    return CE_OK;
}

/* Where the parts begin; for now in bytes from the start of the file. */
static enum ce_status
lay_out(struct ce_window *window, size_t bytes, size_t *offset, struct ce_error *err)
{
    struct ce_transport *t = window->transport;
    const struct ce_bytes *all = NULL;
    const uint64_t mine = bytes;
    enum ce_status status =
        ce_allgather(t, (struct ce_bytes){&mine, sizeof(mine)}, &all, err);

    window->bytes = counters_bytes(t->ranks);
    for (int r = 0; status == CE_OK && r < t->ranks; r++) {
        uint64_t theirs = 0;

        if (all[r].bytes != sizeof(theirs)) {
            return ce_fail(err, CE_ERR_COMM, "rank %d asked for a bad window", r);
        }
        memcpy(&theirs, all[r].data, sizeof(theirs));
        offset[r] = window->bytes;
        window->bytes += align_page((size_t)theirs);
    }
    return status;
}

static enum ce_status
open_memory(struct ce_window *window, const size_t *offset, struct ce_error *err)
{
    struct ce_transport *t = window->transport;
    struct card card = {.file = -1};
    struct ce_bytes told = {NULL, 0};
    enum ce_status status = CE_OK;

    if (t->rank == 0) {
        status = make_file(window, &card, err);
    }
    const int file = card.file;
    status = ce_agree(t, status, err);
    if (status == CE_OK) {
        status = ce_broadcast(t, (struct ce_bytes){&card, sizeof(card)}, &told, err);
    }
    if (status == CE_OK && t->rank != 0) {
        if (told.bytes == sizeof(card)) {
            memcpy(&card, told.data, sizeof(card));
            status = join_memory(window, &card, err);
        } else {
            status = ce_fail(err, CE_ERR_COMM, "rank 0 told of a bad window");
        }
    }
    status = ce_agree(t, status, err);
    if (file >= 0) {
        (void)close(file);
    }
    for (int r = 0; status == CE_OK && r < t->ranks; r++) {
        window->of[r] = window->memory + offset[r];
    }
    return status;
}

enum ce_status ce_window_create(struct ce_window **window,
                                struct ce_transport *transport,
                                size_t bytes,
                                struct ce_error *err)
{
    size_t *offset = calloc((size_t)transport->ranks, sizeof(offset[0]));
    enum ce_status status = allocate(window, transport, err);

    if (status == CE_OK && offset == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory for a window");
    }
    status = ce_agree(transport, status, err);
    if (status == CE_OK) {
        status = ce_agree(transport, lay_out(*window, bytes, offset, err), err);
    }
    if (status == CE_OK) {
        status = open_memory(*window, offset, err);
    }
    free(offset);
    if (status != CE_OK) {
        ce_window_destroy(*window);
        *window = NULL;
    }
    return status;
}

static bool is_last_user(const struct ce_window *window)
{
    return !window->transport->ops->one_process ||
           atomic_fetch_sub(&head_of(window)->users, 1) == 1;
}

void ce_window_destroy(struct ce_window *window)
{
    if (window == NULL) {
        return;
    }
    if (window->memory != NULL && is_last_user(window)) {
        (void)munmap(window->memory, window->bytes);
    }
    free(window->of);
    free(window->seen);
    free(window);
}

/* ---- meeting ---- */

/* Notes who is here; the number of those who are not. */
static int look(struct ce_window *window)
{
    const int ranks = window->transport->ranks;
    int missing = 0;

    for (int r = 0; r < ranks; r++) {
        const uint64_t theirs =
            atomic_load_explicit(&counter_of(window, r)->rounds, memory_order_acquire);

        window->seen[r] = theirs >= window->round;
        missing += !window->seen[r];
    }
    return missing;
}

static enum ce_status
fail_timeout(const struct ce_window *window, int missing, struct ce_error *err)
{
    struct ce_transport *t = window->transport;
    char where[CE_WHERE_TEXT];
    char who[CE_RANKS_TEXT];

    ce_describe_where(where, t, "meeting", window->round);
    ce_describe_missing(who, window->seen, t->ranks, missing);
    ce_transport_fail(t);
    err->rank = t->rank;
    return ce_fail(err,
                   CE_ERR_TIMEOUT,
                   "%s: no sign after %" PRIu64 " ms from %s (of %d, %d here)",
                   where,
                   t->deadline_ms,
                   who,
                   t->ranks,
                   t->ranks - missing);
}

/* Looks before the core is given up: who shares work in equal parts comes soon. */
#define EAGER_LOOKS 200

static enum ce_status wait_for_all(struct ce_window *window, struct ce_error *err)
{
    struct ce_transport *t = window->transport;
    const uint64_t begin_ns = ce_clock_ns();
    struct ce_patience patience;
    enum ce_status status = CE_OK;
    int missing = look(window);

    ce_patience_begin(&patience, t->deadline_ms);
    for (int looks = 1; status == CE_OK && missing > 0; looks++) {
        if (looks > EAGER_LOOKS) {
            if (ce_patience_is_over(&patience)) {
                return fail_timeout(window, missing, err);
            }
            status = ce_transport_tend(t, err);
            (void)sched_yield();
        }
        missing = look(window);
    }
    window->wait_ns += ce_clock_ns() - begin_ns;
    return status;
}

enum ce_status ce_window_meet(struct ce_window *window, struct ce_error *err)
{
    struct ce_transport *t = window->transport;

    if (t->failed) {
        return ce_fail(err,
                       CE_ERR_COMM,
                       "rank %d: meeting: the transport has failed before",
                       t->rank);
    }
    window->round++;
    atomic_store_explicit(
        &counter_of(window, t->rank)->rounds, window->round, memory_order_release);
    return wait_for_all(window, err);
}
