#include "base/clock.h"
#include "comm/transport.h"
#include "test.h"
#include "test_comm_fake.h"

#include <string.h>

static const struct ce_bytes no_messages[FAKE_RANKS];

static void next_is_own_first_then_as_they_arrive(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 2, 4, 0);
    struct ce_bytes send[4] = {{NULL, 0}, {NULL, 0}, {"own", 3}, {NULL, 0}};
    const int expected[] = {2, 3, 0, 1, -1, -1};
    struct ce_bytes message;
    int source;

    fake.peer[CE_SLOT_COMBINE][3] = (struct fake_peer){{"three", 5}, 1, 1};
    fake.peer[CE_SLOT_COMBINE][1].arrives = 4;
    fake.peer[CE_SLOT_COMBINE][0].arrives = 4;
    assert_int_equal(ce_exchange_start(t, CE_SLOT_COMBINE, send, NULL), CE_OK);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_int_equal(ce_exchange_next(t, CE_SLOT_COMBINE, &source, &message, NULL),
                         CE_OK);
        assert_int_equal(source, expected[i]);
        if (source == 2) {
            assert_ptr_equal(message.data, send[2].data);
        }
        assert_int_equal(message.bytes, source == 2 ? 3 : source == 3 ? 5 : 0);
    }
    assert_true(t->slot[CE_SLOT_COMBINE].active);
    assert_int_equal(ce_exchange_finish(t, CE_SLOT_COMBINE, NULL), CE_OK);
    assert_false(t->slot[CE_SLOT_COMBINE].active);
    fake_fini(&fake);
}

static void finish_waits_for_the_sends_too(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 0, 3, 0);

    fake.peer[CE_SLOT_DISPATCH][1].takes = 7;
    assert_int_equal(ce_exchange_start(t, CE_SLOT_DISPATCH, no_messages, NULL), CE_OK);
    assert_int_equal(ce_exchange_finish(t, CE_SLOT_DISPATCH, NULL), CE_OK);
    assert_int_equal(fake.bouts[CE_SLOT_DISPATCH], 7);
    assert_true(t->slot[CE_SLOT_DISPATCH].exposed_ns > 0);
    assert_int_equal(t->slot[CE_SLOT_DISPATCH].link[1].wait_ns,
                     t->slot[CE_SLOT_DISPATCH].exposed_ns);
    fake_fini(&fake);
}

static void traffic_counts_the_own_message(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 1, 2, 0);
    struct ce_bytes send[2] = {{"abc", 3}, {"defgh", 5}};

    const struct ce_link_traffic *link = t->slot[CE_SLOT_DISPATCH].link;

    fake.peer[CE_SLOT_DISPATCH][0].message = (struct ce_bytes){"1234567", 7};
    for (int round = 1; round <= 2; round++) {
        assert_int_equal(ce_exchange_start(t, CE_SLOT_DISPATCH, send, NULL), CE_OK);
        assert_int_equal(ce_exchange_finish(t, CE_SLOT_DISPATCH, NULL), CE_OK);
        assert_int_equal(link[0].sent_bytes, 3 * round);
        assert_int_equal(link[1].sent_bytes, 5 * round);
        assert_int_equal(link[0].received_bytes, 7 * round);
        assert_int_equal(link[1].received_bytes, 5 * round);
        assert_int_equal(link[0].sent_messages, round);
        assert_int_equal(link[1].received_messages, round);
    }
    fake_fini(&fake);
}

static void timeout_names_whom_it_waits_for(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 0, 5, 20);
    struct ce_error err = {.rank = -1};

    assert_int_equal(ce_exchange_start(t, CE_SLOT_DISPATCH, no_messages, &err), CE_OK);
    assert_int_equal(ce_exchange_finish(t, CE_SLOT_DISPATCH, &err), CE_OK);
    fake.peer[CE_SLOT_DISPATCH][2].arrives = FAKE_NEVER;
    assert_int_equal(ce_exchange_start(t, CE_SLOT_DISPATCH, no_messages, &err), CE_OK);
    assert_int_equal(ce_exchange_finish(t, CE_SLOT_DISPATCH, &err), CE_ERR_TIMEOUT);
    assert_string_equal(err.text,
                        "rank 0: dispatch round 2: no message after 20 ms from rank 2 "
                        "(of 5, 4 here); sends not done: none");
    assert_int_equal(err.rank, 0);
    assert_true(t->failed);
    fake_fini(&fake);
}

static void timeout_says_what_the_rank_was_doing(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 1, 3, 1);
    struct ce_error err = {.rank = -1};

    t->activity = (struct ce_activity){.step = 7, .layer = 3, .stage = "experts"};
    fake.peer[CE_SLOT_DISPATCH][0].arrives = FAKE_NEVER;
    assert_int_equal(ce_exchange_start(t, CE_SLOT_DISPATCH, no_messages, &err), CE_OK);
    assert_int_equal(ce_exchange_finish(t, CE_SLOT_DISPATCH, &err), CE_ERR_TIMEOUT);
    assert_string_equal(
        err.text,
        "rank 1: step 7, layer 3, stage experts: dispatch round 1: no "
        "message after 1 ms from rank 0 (of 3, 2 here); sends not done: "
        "none");
    fake_fini(&fake);
}

