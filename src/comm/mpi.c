/* mpi.c - the transport over MPI messages
 *
 *   slot s, peer p:  MPI_Isend(tag s) ──►  MPI_Improbe(p, tag s): how many bytes
 *                                          MPI_Imrecv into the buffer of (s, p)
 *
 * The probe tells the size, so no round of counts goes before. It asks for one
 * source at a time and only while that source's message of this round is not
 * here: MPI keeps the order of messages with the same source and tag, so what
 * it finds belongs to this round even if that peer is a round ahead.
 *
 * Only non-blocking calls are used, because MPI's own waits know no deadline.
 */

#include "base/log.h"
#include "comm/backend.h"
#include "comm/collective.h"

#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct mpi_slot {
    MPI_Request *requests;      /* [2 * ranks]: sends, then receives */
    struct ce_landing *buffers; /* [ranks] */
};

struct mpi_transport {
    struct ce_transport head;
    MPI_Comm comm;
    bool owns_mpi; /* we initialised it, so we finalise it */
    struct mpi_slot slot[CE_SLOT_COUNT];
    int *completed;       /* [2 * ranks] scratch of MPI_Testsome */
    MPI_Status *statuses; /* [2 * ranks] likewise */
};

static struct mpi_transport *from_head(struct ce_transport *t)
{
    return (struct mpi_transport *)t;
}

static enum ce_status
fail_mpi(const struct ce_transport *t, int code, const char *call, struct ce_error *err)
{
    char reason[MPI_MAX_ERROR_STRING] = "unknown error";
    int length;

    (void)MPI_Error_string(code, reason, &length);
    return ce_fail(err, CE_ERR_COMM, "rank %d: %s: %.300s", t->rank, call, reason);
}

#define BLOCK_BYTES (1 << 20)

/* MPI counts are ints: a larger message is one element of a type of `bytes`. */
static int make_large_type(size_t bytes, MPI_Datatype *type)
{
    const size_t blocks = bytes / BLOCK_BYTES;
    MPI_Datatype block;
    int lengths[2] = {(int)blocks, (int)(bytes % BLOCK_BYTES)};
    MPI_Aint offsets[2] = {0, (MPI_Aint)(blocks * BLOCK_BYTES)};

    int code = MPI_Type_contiguous(BLOCK_BYTES, MPI_BYTE, &block);
    if (code != MPI_SUCCESS) {
        return code;
    }
    MPI_Datatype types[2] = {block, MPI_BYTE};
    code = MPI_Type_create_struct(2, lengths, offsets, types, type);
    (void)MPI_Type_free(&block);
    return code != MPI_SUCCESS ? code : MPI_Type_commit(type);
}

static int send_bytes(
    struct ce_bytes message, int peer, int tag, MPI_Comm comm, MPI_Request *request)
{
    MPI_Datatype type;

    if (message.bytes <= INT_MAX) {
        return MPI_Isend(
            message.data, (int)message.bytes, MPI_BYTE, peer, tag, comm, request);
    }
    int code = make_large_type(message.bytes, &type);
    if (code == MPI_SUCCESS) {
        code = MPI_Isend(message.data, 1, type, peer, tag, comm, request);
        (void)MPI_Type_free(&type);
    }
    return code;
}

static int
receive_bytes(void *memory, size_t bytes, MPI_Message *message, MPI_Request *request)
{
    MPI_Datatype type;

    if (bytes <= INT_MAX) {
        return MPI_Imrecv(memory, (int)bytes, MPI_BYTE, message, request);
    }
    int code = make_large_type(bytes, &type);
    if (code == MPI_SUCCESS) {
        code = MPI_Imrecv(memory, 1, type, message, request);
        (void)MPI_Type_free(&type);
    }
    return code;
}

static size_t mpi_receive_bytes(const struct ce_transport *t,
                                const struct ce_message_size *size)
{
    size_t sum = 0;

    for (int i = 0; i < CE_SLOT_COUNT; i++) {
        sum += size[i].largest;
    }
    return sum * (size_t)(t->ranks - 1);
}

