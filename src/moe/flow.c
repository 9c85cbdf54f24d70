/* flow.c - a layer's two exchanges and the experts between them */

#include "moe/flow.h"

#include "base/clock.h"

#include <string.h>

/* One layer under way. */
struct flow {
    struct ce_moe *moe;
    const struct ce_layer_weights *layer;
    struct ce_message_key key;
    const float *x;
    size_t batch;        /* sources at hand, in moe->source */
    size_t rows;         /* their assignments */
    size_t taken;        /* assignments of all sources so far */
    bool peer_failed;    /* a message said that its sender has failed */
    enum ce_status mine; /* failure of this rank, told to the others later */
    struct ce_error *err;
};

static void end_stage(struct ce_moe *moe, enum ce_moe_stage stage, uint64_t *since)
{
    uint64_t now = ce_clock_ns();

    moe->counters.stage_ns[stage] += now - *since;
    *since = now;
}

/* ---- rows out ---- */

/* The own rows stay where they are, unless the wire rounds them. */
static bool stays(const struct flow *flow, int peer)
{
    return peer == flow->moe->transport->rank && flow->moe->wire.format == CE_WIRE_F32;
}

static void pack_rows(struct flow *flow, int peer)
{
    struct ce_moe *moe = flow->moe;
    const bool attached = !stays(flow, peer);
    size_t bytes = ce_dispatch_bytes(
        &moe->plan, (size_t)peer, moe->auxiliary, attached ? moe->wire.row_bytes : 0);
    void *message =
        ce_outbox_place(&moe->dispatch, moe->transport, CE_SLOT_DISPATCH, peer, bytes);

    ce_dispatch_pack(message,
                     &flow->key,
                     &moe->plan,
                     &moe->routing,
                     (size_t)peer,
                     moe->auxiliary,
                     attached ? flow->x : NULL,
                     &moe->wire);
}

static enum ce_status send_rows(struct flow *flow, struct ce_error *err)
{
    struct ce_moe *moe = flow->moe;
    struct ce_transport *transport = moe->transport;
    enum ce_status status = CE_OK;

    ce_outbox_clear(&moe->dispatch);
    if (flow->mine != CE_OK) {
        ce_outbox_fail(&moe->dispatch,
                       (size_t)transport->ranks,
                       &flow->key,
                       flow->mine,
                       flow->err);
    }
    /* The successor first and the own message last: it has no way to go. */
    for (int step = 1; status == CE_OK && step <= transport->ranks; step++) {
        int peer = (transport->rank + step) % transport->ranks;

        if (flow->mine == CE_OK) {
            pack_rows(flow, peer);
        }
        status = ce_exchange_send(
            transport, CE_SLOT_DISPATCH, peer, moe->dispatch.message[peer], err);
    }
    return status;
}

/* ---- what stays here ---- */

/* The affine compressed experts of the own tokens, while rows travel. */
static void run_affine(struct flow *flow)
{
    struct ce_moe *moe = flow->moe;

    if (moe->affine_experts == 0) {
        return;
    }
    flow->mine = ce_transport_enter(moe->transport, "affine", flow->mine, flow->err);
    if (flow->mine == CE_OK) {
        flow->mine = ce_affine_run(&moe->affine,
                                   flow->layer->affine,
                                   flow->key.layer,
                                   &moe->routing,
                                   flow->x,
                                   flow->err);
    }
}

/* ---- rows in ---- */

/* Adds a message to the batch, or notes that its sender has failed. */
static enum ce_status add_to_batch(struct flow *flow,
                                   int source,
                                   const struct ce_bytes *message,
                                   struct ce_error *err)
{
    struct ce_moe *moe = flow->moe;
    struct ce_dispatch_view *view = &moe->arrival[source].view;
    enum ce_status status = ce_message_check(message, &flow->key, source, err);

