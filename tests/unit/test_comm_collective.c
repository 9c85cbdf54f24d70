#include "comm/collective.h"
#include "test.h"
#include "test_comm_fake.h"

#include <string.h>

/* What a peer says in ce_agree, as it travels. */
struct wire_verdict {
    uint32_t status;
    uint32_t rank;
    char text[600];
};

static struct ce_bytes
verdict(struct wire_verdict *v, uint32_t status, uint32_t rank, const char *text)
{
    memset(v, 0, sizeof(*v));
    v->status = status;
    v->rank = rank;
    memcpy(v->text, text, strlen(text));
    return (struct ce_bytes){v, offsetof(struct wire_verdict, text) + strlen(text)};
}

static void agree_takes_the_lowest_failure(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 0, 4, 0);
    struct ce_error err = {.rank = -1, .text = "mine"};
    struct wire_verdict v[4];

    fake.peer[CE_SLOT_CONTROL][1].message = verdict(&v[1], CE_OK, 1, "");
    fake.peer[CE_SLOT_CONTROL][2].message = verdict(&v[2], CE_ERR_NOMEM, 2, "two");
    fake.peer[CE_SLOT_CONTROL][3].message = verdict(&v[3], CE_ERR_IO, 3, "three");
    assert_int_equal(ce_agree(t, CE_OK, &err), CE_ERR_NOMEM);
    assert_string_equal(err.text, "two");
    assert_int_equal(err.rank, 2);

    strcpy(err.text, "mine");
    assert_int_equal(ce_agree(t, CE_ERR_NUMERIC, &err), CE_ERR_NUMERIC);
    assert_string_equal(err.text, "mine");
    assert_int_equal(err.rank, 0);
    fake_fini(&fake);
}

static void agree_without_failure_is_ok(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 1, 2, 0);
    struct ce_error err = {.rank = -1, .text = "old"};
    struct wire_verdict v;

    fake.peer[CE_SLOT_CONTROL][0].message = verdict(&v, CE_OK, 0, "");
    assert_int_equal(ce_agree(t, CE_OK, &err), CE_OK);
    assert_string_equal(err.text, "old");
    assert_int_equal(ce_agree(t, CE_OK, NULL), CE_OK);
    assert_int_equal(ce_agree(t, CE_ERR_IO, NULL), CE_ERR_IO);
    fake_fini(&fake);
}

static void agree_cuts_a_long_text(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 1, 2, 0);
    struct ce_error err = {.rank = -1};
    struct wire_verdict v;
    struct ce_bytes *message = &fake.peer[CE_SLOT_CONTROL][0].message;

    *message = verdict(&v, CE_ERR_IO, 0, "");
    memset(v.text, 'x', sizeof(v.text));
    message->bytes = offsetof(struct wire_verdict, text) + sizeof(err.text);
    assert_int_equal(ce_agree(t, CE_OK, &err), CE_ERR_IO);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    fake_fini(&fake);
}

static void assert_unreadable(struct ce_bytes message)
{
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 1, 2, 0);
    struct ce_error err = {.rank = -1};

    fake.peer[CE_SLOT_CONTROL][0].message = message;
    assert_int_equal(ce_agree(t, CE_OK, &err), CE_ERR_COMM);
    assert_non_null(strstr(err.text, "rank 0 sent no readable status"));
    assert_int_equal(err.rank, 0);
    fake_fini(&fake);
}

static void agree_trusts_no_peer(void **state)
{
    (void)state;
    struct wire_verdict v;
    struct ce_bytes message = verdict(&v, CE_OK, 0, "");

    for (size_t bytes = 0; bytes < message.bytes; bytes++) {
        assert_unreadable((struct ce_bytes){message.data, bytes});
    }
    assert_unreadable((struct ce_bytes){message.data, sizeof(v)});
    assert_unreadable(verdict(&v, CE_OK, 1, ""));
    assert_unreadable(verdict(&v, CE_AGAIN, 0, ""));
    assert_unreadable(verdict(&v, CE_ERR_MISMATCH + 1, 0, ""));
    assert_unreadable(verdict(&v, UINT32_MAX, 0, ""));
}

static void agree_keeps_the_cause_when_the_transport_fails(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 0, 2, 1);
    struct ce_error err = {.rank = 0, .text = "the cause"};

    fake.peer[CE_SLOT_CONTROL][1].arrives = FAKE_NEVER;
    assert_int_equal(ce_agree(t, CE_ERR_NUMERIC, &err), CE_ERR_NUMERIC);
    assert_string_equal(err.text, "the cause");
    assert_true(t->failed);
    assert_int_equal(ce_agree(t, CE_OK, &err), CE_ERR_COMM);
    assert_non_null(strstr(err.text, "failed before"));
    fake_fini(&fake);
}

static void broadcast_gives_nothing_after_a_failure(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 1, 2, 1);
    struct ce_bytes out = {"old", 3};

    fake.peer[CE_SLOT_CONTROL][0].arrives = FAKE_NEVER;
    assert_int_equal(ce_broadcast(t, out, &out, NULL), CE_ERR_TIMEOUT);
    assert_null(out.data);
    assert_int_equal(out.bytes, 0);
    fake_fini(&fake);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agree_takes_the_lowest_failure),
        cmocka_unit_test(agree_without_failure_is_ok),
        cmocka_unit_test(agree_cuts_a_long_text),
        cmocka_unit_test(agree_trusts_no_peer),
        cmocka_unit_test(agree_keeps_the_cause_when_the_transport_fails),
        cmocka_unit_test(broadcast_gives_nothing_after_a_failure),
    };

    return cmocka_run_group_tests_name("comm.collective", tests, NULL, NULL);
}