static enum ce_status mpi_prepare(struct ce_transport *t,
                                  const struct ce_message_size *size,
                                  struct ce_error *err)
{
    struct mpi_transport *mpi = from_head(t);
    bool complete = true;

    for (int i = 0; i < CE_SLOT_COUNT; i++) {
        for (int peer = 0; peer < t->ranks; peer++) {
            complete = complete && (peer == t->rank ||
                                    ce_landing_prepare(&mpi->slot[i].buffers[peer],
                                                       size[i].largest));
        }
    }
    return complete ? CE_OK
                    : ce_fail(err,
                              CE_ERR_NOMEM,
                              "rank %d: no memory to receive messages",
                              t->rank);
}

static enum ce_status mpi_send(struct ce_transport *t,
                               enum ce_slot slot,
                               int peer,
                               struct ce_bytes message,
                               struct ce_error *err)
{
    struct mpi_transport *mpi = from_head(t);
    MPI_Request *request = &mpi->slot[slot].requests[peer];
    int code = send_bytes(message, peer, (int)slot, mpi->comm, request);

    return code == MPI_SUCCESS ? CE_OK : fail_mpi(t, code, "MPI_Isend", err);
}

/* Starts to receive a message that a probe has found. */
static enum ce_status start_receive(struct mpi_transport *mpi,
                                    enum ce_slot slot,
                                    MPI_Message *message,
                                    const MPI_Status *found,
                                    struct ce_error *err)
{
    const int source = found->MPI_SOURCE;
    struct ce_landing *buffer = &mpi->slot[slot].buffers[source];
    MPI_Count bytes;

    int code = MPI_Get_elements_x(found, MPI_BYTE, &bytes);
    if (code == MPI_SUCCESS && bytes < 0) {
        code = MPI_ERR_COUNT;
    }
    if (code != MPI_SUCCESS) {
        return fail_mpi(&mpi->head, code, "MPI_Get_elements_x", err);
    }
    buffer->bytes = (size_t)bytes;
    if (!ce_landing_reserve(buffer, buffer->bytes)) {
        return ce_fail(err,
                       CE_ERR_NOMEM,
                       "rank %d: no memory for a message of %zu bytes from rank %d",
                       mpi->head.rank,
                       buffer->bytes,
                       source);
    }
    MPI_Request *request = &mpi->slot[slot].requests[mpi->head.ranks + source];
    code = receive_bytes(buffer->memory, buffer->bytes, message, request);
    return code == MPI_SUCCESS ? CE_OK : fail_mpi(&mpi->head, code, "MPI_Imrecv", err);
}

static enum ce_status start_receives(struct mpi_transport *mpi,
                                     enum ce_slot slot,
                                     bool *moved,
                                     struct ce_error *err)
{
    const struct ce_exchange *x = &mpi->head.slot[slot];
    const MPI_Request *receives = mpi->slot[slot].requests + mpi->head.ranks;
    enum ce_status status = CE_OK;

    for (int source = 0; source < mpi->head.ranks && status == CE_OK; source++) {
        MPI_Message message;
        MPI_Status found;
        int is_found = 0;

        if (x->arrived[source] || receives[source] != MPI_REQUEST_NULL) {
            continue;
        }
        int code =
            MPI_Improbe(source, (int)slot, mpi->comm, &is_found, &message, &found);
        if (code != MPI_SUCCESS) {
            return fail_mpi(&mpi->head, code, "MPI_Improbe", err);
        }
        if (is_found) {
            *moved = true;
            status = start_receive(mpi, slot, &message, &found, err);
        }
    }
    return status;
}

/* The error of one of `count` requests when MPI only says that there is one. */
static int first_error(int code, const MPI_Status *statuses, int count)
{
    if (code != MPI_ERR_IN_STATUS) {
        return code;
    }
    for (int i = 0; i < count; i++) {
        if (statuses[i].MPI_ERROR != MPI_SUCCESS) {
            return statuses[i].MPI_ERROR;
        }
    }
    return code;
}

static enum ce_status complete_requests(struct mpi_transport *mpi,
                                        enum ce_slot slot,
                                        bool *moved,
                                        struct ce_error *err)
{
    const int ranks = mpi->head.ranks;
    struct mpi_slot *s = &mpi->slot[slot];
    int count = 0;

