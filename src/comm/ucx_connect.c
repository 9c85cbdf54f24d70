/* ucx_connect.c - how ranks of the ucx transport find and leave each other
 *
 * The addresses of UCX's workers travel over MPI. Everything here serves UCX
 * while it waits: a peer may need this rank's progress to get any further, so
 * a wait inside MPI would be a deadlock.
 */

#include "base/host.h"
#include "base/log.h"
#include "base/patience.h"
#include "comm/collective.h"
#include "comm/ucx.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <ucp/api/ucp.h>

static enum ce_status fail_ucx(const struct ucx_transport *ucx,
                               ucs_status_t status,
                               const char *call,
                               struct ce_error *err)
{
    return ce_fail(err,
                   CE_ERR_COMM,
                   "rank %d: %s: %s",
                   ucx->head.rank,
                   call,
                   ucs_status_string(status));
}

/* ---- waiting together ---- */

static void serve_peers(void *context)
{
    const struct ucx_transport *ucx = context;

    (void)ucp_worker_progress(ucx->worker);
}

enum ce_status ucx_meet(struct ucx_transport *ucx, struct ce_error *err)
{
    struct ce_transport *mpi = ucx->bootstrap;
    const struct ce_bytes *all = NULL;

    /* It speaks for this transport. */
    mpi->deadline_ms = ucx->head.deadline_ms;
    mpi->activity = ucx->head.activity;
    return ce_allgather(mpi, (struct ce_bytes){NULL, 0}, &all, err);
}

/* ---- context and worker ---- */

static enum ce_status open_context(struct ucx_transport *ucx, struct ce_error *err)
{
    const ucp_params_t wanted = {
        .field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_ESTIMATED_NUM_EPS,
        .features = UCP_FEATURE_AM | UCP_FEATURE_RMA,
        .estimated_num_eps = (size_t)ucx->head.ranks,
    };
    ucp_config_t *config = NULL;

    ucs_status_t status = ucp_config_read(NULL, NULL, &config);
    if (status != UCS_OK) {
        return fail_ucx(ucx, status, "ucp_config_read", err);
    }
    status = ucp_init(&wanted, config, &ucx->context);
    ucp_config_release(config);
    return status == UCS_OK ? CE_OK : fail_ucx(ucx, status, "ucp_init", err);
}

static enum ce_status open_worker(struct ucx_transport *ucx, struct ce_error *err)
{
    const ucp_worker_params_t wanted = {
        .field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
        .thread_mode = UCS_THREAD_MODE_SINGLE,
    };

    enum ce_status status = open_context(ucx, err);
    if (status != CE_OK) {
        return status;
    }
    ucs_status_t opened = ucp_worker_create(ucx->context, &wanted, &ucx->worker);
    if (opened != UCS_OK) {
        return fail_ucx(ucx, opened, "ucp_worker_create", err);
    }
    if (!ucx_listen(ucx)) {
        return ce_fail(
            err, CE_ERR_COMM, "rank %d: ucx takes no handler", ucx->head.rank);
    }
    ucx->bootstrap->serve = serve_peers;
    ucx->bootstrap->serve_context = ucx;
    return CE_OK;
}

/* ---- addresses and endpoints ---- */

/* What a rank tells the others: where it runs, then UCX's address of it. */
struct card {
    struct ce_host host;
    unsigned char address[];
};

static enum ce_status
write_card(struct ucx_transport *ucx, struct ce_bytes *written, struct ce_error *err)
{
    ucp_address_t *address = NULL;
    size_t bytes = 0;

    ucs_status_t status = ucp_worker_get_address(ucx->worker, &address, &bytes);
    if (status != UCS_OK) {
        return fail_ucx(ucx, status, "ucp_worker_get_address", err);
    }
    struct card *card = calloc(1, sizeof(*card) + bytes);
    if (card != NULL) {
        ce_host_self(&card->host);
        memcpy(card->address, address, bytes);
    }
    ucp_worker_release_address(ucx->worker, address);
    *written = (struct ce_bytes){card, sizeof(*card) + bytes};
    return card != NULL ? CE_OK
                        : ce_fail(err, CE_ERR_NOMEM, "no memory for an address");
}

static void on_endpoint_error(void *argument, ucp_ep_h handle, ucs_status_t status)
{
    struct ucx_endpoint *endpoint = argument;

    (void)handle;
    if (!endpoint->ucx->closing) {
        ucx_note_failure(endpoint->ucx,
                         CE_ERR_COMM,
                         "ucx has lost",
                         endpoint->peer,
                         ucs_status_string(status));
    }
}

static enum ce_status open_endpoint(struct ucx_transport *ucx,
                                    int peer,
                                    const struct ce_bytes *cards,
                                    struct ce_error *err)
{
    const struct card *mine = cards[ucx->head.rank].data;
    const struct card *theirs = cards[peer].data;

