#include "comm/collective.h"
#include "comm/introduce.h"
#include "comm/threads.h"
#include "test.h"

#include <stdio.h>
#include <string.h>

#define RANKS 3

/* What each rank of a case was given. */
struct given {
    const char *name[RANKS];
    uint64_t deadline_ms[RANKS];
};

static struct ce_threads_outcome outcome[RANKS];

static enum ce_status
introduce(struct ce_transport *transport, void *context, struct ce_error *err)
{
    const struct given *given = context;
    const int rank = transport->rank;

    return ce_introduce(transport, given->name[rank], given->deadline_ms[rank], err);
}

/* All ranks find the same, and part in order. */
static void expect(struct given given, enum ce_status wanted, const char *text)
{
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_threads_run(RANKS, 20000, introduce, &given, outcome, &err),
                     wanted);
    for (int r = 0; r < RANKS; r++) {
        assert_int_equal(outcome[r].status, wanted);
        if (wanted != CE_OK && strstr(outcome[r].err.text, text) == NULL) {
            fail_msg("%s", outcome[r].err.text);
        }
    }
}

static void ranks_that_agree_go_on(void **state)
{
    (void)state;
    expect((struct given){{"auto", "auto", "auto"}, {0, 0, 0}}, CE_OK, "");
}

static void another_transport_is_named(void **state)
{
    (void)state;
    expect((struct given){{"mpi", "mpi", "ucx"}, {9, 9, 9}},
           CE_ERR_MISMATCH,
           ") was given transport ucx, rank 0 (");
    assert_memory_equal(outcome[1].err.text, "rank 2 (", 8);
    assert_non_null(strstr(outcome[1].err.text, ") mpi: all ranks need the same"));
}

static void another_deadline_is_named(void **state)
{
    (void)state;
    expect((struct given){{"ucx", "ucx", "ucx"}, {9, 700, 9}},
           CE_ERR_MISMATCH,
           ") was given a deadline of 700 ms, rank 0 (");
    assert_memory_equal(outcome[2].err.text, "rank 1 (", 8);
}

static enum ce_status
say_something_else(struct ce_transport *transport, void *context, struct ce_error *err)
{
    const struct ce_bytes *all = NULL;
    char words[512] = "a card of another version may have any size";
    size_t *bytes = context;

    return transport->rank == 1
               ? ce_allgather(transport, (struct ce_bytes){words, *bytes}, &all, err)
               : ce_introduce(transport, "mpi", 9, err);
}

static void another_version_is_named(void **state)
{
    static const size_t sizes[] = {0, 3, 96, 512};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct ce_error err = {.text = ""};
        size_t bytes = sizes[i];

        assert_int_equal(
            ce_threads_run(RANKS, 20000, say_something_else, &bytes, outcome, &err),
            CE_ERR_MISMATCH);
        assert_int_equal(outcome[0].status, CE_ERR_MISMATCH);
        assert_non_null(strstr(outcome[0].err.text, "rank 1 is of another version"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_that_agree_go_on),
        cmocka_unit_test(another_transport_is_named),
        cmocka_unit_test(another_deadline_is_named),
        cmocka_unit_test(another_version_is_named),
    };

    return cmocka_run_group_tests_name("comm.introduce", tests, NULL, NULL);
}
