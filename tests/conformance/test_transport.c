/* test_transport.c - what every transport must do, on the one the environment gives
 *
 * ranks.h says how. CE_TEST_LARGE=1 adds a message that no int can count (needs 3 GiB).
 */

#include "test_transport.h"

#include "comm/collective.h"
#include "comm/hello.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* ---- sizes ---- */

/* Around the limits of cache lines, pages and MPI's eager messages. */
static const size_t edges[] = {
    0, 1, 7, 63, 64, 65, 4031, 4095, 4096, 4097, 65535, 65536, 65537, (1 << 20) + 3};

static size_t edge_size(uint64_t round, int from, int to)
{
    (void)from, (void)to;
    return edges[round];
}

static void all_sizes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
        exchange(i, edge_size);
    }
}

static size_t large_to_next(uint64_t round, int from, int to)
{
    (void)round;
    return to == (from + 1) % transport->ranks ? (size_t)64 << 20 : 0;
}

static void large_messages_around_a_ring(void **state)
{
    (void)state;
    exchange(0, large_to_next);
}

static size_t ragged_size(uint64_t round, int from, int to)
{
    return message_key(round + 1000, from, to) % 20000;
}

static void ragged_sizes(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 50; round++) {
        exchange(round, ragged_size);
    }
}

static size_t silent_size(uint64_t round, int from, int to)
{
    return from == (int)round ? 0 : ragged_size(round, from, to);
}

static void rank_that_sends_nothing(void **state)
{
    (void)state;
    for (int silent = 0; silent < transport->ranks; silent++) {
        exchange((uint64_t)silent, silent_size);
    }
}

static size_t deaf_size(uint64_t round, int from, int to)
{
    return to == (int)round ? 0 : ragged_size(round, from, to);
}

static void rank_that_receives_nothing(void **state)
{
    (void)state;
    for (int deaf = 0; deaf < transport->ranks; deaf++) {
        exchange((uint64_t)deaf, deaf_size);
    }
}

static void message_beyond_an_int(void **state)
{
    (void)state;
    const size_t bytes = (size_t)INT_MAX + (3 << 20) + 5;
    const bool sends = transport->rank == transport->ranks - 1;
    struct ce_error err = {.text = ""};

    if (getenv("CE_TEST_LARGE") == NULL) {
        return;
    }
    struct ce_bytes *send = calloc((size_t)transport->ranks, sizeof(send[0]));
    unsigned char *data = MAP_FAILED;
    if (sends) {
        data = mmap(
            NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(data != MAP_FAILED);
        data[0] = 1, data[(size_t)INT_MAX + 1] = 2, data[bytes - 1] = 3;
        send[0] = (struct ce_bytes){data, bytes};
    }
    if (ce_exchange_start(transport, CE_SLOT_DISPATCH, send, &err) != CE_OK ||
        ce_exchange_finish(transport, CE_SLOT_DISPATCH, &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
    if (transport->rank == 0) {
        struct ce_bytes message =
            transport->slot[CE_SLOT_DISPATCH].received[transport->ranks - 1];
        const unsigned char *got = message.data;

        assert_int_equal(message.bytes, bytes);
        assert_int_equal(got[0], 1);
        assert_int_equal(got[(size_t)INT_MAX + 1], 2);
        assert_int_equal(got[bytes - 1], 3);
    }
    if (sends) {
        munmap(data, bytes);
    }
    free(send);
}

/* ---- rounds, order and overlap ---- */

static size_t small_size(uint64_t round, int from, int to)
{
    return message_key(round, to, from) % 65;
}

static void many_small_rounds(void **state)
{
    (void)state;
    const uint64_t before = transport->slot[CE_SLOT_DISPATCH].round;

    for (uint64_t round = 0; round < 1000; round++) {
        exchange(round, small_size);
    }
    assert_int_equal(transport->slot[CE_SLOT_DISPATCH].round, before + 1000);
}

static void take_all_with_next(struct side *side)
{
    struct ce_error err = {.text = ""};
    uint64_t seen = 0;

    for (int i = 0; i <= transport->ranks; i++) {
        struct ce_bytes message;
        int source;

        if (ce_exchange_next(transport, side->slot, &source, &message, &err) != CE_OK) {
            fail_msg("%s", err.text);
        }
        if (i == transport->ranks) {
            assert_int_equal(source, -1);
            break;
        }
        assert_true(i > 0 || source == transport->rank);
        assert_false(seen >> source & 1);
        seen |= (uint64_t)1 << source;
        check_message(side, source, message);
    }
}

static void next_returns_each_source_once(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 100; round++) {
        struct side side = {CE_SLOT_COMBINE, round, ragged_size, NULL};

        start_side(&side);
        take_all_with_next(&side);
        finish_side(&side);
    }
}

static void sleep_ms(long ms)
{
    struct timespec time = {0, ms * 1000000};

    (void)nanosleep(&time, NULL);
}

/* While one rank dawdles the others are a round ahead: what they sent for the
 * next round must not be taken for this one. */
static void fast_peers_do_not_overtake(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 20; round++) {
        struct side side = {CE_SLOT_DISPATCH, round, small_size, NULL};

        start_side(&side);
        if ((int)(round % 5) == transport->rank) {
            sleep_ms(5);
        }
        finish_side(&side);
    }
}

static size_t overlap_size(uint64_t round, int from, int to)
{
    return 200000 + ragged_size(round, from, to);
}

/* Even and odd ranks finish the two slots in opposite order, with messages too
 * large to leave before the receiver has asked for them. */
static void two_slots_in_flight(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 20; round++) {
        struct side dispatch = {CE_SLOT_DISPATCH, round, overlap_size, NULL};
        struct side combine = {CE_SLOT_COMBINE, round + 100, overlap_size, NULL};

        start_side(&dispatch);
        start_side(&combine);
        finish_side(transport->rank % 2 == 0 ? &combine : &dispatch);
        finish_side(transport->rank % 2 == 0 ? &dispatch : &combine);
    }
}

