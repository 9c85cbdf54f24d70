#include "comm/hello.h"
#include "test.h"
#include "test_comm_fake.h"

#include <string.h>

static const struct ce_hello plain = {
    .version = "0.1.0",
    .options = "combine=ordered\nwire=f32\n",
    .config_hash = 0x0123456789abcdef,
    .isa = 2,
    .threads = 4,
    .host = "alpha",
};

/* The bytes a rank with this hello sends. */
static struct ce_bytes hello_bytes(struct fake_transport *fake,
                                   const struct ce_hello *h)
{
    char summary[8];
    int isa;

    /* Its peer says nothing that makes sense; what matters is what was sent to it. */
    (void)fake_init(fake, 0, 2, 0);
    assert_int_equal(
        ce_hello_exchange(&fake->head, h, &isa, summary, sizeof(summary), NULL),
        CE_ERR_COMM);
    assert_true(fake->last_sent_bytes > 0);
    fake_fini(fake);
    return (struct ce_bytes){fake->last_sent, fake->last_sent_bytes};
}

/* Rank 1 of 2, whose rank 0 sends `peer`. */
static enum ce_status
meet(struct ce_bytes peer, const struct ce_hello *mine, int *isa, struct ce_error *err)
{
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 1, 2, 0);
    char summary[200];

    fake.peer[CE_SLOT_CONTROL][0].message = peer;
    enum ce_status status =
        ce_hello_exchange(t, mine, isa, summary, sizeof(summary), err);
    assert_false(t->failed);
    fake_fini(&fake);
    return status;
}

static void assert_mismatch(const struct ce_hello *mine, const char *text)
{
    struct fake_transport fake;
    struct ce_error err = {.rank = -1};
    int isa;

    assert_int_equal(meet(hello_bytes(&fake, &plain), mine, &isa, &err),
                     CE_ERR_MISMATCH);
    assert_string_equal(err.text, text);
    assert_int_equal(err.rank, 1);
}

static void equal_ranks_agree_on_the_lowest_isa(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_hello mine = plain;
    int isa = -1;

    mine.options = "wire=f32\ncombine=ordered"; /* order does not matter */
    mine.threads = 7;
    mine.host = "beta";
    for (mine.isa = 1; mine.isa <= 3; mine.isa++) {
        assert_int_equal(meet(hello_bytes(&fake, &plain), &mine, &isa, NULL), CE_OK);
        assert_int_equal(isa, mine.isa < plain.isa ? mine.isa : plain.isa);
    }
}

static void differences_are_named(void **state)
{
    (void)state;
    struct ce_hello mine = plain;

    mine.host = "beta";
    mine.version = "0.1.1";
    assert_mismatch(&mine,
                    "rank 1 (beta) runs version 0.1.1, rank 0 (alpha) runs 0.1.0");
    mine = plain;
    mine.host = "beta";
    mine.options = "combine=ordered\nwire=bf16\n";
    assert_mismatch(&mine, "rank 1 (beta) has wire=bf16, rank 0 (alpha) has f32");
    mine.options = "combine=ordered\n";
    assert_mismatch(&mine,
                    "rank 0 (alpha) has wire=f32, rank 1 (beta) has no such option");
    mine.options = "combine=ordered\nwire=f32\nsteps=a=b\n";
    assert_mismatch(&mine,
                    "rank 1 (beta) has steps=a=b, rank 0 (alpha) has no such option");
    mine = plain;
    mine.host = "beta";
    mine.config_hash = 1;
    assert_mismatch(&mine,
                    "rank 1 (beta) read a config.json, or a generation_config.json, "
                    "with hash 0000000000000001, rank 0 (alpha) one with "
                    "0123456789abcdef: do all ranks see the same model directory?");
}