static void timeout_names_many_ranks_and_sends(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 3, 16, 1);
    struct ce_error err = {.rank = -1};

    for (int r = 0; r < 16; r++) {
        fake.peer[CE_SLOT_CONTROL][r].arrives = r < 2 ? 1 : FAKE_NEVER;
        fake.peer[CE_SLOT_CONTROL][r].takes = r < 14 ? 1 : FAKE_NEVER;
    }
    assert_int_equal(ce_exchange_start(t, CE_SLOT_CONTROL, no_messages, &err), CE_OK);
    assert_int_equal(ce_exchange_finish(t, CE_SLOT_CONTROL, &err), CE_ERR_TIMEOUT);
    assert_string_equal(
        err.text,
        "rank 3: control round 1: no message after 1 ms from ranks 2, "
        "4, 5, 6, 7, 8, 9, 10 and 5 more (of 16, 3 here); sends not done: "
        "ranks 14, 15");
    fake_fini(&fake);
}

static void timeout_of_sends_alone_says_so(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 0, 3, 1);
    struct ce_error err = {.rank = -1};

    fake.peer[CE_SLOT_COMBINE][2].takes = FAKE_NEVER;
    assert_int_equal(ce_exchange_start(t, CE_SLOT_COMBINE, no_messages, &err), CE_OK);
    assert_int_equal(ce_exchange_finish(t, CE_SLOT_COMBINE, &err), CE_ERR_TIMEOUT);
    assert_string_equal(
        err.text,
        "rank 0: combine round 1: all messages are here, but after 1 ms "
        "sends not done: rank 2 (of 3)");
    fake_fini(&fake);
}

/* An exchange that only waits to be finished is no progress: were it taken for
 * some, a wait on another slot would never see its deadline. */
static void complete_neighbour_does_not_stop_the_clock(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 0, 2, 5);
    struct ce_bytes message;
    int source;

    fake.peer[CE_SLOT_COMBINE][1].arrives = FAKE_NEVER;
    assert_int_equal(ce_exchange_start(t, CE_SLOT_DISPATCH, no_messages, NULL), CE_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ce_exchange_next(t, CE_SLOT_DISPATCH, &source, &message, NULL),
                         CE_OK);
    }
    assert_int_equal(ce_exchange_start(t, CE_SLOT_COMBINE, no_messages, NULL), CE_OK);
    assert_int_equal(ce_exchange_finish(t, CE_SLOT_COMBINE, NULL), CE_ERR_TIMEOUT);
    fake_fini(&fake);
}

static void waiting_moves_the_other_slots(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 0, 2, 0);

    fake.peer[CE_SLOT_DISPATCH][1].arrives = 3;
    fake.peer[CE_SLOT_COMBINE][1].arrives = 9;
    assert_int_equal(ce_exchange_start(t, CE_SLOT_DISPATCH, no_messages, NULL), CE_OK);
    assert_int_equal(ce_exchange_start(t, CE_SLOT_COMBINE, no_messages, NULL), CE_OK);
    assert_int_equal(ce_exchange_finish(t, CE_SLOT_COMBINE, NULL), CE_OK);
    assert_int_equal(t->slot[CE_SLOT_DISPATCH].to_arrive, 0);
    assert_int_equal(ce_exchange_finish(t, CE_SLOT_DISPATCH, NULL), CE_OK);
    fake_fini(&fake);
}

static void errors_of_the_back_end_kill_the_transport(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 1, 2, 0);
    struct ce_error err = {.rank = -1};

    assert_int_equal(ce_exchange_start(t, CE_SLOT_DISPATCH, no_messages, &err), CE_OK);
    fake.progress_status = CE_ERR_COMM;
    assert_int_equal(ce_exchange_finish(t, CE_SLOT_DISPATCH, &err), CE_ERR_COMM);
    assert_string_equal(err.text, "scripted failure of progress");
    assert_int_equal(err.rank, 1);
    assert_true(t->failed);
    assert_int_equal(ce_exchange_start(t, CE_SLOT_COMBINE, no_messages, &err),
                     CE_ERR_COMM);
    assert_string_equal(err.text, "rank 1: combine: the transport has failed before");
    fake_fini(&fake);
}

static void failed_open_kills_the_transport(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 0, 2, 0);
    struct ce_error err = {.rank = -1};

    fake.open_status = CE_ERR_COMM;
    assert_int_equal(ce_exchange_start(t, CE_SLOT_DISPATCH, no_messages, &err),
                     CE_ERR_COMM);
    assert_true(t->failed);
    assert_int_equal(t->slot[CE_SLOT_DISPATCH].link[1].sent_messages, 0);
    fake_fini(&fake);
}

static const struct ce_bytes empty = {NULL, 0};