static void messages_stay_until_the_next_start(void **state)
{
    (void)state;
    struct side side = {CE_SLOT_COMBINE, 7, ragged_size, NULL};
    const int from = (transport->rank + 1) % transport->ranks;

    exchange(0, ragged_size);
    const struct ce_bytes kept = transport->slot[CE_SLOT_DISPATCH].received[from];
    start_side(&side);
    finish_side(&side);
    if (from != transport->rank) {
        assert_true(matches(kept, message_key(0, from, transport->rank)));
    }
}

/* ---- collectives ---- */

static void check_all(const struct ce_bytes *all, uint64_t round)
{
    for (int from = 0; from < transport->ranks; from++) {
        assert_int_equal(all[from].bytes, 5 * (size_t)from);
        assert_true(matches(all[from], message_key(round, from, 0)));
    }
}

static void gather_and_broadcast(void **state)
{
    (void)state;
    unsigned char data[1024];
    const struct ce_bytes mine = {data, 5 * (size_t)transport->rank};
    const struct ce_bytes *all;
    struct ce_bytes out;

    for (uint64_t round = 0; round < 10; round++) {
        fill(data, mine.bytes, message_key(round, transport->rank, 0));
        assert_int_equal(ce_allgather(transport, mine, &all, NULL), CE_OK);
        check_all(all, round);
        assert_int_equal(ce_gather(transport, mine, &all, NULL), CE_OK);
        if (transport->rank == 0) {
            check_all(all, round);
        } else {
            assert_null(all);
        }
        fill(data, sizeof(data), message_key(round, transport->rank, 1));
        struct ce_bytes whole = {data, sizeof(data)};
        assert_int_equal(ce_broadcast(transport, whole, &out, NULL), CE_OK);
        assert_int_equal(out.bytes, sizeof(data));
        assert_true(matches(out, message_key(round, 0, 1)));
    }
}

static void agree_with(bool fails, enum ce_status expected, int culprit)
{
    struct ce_error err = {.rank = -1};
    char text[64];

    (void)snprintf(err.text, sizeof(err.text), "trouble on rank %d", transport->rank);
    enum ce_status mine = fails ? CE_ERR_NUMERIC : CE_OK;
    assert_int_equal(ce_agree(transport, mine, &err), expected);
    if (expected != CE_OK) {
        (void)snprintf(text, sizeof(text), "trouble on rank %d", culprit);
        assert_string_equal(err.text, text);
        assert_int_equal(err.rank, culprit);
    }
}