    int code =
        MPI_Testsome(2 * ranks, s->requests, &count, mpi->completed, mpi->statuses);
    if (code != MPI_SUCCESS) {
        code = first_error(code, mpi->statuses, count);
        return fail_mpi(&mpi->head, code, "MPI_Testsome", err);
    }
    /* A count of MPI_UNDEFINED, which is negative, says that none was active. */
    for (int i = 0; i < count; i++) {
        int peer = mpi->completed[i] % ranks;

        *moved = true;
        if (mpi->completed[i] < ranks) {
            ce_exchange_sent(&mpi->head, slot, peer);
        } else {
            const struct ce_landing *buffer = &s->buffers[peer];
            struct ce_bytes message = {buffer->memory, buffer->bytes};
            ce_exchange_arrived(&mpi->head, slot, peer, message);
        }
    }
    return CE_OK;
}

static enum ce_status
mpi_progress(struct ce_transport *t, enum ce_slot slot, struct ce_error *err)
{
    struct mpi_transport *mpi = from_head(t);
    bool moved = false;

    enum ce_status status = start_receives(mpi, slot, &moved, err);
    if (status == CE_OK) {
        status = complete_requests(mpi, slot, &moved, err);
    }
    return status == CE_OK && !moved ? CE_AGAIN : status;
}

/* MPI moves its messages in any of its calls that looks for one; nobody sends with this
 * tag. */
static enum ce_status mpi_tend(struct ce_transport *t, struct ce_error *err)
{
    int is_found = 0;
    int code = MPI_Iprobe(MPI_ANY_SOURCE,
                          CE_SLOT_COUNT,
                          from_head(t)->comm,
                          &is_found,
                          MPI_STATUS_IGNORE);

    return code == MPI_SUCCESS ? CE_OK : fail_mpi(t, code, "MPI_Iprobe", err);
}

static void free_buffers(struct mpi_transport *mpi, enum ce_slot slot)
{
    const int ranks = mpi->head.ranks;
    struct mpi_slot *s = &mpi->slot[slot];

    for (int source = 0; s->buffers != NULL && source < ranks; source++) {
        /* A network may still write to a buffer whose receive never completed;
         * it is left to the end of the process. */
        if (s->requests == NULL || s->requests[ranks + source] == MPI_REQUEST_NULL) {
            free(s->buffers[source].memory);
        }
    }
    free(s->buffers);
    free(s->requests);
}

/* MPI's own end waits for all ranks as long as it takes, so they meet before it, with
 * the deadline. And no rank is in MPI_Finalize while another waits for it and gives up:
 * then Open MPI 4.1's mpirun crashes or hangs now and then. */
static void mpi_destroy(struct ce_transport *t)
{
    struct mpi_transport *mpi = from_head(t);

    /* Both calls wait for all ranks, so after a failure neither is made: the
     * launcher then ends the others when this process exits. */
    if (!t->failed && ce_transport_is_idle(t) && ce_transport_meet_at_end(t)) {
        (void)MPI_Comm_free(&mpi->comm);
        if (mpi->owns_mpi) {
            (void)MPI_Finalize();
        }
    }
    for (int i = 0; i < CE_SLOT_COUNT; i++) {
        free_buffers(mpi, (enum ce_slot)i);
    }
    free(mpi->completed);
    free(mpi->statuses);
    ce_transport_fini(t);
    free(mpi);
}

static enum ce_status init_library(struct mpi_transport *mpi, struct ce_error *err)
{
    int initialized = 0;
    int finalized = 0;
    int level = MPI_THREAD_SINGLE;
    int code;

    (void)MPI_Initialized(&initialized);
    (void)MPI_Finalized(&finalized);
    if (finalized) {
        return ce_fail(err, CE_ERR_COMM, "MPI cannot be started twice in one process");
    }
    mpi->owns_mpi = !initialized;
    if (initialized) {
        code = MPI_Query_thread(&level);
    } else {
        code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level);
    }
    if (code != MPI_SUCCESS) {
        return fail_mpi(&mpi->head, code, "MPI_Init_thread", err);
    }
    if (level < MPI_THREAD_FUNNELED) {
        return ce_fail(err, CE_ERR_COMM, "MPI was started without support for threads");
    }
    return CE_OK;
}

