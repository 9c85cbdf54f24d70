/* test_transport.h - messages that know where they belong, and one rank's side of an
 * exchange of them
 */

#ifndef CE_TESTS_TRANSPORT_H
#define CE_TESTS_TRANSPORT_H

#include "comm/transport.h"
#include "ranks.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

static inline uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

static inline uint64_t message_key(uint64_t round, int from, int to)
{
    return mix(mix(round + 1) + (uint64_t)from * 65537 + (uint64_t)to);
}

/* The 8 bytes at `word` * 8 of the message with this key. */
static inline uint64_t pattern(uint64_t key, size_t word)
{
    return key + word * 0x9e3779b97f4a7c15U;
}

static inline void fill(unsigned char *data, size_t bytes, uint64_t key)
{
    for (size_t at = 0; at < bytes; at += 8) {
        uint64_t value = pattern(key, at / 8);
        memcpy(data + at, &value, bytes - at < 8 ? bytes - at : 8);
    }
}

static inline bool matches(struct ce_bytes message, uint64_t key)
{
    const unsigned char *data = message.data;

    for (size_t at = 0; at < message.bytes; at += 8) {
        uint64_t value = pattern(key, at / 8);
        size_t length = message.bytes - at < 8 ? message.bytes - at : 8;

        if (memcmp(data + at, &value, length) != 0) {
            return false;
        }
    }
    return true;
}

/* One rank's side of an exchange: how much goes from whom to whom. */
typedef size_t size_function(uint64_t round, int from, int to);

struct side {
    enum ce_slot slot;
    uint64_t round;
    size_function *size;
    struct ce_bytes *send;
};

static inline void start_side(struct side *side)
{
    const int ranks = transport->ranks;
    struct ce_error err = {.text = ""};

    side->send = calloc((size_t)ranks, sizeof(side->send[0]));
    assert_non_null(side->send);
    for (int to = 0; to < ranks; to++) {
        size_t bytes = side->size(side->round, transport->rank, to);
        unsigned char *data = malloc(bytes + 1);

        assert_non_null(data);
        fill(data, bytes, message_key(side->round, transport->rank, to));
        side->send[to] = (struct ce_bytes){data, bytes};
    }
    if (ce_exchange_start(transport, side->slot, side->send, &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
}

static inline void
check_message(const struct side *side, int from, struct ce_bytes message)
{
    const int to = transport->rank;

    assert_int_equal(message.bytes, side->size(side->round, from, to));
    assert_true(matches(message, message_key(side->round, from, to)));
    if (from == to) {
        assert_ptr_equal(message.data, side->send[to].data);
    } else {
        assert_int_equal((uintptr_t)message.data % 64, 0);
    }
}

static inline void finish_side(struct side *side)
{
    struct ce_error err = {.text = ""};

    if (ce_exchange_finish(transport, side->slot, &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
    for (int from = 0; from < transport->ranks; from++) {
        check_message(side, from, transport->slot[side->slot].received[from]);
    }
    for (int to = 0; to < transport->ranks; to++) {
        free((void *)(uintptr_t)side->send[to].data);
    }
    free(side->send);
}

static inline void exchange(uint64_t round, size_function *size)
{
    struct side side = {CE_SLOT_DISPATCH, round, size, NULL};

    start_side(&side);
    finish_side(&side);
}

#endif