static void agreement(void **state)
{
    (void)state;
    agree_with(false, CE_OK, 0);
    for (int culprit = 0; culprit < transport->ranks; culprit++) {
        agree_with(transport->rank == culprit, CE_ERR_NUMERIC, culprit);
        agree_with(transport->rank >= culprit, CE_ERR_NUMERIC, culprit);
        agree_with(false, CE_OK, 0);
    }
}

/* The last rank sends nonsense where the others expect a status or a hello. */
static void malformed_peer(void **state)
{
    (void)state;
    const int last = transport->ranks - 1;
    const struct ce_bytes nonsense = {"\xff\xff\xff\xff\xff\xff\xff\xff\xff", 9};
    const struct ce_hello hello = {"0", "", 0, 0, 1, "host", 1};
    const struct ce_bytes *all;
    struct ce_error err = {.text = ""};
    char summary[100];
    int isa;

    if (last == 0) {
        return;
    }
    if (transport->rank == last) {
        assert_int_equal(ce_allgather(transport, nonsense, &all, &err), CE_OK);
        assert_int_equal(ce_allgather(transport, nonsense, &all, &err), CE_OK);
        return;
    }
    assert_int_equal(ce_agree(transport, CE_OK, &err), CE_ERR_COMM);
    assert_int_equal(err.rank, last);
    assert_int_equal(
        ce_hello_exchange(transport, &hello, &isa, summary, sizeof(summary), &err),
        CE_ERR_COMM);
    assert_non_null(strstr(err.text, "no hello that can be read"));
}

static void hello(void **state)
{
    (void)state;
    struct ce_hello mine = {
        "0.1.0", "wire=f32\n", 42, transport->rank + 3, 2, "here", 1};
    struct ce_error err = {.text = ""};
    char summary[100];
    char expected[100];
    int isa = -1;

    assert_int_equal(
        ce_hello_exchange(transport, &mine, &isa, summary, sizeof(summary), &err),
        CE_OK);
    assert_int_equal(isa, 3);
    assert_non_null(strstr(summary, "here 0"));
    if (transport->ranks == 1) {
        return;
    }
    if (transport->rank == 1) {
        mine.version = "0.1.1";
    }
    (void)snprintf(expected,
                   sizeof(expected),
                   "rank 1 (here) runs version 0.1.1, rank 0 (here) runs 0.1.0");
    assert_int_equal(
        ce_hello_exchange(transport, &mine, &isa, summary, sizeof(summary), &err),
        CE_ERR_MISMATCH);
    assert_string_equal(err.text, expected);
}

/* ---- messages sent one by one ---- */

/* Writes the message for `to` where the transport wants it, if anywhere. */
static struct ce_bytes write_message(uint64_t round, int to, unsigned char *own)
{
    const size_t bytes = ragged_size(round, transport->rank, to);
    unsigned char *data = ce_exchange_reserve(transport, CE_SLOT_COMBINE, to, bytes);

    if (data == NULL) {
        data = own;
    }
    assert_int_equal((uintptr_t)data % 64, 0);
    fill(data, bytes, message_key(round, transport->rank, to));
    return (struct ce_bytes){data, bytes};
}

/* As in a layer: each peer is answered when its message has come, while others have
 * not sent theirs; the answers lie in reserved memory where there is some. */
