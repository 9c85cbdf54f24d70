/* ucx_box.c - messages between ranks of one host, written where they are read
 *
 *   sender of round n ── bytes, then the round ──► box[slot][n mod 2] of the
 *                                                  receiver's memory: received[p]
 *
 * Each rank has UCX allocate memory that others of its host can map, and gives
 * each of them two boxes a slot. A sender copies a message that fits into the
 * box whose turn it is and writes the round last; the receiver sees the round
 * and hands the box out as it is: one copy, no call of UCX.
 *
 * No box is written before it has been read: the sender of round n + 2 has
 * finished n + 1, for which it needed the receiver's message of n + 1, which
 * the receiver sent when its message of round n had ceased to be valid.
 *
 * That UCX cannot map a peer's memory is a normal answer. Then, and for larger
 * messages, active messages do it; either way the receiver looks for both.
 */

#include "comm/collective.h"
#include "comm/ucx.h"

#include <stdlib.h>
#include <string.h>
#include <ucp/api/ucp.h>

/* What a rank's boxes may take together: the memory is in use from the start, because
 * UCX makes sure of it. */
#define ALL_BOXES_BYTES ((size_t)1 << 30)
/* With less than this for all of them active messages do as well. */
#define LEAST_BYTES ((size_t)1 << 20)
#define TURNS       2
#define LINE        64

struct ucx_box {
    uint64_t round; /* written last, read first */
    uint64_t bytes;
    unsigned char unused[LINE - 2 * sizeof(uint64_t)];
    unsigned char data[];
};
_Static_assert(sizeof(struct ucx_box) == LINE, "data begins a cache line");

/* What a rank tells a peer of the boxes it may write to. */
struct offer {
    uint64_t address; /* of the first, in the receiver's memory */
    uint64_t capacity[CE_SLOT_COUNT];
    unsigned char key[];
};

/* Bytes of the boxes of one peer in the slots before `slot`. */
static size_t slot_offset(const size_t *capacity, int slot)
{
    size_t offset = 0;

    for (int i = 0; i < slot; i++) {
        offset += TURNS * (LINE + capacity[i]);
    }
    return offset;
}

static struct ucx_box *box_at(void *first, const size_t *capacity, int slot, int turn)
{
    size_t offset =
        slot_offset(capacity, slot) + (size_t)turn * (LINE + capacity[slot]);

    return (struct ucx_box *)(void *)((unsigned char *)first + offset);
}

/* ---- a message ---- */

static struct ucx_box *this_rounds_box(const struct ucx_link *link)
{
    return link->outbox[link->ucx->head.slot[link->slot].round & 1];
}

void *ucx_box_reserve(const struct ucx_link *link, size_t bytes)
{
    struct ucx_box *box = this_rounds_box(link);

    return box != NULL && bytes <= link->outbox_bytes ? box->data : NULL;
}

bool ucx_box_send(struct ucx_link *link, struct ce_bytes message)
{
    const uint64_t round = link->ucx->head.slot[link->slot].round;
    struct ucx_box *box = this_rounds_box(link);

    if (box == NULL || message.bytes > link->outbox_bytes) {
        return false;
    }
    if (message.bytes > 0 && message.data != box->data) {
        memcpy(box->data, message.data, message.bytes);
    }
    box->bytes = message.bytes;
    __atomic_store_n(&box->round, round, __ATOMIC_RELEASE);
    return true;
}

enum ucx_box_state ucx_box_look(const struct ucx_link *link, struct ce_bytes *message)
{
    const uint64_t now = link->ucx->head.slot[link->slot].round;
    const struct ucx_box *box = link->inbox[now & 1];

    if (box == NULL) {
        return UCX_BOX_EMPTY;
    }
    const uint64_t round = __atomic_load_n(&box->round, __ATOMIC_ACQUIRE);
    if (round < now) {
        return UCX_BOX_EMPTY;
    }
    if (round > now || box->bytes > link->inbox_bytes) {
        return UCX_BOX_BAD;
    }
    *message = (struct ce_bytes){box->data, box->bytes};
    return UCX_BOX_FULL;
}

/* ---- making the boxes ---- */

