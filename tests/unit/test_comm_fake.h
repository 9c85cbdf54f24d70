/* test_comm_fake.h - a transport whose peers follow a script
 *
 * One process plays rank `rank` of `ranks`; what the others send, and at which
 * bout of progress it arrives, is set before an exchange starts.
 */

#ifndef CE_TESTS_COMM_FAKE_H
#define CE_TESTS_COMM_FAKE_H

#include "comm/backend.h"
#include "test.h"

#include <string.h>

#define FAKE_RANKS 16
#define FAKE_NEVER (-1)

struct fake_peer {
    struct ce_bytes message;
    int arrives; /* bout of progress since the opening, from 1 */
    int takes;   /* bout at which our message for it is sent */
};

struct fake_transport {
    struct ce_transport head;
    struct fake_peer peer[CE_SLOT_COUNT][FAKE_RANKS];
    int bouts[CE_SLOT_COUNT];
    enum ce_status open_status;
    enum ce_status progress_status;
    unsigned char last_sent[4096]; /* what was sent last to the last rank */
    size_t last_sent_bytes;
};

static inline enum ce_status
fake_open(struct ce_transport *t, enum ce_slot slot, struct ce_error *err)
{
    struct fake_transport *fake = (struct fake_transport *)t;

    if (fake->open_status != CE_OK) {
        return ce_fail(err, fake->open_status, "scripted failure of open");
    }
    fake->bouts[slot] = 0;
    return CE_OK;
}

static inline enum ce_status fake_send(struct ce_transport *t,
                                       enum ce_slot slot,
                                       int peer,
                                       struct ce_bytes message,
                                       struct ce_error *err)
{
    struct fake_transport *fake = (struct fake_transport *)t;

    (void)slot, (void)err;
    if (peer != t->ranks - 1) {
        return CE_OK;
    }
    assert_true(message.bytes <= sizeof(fake->last_sent));
    if (message.bytes > 0) {
        memcpy(fake->last_sent, message.data, message.bytes);
    }
    fake->last_sent_bytes = message.bytes;
    return CE_OK;
}

static inline enum ce_status
fake_progress(struct ce_transport *t, enum ce_slot slot, struct ce_error *err)
{
    struct fake_transport *fake = (struct fake_transport *)t;
    const int bout = ++fake->bouts[slot];
    enum ce_status status = CE_AGAIN;

    if (fake->progress_status != CE_OK) {
        return ce_fail(err, fake->progress_status, "scripted failure of progress");
    }
    for (int r = 0; r < t->ranks; r++) {
        const struct fake_peer *peer = &fake->peer[slot][r];

        if (r != t->rank && peer->arrives == bout) {
            ce_exchange_arrived(t, slot, r, peer->message);
            status = CE_OK;
        }
        if (r != t->rank && peer->takes == bout) {
            ce_exchange_sent(t, slot, r);
            status = CE_OK;
        }
    }
    return status;
}

static const struct ce_transport_ops fake_ops = {
    .name = "fake",
    .open = fake_open,
    .send = fake_send,
    .progress = fake_progress,
};

/* All peers send 0 bytes and take theirs at the first bout. */
static inline struct ce_transport *
fake_init(struct fake_transport *fake, int rank, int ranks, uint64_t deadline_ms)
{
    struct ce_error err;

    memset(fake, 0, sizeof(*fake));
    assert_int_equal(ce_transport_init(&fake->head, &fake_ops, rank, ranks, &err),
                     CE_OK);
    fake->head.deadline_ms = deadline_ms;
    for (int slot = 0; slot < CE_SLOT_COUNT; slot++) {
        for (int r = 0; r < FAKE_RANKS; r++) {
            fake->peer[slot][r].arrives = 1;
            fake->peer[slot][r].takes = 1;
        }
    }
    return &fake->head;
}

static inline void fake_fini(struct fake_transport *fake)
{
    ce_transport_fini(&fake->head);
}

#endif