static void answers_leave_one_by_one(void **state)
{
    (void)state;
    unsigned char *own = aligned_alloc(64, (size_t)transport->ranks * 20032);

    assert_non_null(own);
    for (uint64_t round = 0; round < 40; round++) {
        struct side asked = {CE_SLOT_DISPATCH, round, ragged_size, NULL};
        int source = 0;

        assert_int_equal(ce_exchange_open(transport, CE_SLOT_COMBINE, NULL), CE_OK);
        start_side(&asked);
        for (int i = 0; i < transport->ranks; i++) {
            struct ce_bytes message;

            assert_int_equal(
                ce_exchange_next(transport, CE_SLOT_DISPATCH, &source, &message, NULL),
                CE_OK);
            check_message(&asked, source, message);
            message = write_message(round, source, own + (size_t)source * 20032);
            assert_int_equal(ce_exchange_poll(transport, NULL), CE_OK);
            assert_int_equal(
                ce_exchange_send(transport, CE_SLOT_COMBINE, source, message, NULL),
                CE_OK);
        }
        assert_int_equal(ce_exchange_finish(transport, CE_SLOT_COMBINE, NULL), CE_OK);
        for (int from = 0; from < transport->ranks; from++) {
            struct ce_bytes message = transport->slot[CE_SLOT_COMBINE].received[from];

            assert_int_equal(message.bytes, ragged_size(round, from, transport->rank));
            assert_true(matches(message, message_key(round, from, transport->rank)));
        }
        finish_side(&asked);
    }
    free(own);
}

/* Memory of new sizes: for none of the messages, for some, for all. */
static void prepared_for_any_size(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 4096, 1 << 20};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const struct ce_message_size bytes[CE_SLOT_COUNT] = {
            {sizes[i], sizes[i]}, {sizes[i] / 2, sizes[i]}, {64, 64}};
        struct ce_error err = {.text = ""};

        if (ce_transport_prepare(transport, bytes, &err) != CE_OK) {
            fail_msg("%s", err.text);
        }
        assert_true(sizes[i] == 0 || transport->ranks == 1 ||
                    ce_transport_receive_bytes(transport, bytes) >=
                        2 * sizes[i] * (size_t)(transport->ranks - 1));
        all_sizes(NULL);
        answers_leave_one_by_one(NULL);
        assert_int_equal(ce_agree(transport, CE_OK, NULL), CE_OK);
    }
}

/* ---- accounts ---- */

/* What r says to have sent to us is what we received from r, and the reverse. */
static void traffic_is_the_same_on_both_sides(void **state)
{
    (void)state;
    const size_t ranks = (size_t)transport->ranks;
    const size_t me = (size_t)transport->rank;
    struct ce_link_traffic *mine = calloc(ranks, sizeof(mine[0]));
    const struct ce_bytes *all;

    assert_non_null(mine);
    memcpy(mine, transport->slot[CE_SLOT_DISPATCH].link, ranks * sizeof(mine[0]));
    struct ce_bytes message = {mine, ranks * sizeof(mine[0])};
    assert_int_equal(ce_allgather(transport, message, &all, NULL), CE_OK);
    for (size_t peer = 0; peer < ranks; peer++) {
        const struct ce_link_traffic *theirs = all[peer].data;

        assert_int_equal(all[peer].bytes, message.bytes);
        assert_true(mine[peer].sent_messages > 0);
        assert_true(mine[peer].sent_bytes > 0);
        assert_int_equal(mine[peer].sent_messages, theirs[me].received_messages);
        assert_int_equal(mine[peer].sent_bytes, theirs[me].received_bytes);
        assert_int_equal(mine[peer].received_messages, theirs[me].sent_messages);
        assert_int_equal(mine[peer].received_bytes, theirs[me].sent_bytes);
    }
    free(mine);
}

static int run_suite(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_sizes),
        cmocka_unit_test(large_messages_around_a_ring),
        cmocka_unit_test(ragged_sizes),
        cmocka_unit_test(rank_that_sends_nothing),
        cmocka_unit_test(rank_that_receives_nothing),
        cmocka_unit_test(message_beyond_an_int),
        cmocka_unit_test(many_small_rounds),
        cmocka_unit_test(next_returns_each_source_once),
        cmocka_unit_test(fast_peers_do_not_overtake),
        cmocka_unit_test(two_slots_in_flight),
        cmocka_unit_test(messages_stay_until_the_next_start),
        cmocka_unit_test(gather_and_broadcast),
        cmocka_unit_test(agreement),
        cmocka_unit_test(malformed_peer),
        cmocka_unit_test(hello),
        cmocka_unit_test(answers_leave_one_by_one),
        cmocka_unit_test(prepared_for_any_size),
        cmocka_unit_test(traffic_is_the_same_on_both_sides),
    };

    return cmocka_run_group_tests_name("transport", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return run_on_ranks(run_suite);
}