    if (cards[peer].bytes <= sizeof(*theirs) ||
        memchr(theirs->host.name, '\0', sizeof(theirs->host.name)) == NULL) {
        return ce_fail(err, CE_ERR_COMM, "rank %d sent no address of ucx", peer);
    }
    ucx->endpoints[peer].is_near = ce_host_is_same(&mine->host, &theirs->host);
    /* Between hosts UCX is asked to tell when a peer is gone. Within one this would
     * cost shared memory, which cannot tell; there the launcher sees it. */
    const ucp_ep_params_t wanted = {
        .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS |
                      UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                      UCP_EP_PARAM_FIELD_ERR_HANDLER,
        .address = (const ucp_address_t *)(const void *)theirs->address,
        .err_mode = ucx->endpoints[peer].is_near ? UCP_ERR_HANDLING_MODE_NONE
                                                 : UCP_ERR_HANDLING_MODE_PEER,
        .err_handler = {.cb = on_endpoint_error, .arg = &ucx->endpoints[peer]},
    };
    ucs_status_t status =
        ucp_ep_create(ucx->worker, &wanted, &ucx->endpoints[peer].handle);
    if (status == UCS_OK) {
        return CE_OK;
    }
    ucx->endpoints[peer].handle = NULL;
    return ce_fail(err,
                   CE_ERR_COMM,
                   "rank %d: ucx finds no way to rank %d on %s: %s",
                   ucx->head.rank,
                   peer,
                   theirs->host.name,
                   ucs_status_string(status));
}

enum ce_status ucx_connect(struct ucx_transport *ucx, struct ce_error *err)
{
    struct ce_transport *mpi = ucx->bootstrap;
    const struct ce_bytes *cards = NULL;
    struct ce_bytes mine = {NULL, 0};

    enum ce_status status = open_worker(ucx, err);
    if (status == CE_OK) {
        status = write_card(ucx, &mine, err);
    }
    status = ce_agree(mpi, status, err);
    if (status == CE_OK) {
        status = ce_allgather(mpi, mine, &cards, err);
    }
    for (int peer = 0; status == CE_OK && peer < mpi->ranks; peer++) {
        if (peer != mpi->rank) {
            status = open_endpoint(ucx, peer, cards, err);
        }
    }
    if (!mpi->failed) {
        status = ce_agree(mpi, status, err);
    }
    free((void *)(uintptr_t)mine.data);
    return status;
}

/* ---- leaving ---- */

/* False when the deadline passes first; the request is then left to UCX. */
static bool wait_for(struct ucx_transport *ucx, void *request)
{
    struct ce_patience patience;

    if (!UCS_PTR_IS_PTR(request)) {
        return true;
    }
    ce_patience_begin(&patience, ucx->head.deadline_ms);
    while (ucp_request_check_status(request) == UCS_INPROGRESS) {
        if (ucp_worker_progress(ucx->worker) == 0) {
            (void)sched_yield();
        }
        if (ce_patience_is_over(&patience)) {
            return false;
        }
    }
    ucp_request_free(request);
    return true;
}

static enum ce_status close_endpoints(struct ucx_transport *ucx, struct ce_error *err)
{
    const ucp_request_param_t flushed = {.op_attr_mask = 0};

    for (int peer = 0; peer < ucx->head.ranks; peer++) {
        struct ucx_endpoint *endpoint = &ucx->endpoints[peer];

        if (endpoint->handle == NULL) {
            continue;
        }
        if (!wait_for(ucx, ucp_ep_close_nbx(endpoint->handle, &flushed))) {
            return ce_fail(err,
                           CE_ERR_TIMEOUT,
                           "rank %d: ucx has not closed its way to rank %d after "
                           "%" PRIu64 " ms",
                           ucx->head.rank,
                           peer,
                           ucx->head.deadline_ms);
        }
        endpoint->handle = NULL;
    }
    return CE_OK;
}

bool ucx_disconnect(struct ucx_transport *ucx)
{
    struct ce_error err = {.text = ""};
    enum ce_status status = ucx_meet(ucx, &err);

    if (status == CE_OK) {
        ucx->closing = true;
        ucx_forget_boxes(ucx);
        status = close_endpoints(ucx, &err);
    }
    if (status == CE_OK) {
        status = ucx_meet(ucx, &err);
    }
    if (status != CE_OK) { /* leaving returns no status */
        ce_log(CE_LOG_WARN, "the ranks do not part in order: %s", err.text);
        return false;
    }
    ucx->bootstrap->serve = NULL;
    ucx_free_boxes(ucx);
    ucp_worker_destroy(ucx->worker);
    ucp_cleanup(ucx->context);
    return true;
}
