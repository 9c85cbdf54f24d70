/* transport.c - the list of transports, and the life of one */

#include "comm/transport.h"

#include "base/log.h"
#include "comm/backend.h"
#include "comm/collective.h"
#include "comm/introduce.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct ce_transport_ops *const transports[] = {
    &ce_transport_self,
    &ce_transport_mpi,
    &ce_transport_ucx,
};
static const char *const names[] = {"self", "mpi", "ucx", NULL};

#define TRANSPORTS (sizeof(transports) / sizeof(transports[0]))
_Static_assert(sizeof(names) / sizeof(names[0]) == TRANSPORTS + 1, "a name each");

const char *const *ce_transport_names(void)
{
    return names;
}

static const struct ce_transport_ops *find_transport(const char *name)
{
    for (size_t i = 0; i < TRANSPORTS; i++) {
        if (strcmp(name, transports[i]->name) == 0) {
            return transports[i];
        }
    }
    return NULL;
}

/* CEMOE_LATENCY_US: what a network with that latency would do, for tests and studies
 * on machines that cannot delay packets. */
static uint64_t wanted_latency_ns(void)
{
    const char *text = getenv("CEMOE_LATENCY_US");

    return text != NULL ? strtoull(text, NULL, 10) * 1000 : 0;
}

static void note_reason(struct ce_transport *t, const char *reason, const char *detail)
{
    (void)snprintf(t->reason, sizeof(t->reason), "%s%.100s", reason, detail);
}

/* All ranks of a launched job meet over MPI first, and find out whether they want the
 * same. *t is NULL or works after a failure, as after that of a back-end. */
static enum ce_status start_launched(struct ce_transport **t,
                                     const struct ce_transport_ops *ops,
                                     const char *name,
                                     uint64_t deadline_ms,
                                     struct ce_error *err)
{
    enum ce_status status = ce_transport_mpi.create(t, err);

    if (status != CE_OK) {
        return status;
    }
    (*t)->deadline_ms = CE_START_UP_MS;
    (*t)->activity.stage = "start";
    status = ce_introduce(*t, name, deadline_ms, err);
    (*t)->activity.stage = NULL;
    if (status != CE_OK) {
        ce_transport_destroy(*t);
        *t = NULL;
        return status;
    }
    return ops == &ce_transport_mpi ? CE_OK : ops->create(t, err);
}

/* ucx, which is at least as fast as mpi (bench/exchange), or mpi where UCX finds no way
 * between the ranks; self for a process that nothing has launched. */
static enum ce_status
create_auto(struct ce_transport **transport, uint64_t deadline_ms, struct ce_error *err)
{
    if (!ce_launcher_speaks_mpi()) {
        enum ce_status status = ce_transport_self.create(transport, err);

        if (status == CE_OK) {
            note_reason(*transport, "no launcher started this process", "");
        }
        return status;
    }
    enum ce_status status =
        start_launched(transport, &ce_transport_ucx, "auto", deadline_ms, err);
    if (*transport == NULL) {
        return status;
    }
    if (status == CE_OK) {
        note_reason(*transport, "started as a job of MPI", "");
    } else {
        note_reason(*transport, "ucx does not work here: ", err->text);
    }
    return CE_OK;
}

static enum ce_status create_named(struct ce_transport **transport,
                                   const char *name,
                                   uint64_t deadline_ms,
                                   struct ce_error *err)
{
    const struct ce_transport_ops *ops = find_transport(name);
    enum ce_status status = CE_OK;

    if (ops == NULL) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "there is no transport '%s', only auto, self, mpi, ucx",
                       name);
    }
    if (ops == &ce_transport_self) {
        status = ops->create(transport, err);
    } else {
        status = start_launched(transport, ops, name, deadline_ms, err);
    }
    if (status == CE_OK) {
        note_reason(*transport, "asked for", "");
    } else { /* what would work instead was not asked for */
        ce_transport_destroy(*transport);
        *transport = NULL;
    }
    return status;
}

enum ce_status ce_transport_create(struct ce_transport **transport,
                                   const char *name,
                                   uint64_t deadline_ms,
                                   struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *transport = NULL;
    if (strcmp(name, "auto") == 0) {
        status = create_auto(transport, deadline_ms, err);
    } else {
        status = create_named(transport, name, deadline_ms, err);
    }
    if (status == CE_OK) {
        ce_transport_begin(*transport, deadline_ms);
    }
    return status;
}

void ce_transport_begin(struct ce_transport *transport, uint64_t deadline_ms)
{
    transport->deadline_ms = deadline_ms;
    transport->latency_ns = wanted_latency_ns();
}