/* As the layers do: results leave one by one while messages still arrive. */
static void messages_may_be_sent_one_by_one(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 1, 3, 0);
    const struct ce_bytes mine = {"mine", 4};
    struct ce_bytes message;
    int source;

    assert_int_equal(ce_exchange_open(t, CE_SLOT_COMBINE, NULL), CE_OK);
    assert_false(ce_exchange_has_next(t, CE_SLOT_COMBINE));
    assert_int_equal(ce_exchange_poll(t, NULL), CE_OK);
    assert_true(ce_exchange_has_next(t, CE_SLOT_COMBINE));
    assert_int_equal(ce_exchange_next(t, CE_SLOT_COMBINE, &source, &message, NULL),
                     CE_OK);
    assert_int_equal(source, 0); /* the own one has not been sent yet */
    assert_int_equal(ce_exchange_send(t, CE_SLOT_COMBINE, 1, mine, NULL), CE_OK);
    assert_int_equal(ce_exchange_next(t, CE_SLOT_COMBINE, &source, &message, NULL),
                     CE_OK);
    assert_int_equal(source, 1);
    assert_int_equal(ce_exchange_send(t, CE_SLOT_COMBINE, 0, empty, NULL), CE_OK);
    assert_int_equal(ce_exchange_send(t, CE_SLOT_COMBINE, 2, mine, NULL), CE_OK);
    assert_int_equal(fake.last_sent_bytes, 4);
    assert_int_equal(ce_exchange_finish(t, CE_SLOT_COMBINE, NULL), CE_OK);
    assert_null(ce_exchange_reserve(t, CE_SLOT_COMBINE, 0, 1));
    fake_fini(&fake);
}

static void finish_wants_all_to_be_sent(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 0, 3, 0);
    struct ce_error err = {.rank = -1};

    assert_int_equal(ce_exchange_open(t, CE_SLOT_COMBINE, &err), CE_OK);
    assert_int_equal(ce_exchange_send(t, CE_SLOT_COMBINE, 0, empty, &err), CE_OK);
    assert_int_equal(ce_exchange_finish(t, CE_SLOT_COMBINE, &err), CE_ERR_ARG);
    assert_string_equal(err.text, "rank 0: combine: 2 message(s) have not been sent");
    fake_fini(&fake);
}

/* A message is here, but not to be seen before the latency has passed. */
static void latency_holds_messages_back(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 0, 2, 0);
    const uint64_t latency_ns = 3000000;
    struct ce_bytes message;
    int source;

    t->latency_ns = latency_ns;
    const uint64_t begin_ns = ce_clock_ns();
    assert_int_equal(ce_exchange_start(t, CE_SLOT_COMBINE, no_messages, NULL), CE_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ce_exchange_next(t, CE_SLOT_COMBINE, &source, &message, NULL),
                         CE_OK);
        assert_int_equal(source, i);
    }
    assert_true(ce_clock_ns() - begin_ns >= latency_ns);
    assert_int_equal(ce_exchange_finish(t, CE_SLOT_COMBINE, NULL), CE_OK);
    fake_fini(&fake);
}

static void misuse_is_refused(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 0, 2, 0);
    struct ce_error err = {.rank = -1};

    assert_int_equal(ce_exchange_start(t, CE_SLOT_COMBINE, no_messages, &err), CE_OK);
    assert_int_equal(ce_exchange_start(t, CE_SLOT_COMBINE, no_messages, &err),
                     CE_ERR_ARG);
    assert_string_equal(err.text, "rank 0: combine: round 1 is not finished yet");
    fake_fini(&fake);
    t = fake_init(&fake, 0, 2, 0);
    assert_int_equal(ce_exchange_finish(t, CE_SLOT_COMBINE, &err), CE_ERR_ARG);
    assert_string_equal(err.text, "rank 0: combine: round 0 is already finished");
    fake_fini(&fake);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next_is_own_first_then_as_they_arrive),
        cmocka_unit_test(finish_waits_for_the_sends_too),
        cmocka_unit_test(traffic_counts_the_own_message),
        cmocka_unit_test(timeout_names_whom_it_waits_for),
        cmocka_unit_test(timeout_says_what_the_rank_was_doing),
        cmocka_unit_test(messages_may_be_sent_one_by_one),
        cmocka_unit_test(finish_wants_all_to_be_sent),
        cmocka_unit_test(latency_holds_messages_back),
        cmocka_unit_test(timeout_names_many_ranks_and_sends),
        cmocka_unit_test(timeout_of_sends_alone_says_so),
        cmocka_unit_test(complete_neighbour_does_not_stop_the_clock),
        cmocka_unit_test(waiting_moves_the_other_slots),
        cmocka_unit_test(errors_of_the_back_end_kill_the_transport),
        cmocka_unit_test(failed_open_kills_the_transport),
        cmocka_unit_test(misuse_is_refused),
    };

    return cmocka_run_group_tests_name("comm.exchange", tests, NULL, NULL);
}
