/* ucx_prepare.c - memory of the ucx transport to receive messages of known sizes */

#include "comm/collective.h"
#include "comm/ucx.h"

/* Messages that no box of their host holds need a landing. */
static size_t landing_bytes(const struct ucx_transport *ucx,
                            int peer,
                            enum ce_slot slot,
                            const struct ce_message_size *size,
                            const size_t *capacity)
{
    const bool boxed =
        ucx->endpoints[peer].is_near && size[slot].largest <= capacity[slot];

    return peer == ucx->head.rank || boxed ? 0 : size[slot].largest;
}

size_t ucx_receive_bytes(const struct ce_transport *t,
                         const struct ce_message_size *size)
{
    const struct ucx_transport *ucx = (const struct ucx_transport *)t;
    size_t capacity[CE_SLOT_COUNT];
    size_t sum = ucx_box_capacities(ucx, size, capacity);

    for (int i = 0; i < CE_SLOT_COUNT; i++) {
        for (int peer = 0; peer < t->ranks; peer++) {
            sum += landing_bytes(ucx, peer, (enum ce_slot)i, size, capacity);
        }
    }
    return sum;
}

/* Boxes of the new sizes; nobody sends until all have met with theirs. */
enum ce_status ucx_prepare(struct ce_transport *t,
                           const struct ce_message_size *size,
                           struct ce_error *err)
{
    struct ucx_transport *ucx = (struct ucx_transport *)t;
    size_t capacity[CE_SLOT_COUNT];
    bool complete = true;
    enum ce_status status = ucx_meet(ucx, err);

    (void)ucx_box_capacities(ucx, size, capacity);
    for (int i = 0; i < CE_SLOT_COUNT; i++) {
        for (int peer = 0; peer < t->ranks; peer++) {
            complete = complete &&
                       ce_landing_prepare(
                           &ucx->links[i][peer].landing,
                           landing_bytes(ucx, peer, (enum ce_slot)i, size, capacity));
        }
    }
    if (status == CE_OK && !complete) {
        status = ce_fail(
            err, CE_ERR_NOMEM, "rank %d: no memory to receive messages", t->rank);
    }
    status = ce_agree(ucx->bootstrap, status, err);
    if (status == CE_OK) {
        status = ucx_open_boxes(ucx, size, err);
    }
    t->failed = t->failed || ucx->bootstrap->failed;
    return status;
}