static size_t count_near(const struct ucx_transport *ucx)
{
    size_t near = 0;

    for (int peer = 0; peer < ucx->head.ranks; peer++) {
        near += ucx->endpoints[peer].is_near;
    }
    return near;
}

/* Room for the usual messages: of the slots in the order of their numbers, as long as
 * there is some. */
static size_t fit_boxes(size_t near,
                        size_t budget,
                        const struct ce_message_size *size,
                        size_t capacity[CE_SLOT_COUNT])
{
    size_t left = near > 0 ? budget / near / TURNS : 0;

    for (int i = 0; i < CE_SLOT_COUNT; i++) {
        capacity[i] = (size[i].usual + LINE - 1) / LINE * LINE;
        if (capacity[i] > left) {
            capacity[i] = left / LINE * LINE;
        }
        left -= capacity[i];
    }
    return near * slot_offset(capacity, CE_SLOT_COUNT);
}

size_t ucx_box_capacities(const struct ucx_transport *ucx,
                          const struct ce_message_size *size,
                          size_t capacity[CE_SLOT_COUNT])
{
    return fit_boxes(count_near(ucx), ALL_BOXES_BYTES, size, capacity);
}

/* Memory that peers can map; NULL when UCX has none. */
static unsigned char *allocate_boxes(struct ucx_transport *ucx, size_t bytes)
{
    const ucp_mem_map_params_t wanted = {
        .field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH |
                      UCP_MEM_MAP_PARAM_FIELD_FLAGS,
        .address = NULL,
        .length = bytes + LINE,
        .flags = UCP_MEM_MAP_ALLOCATE,
    };
    ucp_mem_attr_t got = {.field_mask = UCP_MEM_ATTR_FIELD_ADDRESS};

    if (ucp_mem_map(ucx->context, &wanted, &ucx->boxes) != UCS_OK) {
        ucx->boxes = NULL;
        return NULL;
    }
    if (ucp_mem_query(ucx->boxes, &got) != UCS_OK) {
        ucx_free_boxes(ucx);
        return NULL;
    }
    memset(got.address, 0, wanted.length);
    return (unsigned char *)got.address + (LINE - (uintptr_t)got.address % LINE) % LINE;
}

static void set_boxes(struct ucx_transport *ucx,
                      int peer,
                      void *first,
                      const size_t *capacity,
                      bool incoming)
{
    for (int i = 0; i < CE_SLOT_COUNT; i++) {
        struct ucx_link *link = &ucx->links[i][peer];
        struct ucx_box **box = incoming ? link->inbox : link->outbox;

        *(incoming ? &link->inbox_bytes : &link->outbox_bytes) = capacity[i];
        for (int turn = 0; turn < TURNS; turn++) {
            box[turn] = first != NULL ? box_at(first, capacity, i, turn) : NULL;
        }
    }
}

static enum ce_status offer_boxes(struct ucx_transport *ucx,
                                  unsigned char *first,
                                  const size_t *capacity,
                                  struct ce_bytes *offers,
                                  struct ce_error *err)
{
    enum ce_status status = CE_OK;
    void *key = NULL;
    size_t key_bytes = 0;

    if (ucp_rkey_pack(ucx->context, ucx->boxes, &key, &key_bytes) != UCS_OK) {
        return CE_OK;
    }
    for (int peer = 0; peer < ucx->head.ranks && status == CE_OK; peer++) {
        if (!ucx->endpoints[peer].is_near) {
            continue;
        }
        struct offer *offer = malloc(sizeof(*offer) + key_bytes);
        if (offer == NULL) {
            status = ce_fail(err, CE_ERR_NOMEM, "no memory for an offer of boxes");
            continue;
        }
        offer->address = (uintptr_t)first;
        for (int i = 0; i < CE_SLOT_COUNT; i++) {
            offer->capacity[i] = capacity[i];
        }
        memcpy(offer->key, key, key_bytes);
        offers[peer] = (struct ce_bytes){offer, sizeof(*offer) + key_bytes};
        set_boxes(ucx, peer, first, capacity, true);
        first += slot_offset(capacity, CE_SLOT_COUNT);
    }
    ucp_rkey_buffer_release(key);
    return status;
}