    if (status != CE_OK && ce_message_tells_failure(message, &flow->key)) {
        flow->peer_failed = true;
        return CE_OK;
    }
    if (status == CE_OK) {
        size_t row_bytes = stays(flow, source) ? 0 : moe->wire.row_bytes;

        status = ce_message_read_dispatch(
            message, row_bytes, moe->auxiliary, source, view, err);
    }
    if (status == CE_OK && stays(flow, source)) {
        view->x = (const unsigned char *)flow->x;
        view->token = moe->plan.row_token + moe->plan.row_begin[source];
    }
    if (status == CE_OK && (view->rows > moe->max_tokens ||
                            view->assignments > moe->work.capacity - flow->taken)) {
        status =
            ce_fail(err, CE_ERR_COMM, "rank %d sent more rows than can be", source);
    }
    if (status != CE_OK) {
        ce_transport_fail(moe->transport); /* nobody else has noticed */
        return status;
    }
    moe->source[flow->batch++] = source;
    flow->rows += view->assignments;
    flow->taken += view->assignments;
    return CE_OK;
}

/* Reading an expert's weights again for a second batch costs more than waiting for
 * its rows would, unless each of them works on many rows. */
#define ROWS_AN_EXPERT 16

static bool is_worth_it(const struct flow *flow)
{
    const struct ce_moe *moe = flow->moe;

    switch (moe->overlap) {
    case CE_OVERLAP_ON:
        return flow->rows > 0;
    case CE_OVERLAP_AUTO:
        return flow->rows > 0 && flow->rows >= ROWS_AN_EXPERT * moe->shard;
    case CE_OVERLAP_OFF:
    case CE_OVERLAPS:
        break;
    }
    return false;
}

/* Takes messages until those at hand are worth a batch and no other is here, or there
 * are no more: then *last. */
static enum ce_status take_rows(struct flow *flow, bool *last, struct ce_error *err)
{
    struct ce_transport *transport = flow->moe->transport;

    flow->batch = 0;
    flow->rows = 0;
    do {
        struct ce_bytes message;
        int source = -1;
        enum ce_status status =
            ce_exchange_next(transport, CE_SLOT_DISPATCH, &source, &message, err);

        *last = source < 0;
        if (status == CE_OK && !*last) {
            status = add_to_batch(flow, source, &message, err);
        }
        if (status != CE_OK) {
            return status;
        }
    } while (!*last &&
             (!is_worth_it(flow) || ce_exchange_has_next(transport, CE_SLOT_DISPATCH)));
    return CE_OK;
}

/* The failure of the lowest rank that told one. */
static enum ce_status find_verdict(const struct flow *flow, struct ce_error *err)
{
    const struct ce_transport *transport = flow->moe->transport;
    enum ce_status status = CE_OK;

    for (int r = 0; status == CE_OK && r < transport->ranks; r++) {
        status = ce_message_check(
            &transport->slot[CE_SLOT_DISPATCH].received[r], &flow->key, r, err);
    }
    return status;
}

/* ---- results out ---- */

static struct ce_message_key combine_key(const struct flow *flow)
{
    struct ce_message_key key = flow->key;

    key.phase = CE_PHASE_COMBINE;
    return key;
}

static size_t rows_back(const struct ce_moe *moe, const struct ce_dispatch_view *view)
{
    return moe->combine == CE_COMBINE_PARTIAL ? view->rows : view->assignments;
}

/* Lays out the message to a source, and where its assignments leave their results:
 * there, or, when they are summed first, in memory of the block. */
static unsigned char *place_results(struct flow *flow, int source, float **sums)
{
    struct ce_moe *moe = flow->moe;
    struct ce_arrival *arrival = &moe->arrival[source];
    const struct ce_message_key key = combine_key(flow);
    size_t rows = rows_back(moe, &arrival->view);
    size_t bytes = ce_message_combine_bytes(rows, moe->wire.row_bytes);
    void *message =
        ce_outbox_place(&moe->results, moe->transport, CE_SLOT_COMBINE, source, bytes);

    ce_message_write_header(message, &key, rows, 0, 0, moe->wire.row_bytes);
    arrival->results = ce_message_combine_rows(message);
    if (moe->combine == CE_COMBINE_PARTIAL) {
        arrival->results = (unsigned char *)*sums;
        *sums += arrival->view.assignments * moe->hidden;
    }
    return ce_message_combine_rows(message);
}