/* Started by a launcher this library cannot talk to, each process is a job. */
static enum ce_status check_size(int ranks, struct ce_error *err)
{
    int rank;
    int announced;

    ce_transport_launcher(&rank, &announced);
    if (announced <= ranks) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_COMM,
                   "rank %d: the launcher started %d processes but the MPI library "
                   "sees %d: start with that library's mpirun, or srun --mpi=pmix",
                   rank,
                   announced,
                   ranks);
}

/* A communicator of our own, so that tags meet nobody else's messages. */
static enum ce_status open_communicator(struct mpi_transport *mpi, struct ce_error *err)
{
    int rank;
    int ranks;

    int code = MPI_Comm_dup(MPI_COMM_WORLD, &mpi->comm);
    if (code != MPI_SUCCESS) {
        return fail_mpi(&mpi->head, code, "MPI_Comm_dup", err);
    }
    (void)MPI_Comm_set_errhandler(mpi->comm, MPI_ERRORS_RETURN);
    (void)MPI_Comm_rank(mpi->comm, &rank);
    (void)MPI_Comm_size(mpi->comm, &ranks);
    enum ce_status status = check_size(ranks, err);
    if (status == CE_OK) {
        status = ce_transport_init(&mpi->head, &ce_transport_mpi, rank, ranks, err);
    }
    return status;
}

static bool allocate_slots(struct mpi_transport *mpi)
{
    const size_t ranks = (size_t)mpi->head.ranks;
    bool complete = true;

    mpi->completed = calloc(2 * ranks, sizeof(mpi->completed[0]));
    mpi->statuses = calloc(2 * ranks, sizeof(mpi->statuses[0]));
    for (size_t i = 0; i < CE_SLOT_COUNT; i++) {
        struct mpi_slot *s = &mpi->slot[i];

        s->buffers = calloc(ranks, sizeof(s->buffers[0]));
        s->requests = calloc(2 * ranks, sizeof(MPI_Request));
        complete = complete && s->buffers != NULL && s->requests != NULL;
        for (size_t r = 0; s->requests != NULL && r < 2 * ranks; r++) {
            s->requests[r] = MPI_REQUEST_NULL;
        }
    }
    return complete && mpi->completed != NULL && mpi->statuses != NULL;
}

static enum ce_status mpi_create(struct ce_transport **out, struct ce_error *err)
{
    struct mpi_transport *mpi = calloc(1, sizeof(*mpi));

    if (mpi == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for a transport");
    }
    enum ce_status status = init_library(mpi, err);
    if (status == CE_OK) {
        status = open_communicator(mpi, err);
    }
    if (status == CE_OK && !allocate_slots(mpi)) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory for the transport's slots");
    }
    if (status != CE_OK) {
        /* The others may have got further: do not wait for them. */
        mpi->head.failed = true;
        mpi_destroy(&mpi->head);
        return status;
    }
    *out = &mpi->head;
    return CE_OK;
}

/* Open MPI's mpirun ends all ranks when one exits without MPI_Finalize. MPI_Abort would
 * do the same, but makes mpirun 4.1 crash or hang now and then when another rank is in
 * MPI_Finalize at that time. Other launchers have to be told. */
static void mpi_abort(struct ce_transport *t, int exit_code)
{
    (void)t;
    if (getenv("OMPI_COMM_WORLD_RANK") != NULL) {
        (void)fflush(NULL);
        _exit(exit_code);
    }
    (void)MPI_Abort(MPI_COMM_WORLD, exit_code);
}

const struct ce_transport_ops ce_transport_mpi = {
    .name = "mpi",
    .create = mpi_create,
    .receive_bytes = mpi_receive_bytes,
    .prepare = mpi_prepare,
    .send = mpi_send,
    .progress = mpi_progress,
    .tend = mpi_tend,
    .destroy = mpi_destroy,
    .abort = mpi_abort,
};