/* Fills offers[peer] for those that get boxes, as large as can be had; the caller frees
 * their data. */
static enum ce_status write_offers(struct ucx_transport *ucx,
                                   const struct ce_message_size *size,
                                   struct ce_bytes *offers,
                                   struct ce_error *err)
{
    const size_t near = count_near(ucx);
    size_t capacity[CE_SLOT_COUNT];
    size_t budget = ALL_BOXES_BYTES;
    unsigned char *first = NULL;

    while (near > 0 && first == NULL && budget >= LEAST_BYTES) {
        first = allocate_boxes(ucx, fit_boxes(near, budget, size, capacity));
        budget /= 2;
    }
    return first != NULL ? offer_boxes(ucx, first, capacity, offers, err) : CE_OK;
}

/* Maps the boxes a peer offers, if UCX can. */
static void take_offer(struct ucx_transport *ucx, int peer, struct ce_bytes message)
{
    struct ucx_endpoint *endpoint = &ucx->endpoints[peer];
    const struct offer *offer = message.data;
    size_t capacity[CE_SLOT_COUNT];
    void *first = NULL;

    if (endpoint->handle == NULL || message.bytes <= sizeof(*offer) ||
        ucp_ep_rkey_unpack(endpoint->handle, offer->key, &endpoint->key) != UCS_OK) {
        endpoint->key = NULL;
        return;
    }
    if (ucp_rkey_ptr(endpoint->key, offer->address, &first) != UCS_OK) {
        return;
    }
    for (int i = 0; i < CE_SLOT_COUNT; i++) {
        capacity[i] = offer->capacity[i];
    }
    set_boxes(ucx, peer, first, capacity, false);
}

/* Offers to all, then the boxes of those that offer some. */
static enum ce_status trade_offers(struct ucx_transport *ucx,
                                   const struct ce_bytes *offers,
                                   struct ce_error *err)
{
    struct ce_transport *mpi = ucx->bootstrap;
    enum ce_status status = ce_exchange_start(mpi, CE_SLOT_CONTROL, offers, err);

    if (status == CE_OK) {
        status = ce_exchange_finish(mpi, CE_SLOT_CONTROL, err);
    }
    for (int peer = 0; status == CE_OK && peer < mpi->ranks; peer++) {
        if (peer != mpi->rank) {
            take_offer(ucx, peer, mpi->slot[CE_SLOT_CONTROL].received[peer]);
        }
    }
    return status;
}

enum ce_status ucx_open_boxes(struct ucx_transport *ucx,
                              const struct ce_message_size *size,
                              struct ce_error *err)
{
    struct ce_transport *mpi = ucx->bootstrap;
    struct ce_bytes *offers = calloc((size_t)mpi->ranks, sizeof(offers[0]));
    enum ce_status status = CE_OK;

    ucx_forget_boxes(ucx);
    ucx_free_boxes(ucx);
    if (offers == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory for offers of boxes");
    } else {
        status = write_offers(ucx, size, offers, err);
    }
    status = ce_agree(mpi, status, err);
    if (status == CE_OK) {
        status = trade_offers(ucx, offers, err);
    }
    for (int peer = 0; offers != NULL && peer < mpi->ranks; peer++) {
        free((void *)(uintptr_t)offers[peer].data);
    }
    free(offers);
    return status;
}

void ucx_forget_boxes(struct ucx_transport *ucx)
{
    const size_t none[CE_SLOT_COUNT] = {0};

    for (int peer = 0; peer < ucx->head.ranks; peer++) {
        set_boxes(ucx, peer, NULL, none, true);
        set_boxes(ucx, peer, NULL, none, false);
        if (ucx->endpoints[peer].key != NULL) {
            ucp_rkey_destroy(ucx->endpoints[peer].key);
            ucx->endpoints[peer].key = NULL;
        }
    }
}

void ucx_free_boxes(struct ucx_transport *ucx)
{
    if (ucx->boxes != NULL) {
        (void)ucp_mem_unmap(ucx->context, ucx->boxes);
        ucx->boxes = NULL;
    }
}