/* Sums results of one token, or blanks them all when this rank has failed. */
static void complete_results(struct flow *flow, int source, unsigned char *rows)
{
    struct ce_moe *moe = flow->moe;
    const struct ce_arrival *arrival = &moe->arrival[source];

    if (flow->mine != CE_OK) {
        memset(rows, 0, rows_back(moe, &arrival->view) * moe->wire.row_bytes);
    } else if (moe->combine == CE_COMBINE_PARTIAL) {
        ce_combine_reduce(&arrival->view,
                          (float *)(void *)arrival->results,
                          rows,
                          &moe->wire,
                          moe->first);
    }
}

/* Sources as they arrived, in the order of ranks: for one who adds what the experts
 * compute, and must not depend on timing. */
static void sort_sources(int *source, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const int rank = source[i];
        size_t at = i;

        for (; at > 0 && source[at - 1] > rank; at--) {
            source[at] = source[at - 1];
        }
        source[at] = rank;
    }
}

/* Runs the experts on the batch; its results leave. */
static enum ce_status run_batch(struct flow *flow, struct ce_error *err)
{
    struct ce_moe *moe = flow->moe;
    float *sums = moe->sums;
    enum ce_status status = CE_OK;

    moe->counters.batches++;
    if (moe->work.observer.see != NULL || moe->work.substitute.run != NULL) {
        sort_sources(moe->source, flow->batch);
    }
    for (size_t i = 0; i < flow->batch; i++) {
        moe->rows[i] = place_results(flow, moe->source[i], &sums);
    }
    if (flow->mine == CE_OK) {
        flow->mine = ce_experts_collect(
            &moe->work, flow->layer, moe->arrival, moe->source, flow->batch, flow->err);
    }
    if (flow->mine == CE_OK) {
        flow->mine = ce_experts_run(
            &moe->work, flow->layer, flow->key.layer, moe->auxiliary, flow->err);
    }
    for (size_t i = 0; status == CE_OK && i < flow->batch; i++) {
        int source = moe->source[i];

        complete_results(flow, source, moe->rows[i]);
        status = ce_exchange_send(
            moe->transport, CE_SLOT_COMBINE, source, moe->results.message[source], err);
        moe->answered[source] = 1;
    }
    return status;
}

/* After a failure that all know of: messages that only keep the exchange whole. */
static enum ce_status answer_the_rest(struct flow *flow, struct ce_error *err)
{
    struct ce_moe *moe = flow->moe;
    const struct ce_message_key key = combine_key(flow);
    const struct ce_error nothing = {.text = ""};
    enum ce_status status = CE_OK;

    ce_outbox_fail(
        &moe->results, (size_t)moe->transport->ranks, &key, CE_ERR_COMM, &nothing);
    for (int r = 0; status == CE_OK && r < moe->transport->ranks; r++) {
        if (!moe->answered[r]) {
            status = ce_exchange_send(
                moe->transport, CE_SLOT_COMBINE, r, moe->results.message[r], err);
        }
    }
    return status;
}

/* ---- results in ---- */

static enum ce_status read_results(const struct flow *flow, struct ce_error *err)
{
    struct ce_moe *moe = flow->moe;
    struct ce_transport *transport = moe->transport;
    const struct ce_message_key key = combine_key(flow);
    enum ce_status status = CE_OK;

    for (int r = 0; status == CE_OK && r < transport->ranks; r++) {
        const struct ce_bytes *message = &transport->slot[CE_SLOT_COMBINE].received[r];

        status = ce_message_check(message, &key, r, err);
        if (status == CE_OK) {
            status = ce_message_read_combine(
                message,
                ce_combine_rows(&moe->plan, moe->combine, (size_t)r),
                moe->wire.row_bytes,
                r,
                &moe->incoming[r],
                err);
        }
    }
    if (status != CE_OK) {
        ce_transport_fail(transport); /* nobody else has noticed */
    }
    return status;
}

/* ---- the whole ---- */

/* Bytes move while experts are run; what goes wrong there shows at the next wait. */
static void poll_transport(void *context)
{
    struct ce_moe *moe = context;

    if (moe->polled == CE_OK) {
        moe->polled = ce_exchange_poll(moe->transport, &moe->poll_error);
    }
}

static enum ce_status open_exchanges(struct ce_moe *moe, struct ce_error *err)
{
    enum ce_status status = ce_exchange_open(moe->transport, CE_SLOT_DISPATCH, err);