bool ce_transport_meet_at_end(struct ce_transport *transport)
{
    struct ce_error err = {.text = ""};
    const struct ce_bytes *all = NULL;

    if (ce_allgather(transport, (struct ce_bytes){NULL, 0}, &all, &err) == CE_OK) {
        return true;
    }
    ce_log(CE_LOG_WARN, "the ranks do not part in order: %s", err.text);
    return false;
}

void ce_transport_destroy(struct ce_transport *transport)
{
    if (transport != NULL) {
        transport->ops->destroy(transport);
    }
}

void ce_transport_abort(struct ce_transport *transport, int exit_code)
{
    transport->ops->abort(transport, exit_code);
}

static bool init_exchange(struct ce_exchange *x, size_t ranks)
{
    x->received = calloc(ranks, sizeof(x->received[0]));
    x->arrived = calloc(3 * ranks, sizeof(x->arrived[0]));
    x->arrived_ns = calloc(ranks, sizeof(x->arrived_ns[0]));
    x->link = calloc(ranks, sizeof(x->link[0]));
    if (x->received == NULL || x->arrived == NULL || x->arrived_ns == NULL ||
        x->link == NULL) {
        return false;
    }
    x->sent = x->arrived + ranks;
    x->handed_out = x->sent + ranks;
    return true;
}

static void fini_exchange(struct ce_exchange *x)
{
    free(x->received);
    free(x->arrived);
    free(x->arrived_ns);
    free(x->link);
}

void ce_transport_reset_counters(struct ce_transport *transport)
{
    for (int i = 0; i < CE_SLOT_COUNT; i++) {
        struct ce_exchange *x = &transport->slot[i];

        memset(x->link, 0, (size_t)transport->ranks * sizeof(x->link[0]));
        x->exposed_ns = 0;
        x->span_ns = 0;
    }
}

enum ce_status ce_transport_init(struct ce_transport *transport,
                                 const struct ce_transport_ops *ops,
                                 int rank,
                                 int ranks,
                                 struct ce_error *err)
{
    size_t count = (size_t)ranks;

    transport->ops = ops;
    transport->rank = rank;
    transport->ranks = ranks;
    transport->outgoing = calloc(count, sizeof(transport->outgoing[0]));
    bool complete = transport->outgoing != NULL;
    for (size_t i = 0; i < CE_SLOT_COUNT; i++) {
        complete = complete && init_exchange(&transport->slot[i], count);
    }
    if (!complete) {
        return ce_fail(
            err, CE_ERR_NOMEM, "no memory for a transport of %d ranks", ranks);
    }
    return CE_OK;
}

void ce_transport_fini(struct ce_transport *transport)
{
    for (size_t i = 0; i < CE_SLOT_COUNT; i++) {
        fini_exchange(&transport->slot[i]);
    }
    free(transport->outgoing);
}

bool ce_transport_is_idle(const struct ce_transport *transport)
{
    for (int i = 0; i < CE_SLOT_COUNT; i++) {
        if (transport->slot[i].active) {
            return false;
        }
    }
    return true;
}

int ce_transport_rank(const struct ce_transport *transport)
{
    return transport->rank;
}

int ce_transport_ranks(const struct ce_transport *transport)
{
    return transport->ranks;
}

void ce_transport_fail(struct ce_transport *transport)
{
    transport->failed = true;
}

enum ce_status ce_transport_tend(struct ce_transport *transport, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    if (transport->ops->tend != NULL) {
        status = transport->ops->tend(transport, err);
    }
    if (status != CE_OK) {
        transport->failed = true;
        if (err != NULL) {
            err->rank = transport->rank;
        }
    }
    return status;
}

enum ce_status ce_transport_enter(struct ce_transport *transport,
                                  const char *stage,
                                  enum ce_status status,
                                  struct ce_error *err)
{
    struct ce_activity *now = &transport->activity;

    now->stage = stage;
    if (status != CE_OK || now->on_enter == NULL) {
        return status;
    }
    return now->on_enter(now->context, now, err);
}

size_t ce_transport_receive_bytes(const struct ce_transport *transport,
                                  const struct ce_message_size size[CE_SLOT_COUNT])
{
    return transport->ops->receive_bytes != NULL
               ? transport->ops->receive_bytes(transport, size)
               : 0;
}

enum ce_status ce_transport_prepare(struct ce_transport *transport,
                                    const struct ce_message_size size[CE_SLOT_COUNT],
                                    struct ce_error *err)
{
    return transport->ops->prepare != NULL
               ? transport->ops->prepare(transport, size, err)
               : CE_OK;
}