static void invalid_own_hello_still_joins(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_hello mine = plain;
    struct ce_error err = {.rank = -1};
    int isa;

    mine.options = "no equals sign";
    assert_int_equal(meet(hello_bytes(&fake, &plain), &mine, &isa, &err), CE_ERR_ARG);
    assert_non_null(strstr(err.text, "name=value"));
    assert_int_equal(meet((struct ce_bytes){NULL, 0}, &plain, &isa, &err), CE_ERR_COMM);
    assert_string_equal(err.text, "rank 0 sent no hello that can be read");
    assert_int_equal(err.rank, 0);
}

static void no_message_is_trusted(void **state)
{
    (void)state;
    struct fake_transport fake;
    struct ce_bytes whole = hello_bytes(&fake, &plain);
    unsigned char bytes[sizeof(fake.last_sent)];
    int isa;

    /* A cut or changed message may still be a hello, but never the same one. */
    for (size_t cut = 0; cut < whole.bytes; cut++) {
        enum ce_status status =
            meet((struct ce_bytes){whole.data, cut}, &plain, &isa, NULL);
        assert_true(status == CE_ERR_COMM || status == CE_ERR_MISMATCH ||
                    status == CE_OK);
    }
    for (size_t i = 0; i < whole.bytes; i++) {
        memcpy(bytes, whole.data, whole.bytes);
        bytes[i] ^= 0xff;
        enum ce_status status =
            meet((struct ce_bytes){bytes, whole.bytes}, &plain, &isa, NULL);
        assert_true(status == CE_ERR_COMM || status == CE_ERR_MISMATCH ||
                    status == CE_OK);
    }
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(meet((struct ce_bytes){bytes, sizeof(bytes)}, &plain, &isa, NULL),
                     CE_ERR_COMM);
    static unsigned char large[65537];
    assert_int_equal(meet((struct ce_bytes){large, sizeof(large)}, &plain, &isa, NULL),
                     CE_ERR_COMM);
}

static void summary_groups_ranks_of_a_host(void **state)
{
    (void)state;
    struct fake_transport sender;
    struct fake_transport fake;
    struct ce_transport *t = fake_init(&fake, 0, 3, 0);
    struct ce_hello other = plain;
    char summary[80];
    int isa;

    fake.peer[CE_SLOT_CONTROL][1].message = hello_bytes(&sender, &plain);
    unsigned char copy[sizeof(sender.last_sent)];
    memcpy(copy, sender.last_sent, sender.last_sent_bytes);
    fake.peer[CE_SLOT_CONTROL][1].message.data = copy;
    other.host = "beta";
    other.threads = 1;
    fake.peer[CE_SLOT_CONTROL][2].message = hello_bytes(&sender, &other);
    assert_int_equal(ce_hello_exchange(t, &plain, &isa, summary, sizeof(summary), NULL),
                     CE_OK);
    assert_string_equal(summary,
                        "3 ranks: alpha 0-1 (4 threads each), beta 2 (1 thread)");
    assert_int_equal(ce_hello_exchange(t, &plain, &isa, summary, 14, NULL), CE_OK);
    assert_string_equal(summary, "3 ranks: alph");
    other.host = "alpha"; /* another one of that name */
    other.host_id = 9;
    fake.peer[CE_SLOT_CONTROL][2].message = hello_bytes(&sender, &other);
    assert_int_equal(ce_hello_exchange(t, &plain, &isa, summary, sizeof(summary), NULL),
                     CE_OK);
    assert_string_equal(summary,
                        "3 ranks: alpha 0-1 (4 threads each), alpha#2 2 (1 thread)");
    fake_fini(&fake);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_ranks_agree_on_the_lowest_isa),
        cmocka_unit_test(differences_are_named),
        cmocka_unit_test(invalid_own_hello_still_joins),
        cmocka_unit_test(no_message_is_trusted),
        cmocka_unit_test(summary_groups_ranks_of_a_host),
    };

    return cmocka_run_group_tests_name("comm.hello", tests, NULL, NULL);
}