    if (status == CE_OK) {
        status = ce_exchange_open(moe->transport, CE_SLOT_COMBINE, err);
    }
    ce_outbox_clear(&moe->results);
    memset(moe->answered, 0, (size_t)moe->transport->ranks);
    moe->work.progress = poll_transport;
    moe->work.progress_context = moe;
    moe->affine.progress = poll_transport;
    moe->affine.progress_context = moe;
    moe->polled = CE_OK;
    return status;
}

/* Batch after batch until every source is served. */
static enum ce_status serve(struct flow *flow, uint64_t *since, struct ce_error *err)
{
    struct ce_moe *moe = flow->moe;
    enum ce_status status = CE_OK;

    for (bool last = false; status == CE_OK && !last;) {
        status = take_rows(flow, &last, err);
        end_stage(moe, CE_MOE_DISPATCH, since);
        if (status == CE_OK && flow->batch > 0 && !flow->peer_failed) {
            flow->mine =
                ce_transport_enter(moe->transport, "experts", flow->mine, flow->err);
            status = run_batch(flow, err);
        }
        if (moe->polled != CE_OK) { /* the cause of what may have failed since */
            *err = moe->poll_error;
            status = moe->polled;
        }
        end_stage(moe, CE_MOE_EXPERTS, since);
    }
    return status == CE_OK ? ce_exchange_finish(moe->transport, CE_SLOT_DISPATCH, err)
                           : status;
}

static enum ce_status collect_results(struct flow *flow,
                                      enum ce_status verdict,
                                      float *y,
                                      struct ce_error *err)
{
    struct ce_moe *moe = flow->moe;
    enum ce_status status = CE_OK;

    if (verdict != CE_OK) {
        status = answer_the_rest(flow, err);
    }
    if (status == CE_OK) {
        status = ce_exchange_finish(moe->transport, CE_SLOT_COMBINE, err);
    }
    if (status == CE_OK && verdict == CE_OK) {
        status = read_results(flow, err);
    }
    if (status == CE_OK && verdict == CE_OK) {
        ce_combine_sum(&moe->plan, moe->combine, moe->incoming, y, &moe->wire);
        if (moe->affine_experts > 0) {
            ce_affine_add(&moe->affine, y, moe->plan.tokens);
        }
    }
    return status;
}

/* What the caller gets when the transport itself has failed: this rank's own failure,
 * if it has one, is nearer to the cause. */
static enum ce_status end_broken(const struct flow *flow,
                                 enum ce_status status,
                                 const struct ce_error *broken)
{
    flow->moe->told = true;
    if (flow->mine != CE_OK) {
        return flow->mine;
    }
    *flow->err = *broken;
    return status;
}

enum ce_status ce_flow_run(struct ce_moe *moe,
                           const struct ce_layer_weights *layer,
                           struct ce_message_key key,
                           enum ce_status status,
                           const float *x,
                           float *y,
                           struct ce_error *err)
{
    struct flow flow = {
        .moe = moe, .layer = layer, .key = key, .x = x, .mine = status, .err = err};
    struct ce_error broken = {.text = ""};
    struct ce_error theirs = {.text = ""};
    enum ce_status verdict = CE_OK;
    uint64_t since = ce_clock_ns();

    flow.mine = ce_transport_enter(moe->transport, "dispatch", flow.mine, err);
    status = open_exchanges(moe, &broken);
    if (status == CE_OK) {
        status = send_rows(&flow, &broken);
    }
    end_stage(moe, CE_MOE_DISPATCH, &since);
    if (status == CE_OK) {
        run_affine(&flow);
        end_stage(moe, CE_MOE_AFFINE, &since);
        status = serve(&flow, &since, &broken);
    }
    if (status != CE_OK) {
        return end_broken(&flow, status, &broken);
    }
    verdict = find_verdict(&flow, &theirs);
    flow.mine = ce_transport_enter(moe->transport, "combine", flow.mine, err);
    status = collect_results(&flow, verdict, y, &broken);
    end_stage(moe, CE_MOE_COMBINE, &since);
    if (status != CE_OK) {
        return end_broken(&flow, status, &broken);
    }
    if (verdict != CE_OK) {
        moe->told = true;
        *err = theirs;
        return verdict;
    }
    return flow.mine;
}
