/* test_window.c - memory that the ranks of a host share, on the transport the
 * environment gives (see ranks.h). */

#include "comm/collective.h"
#include "comm/window.h"
#include "ranks.h"
#include "test.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WORDS  1000
#define ROUNDS 2000

static _Thread_local struct ce_error err;

#define assert_ok(call)                                                                \
    do {                                                                               \
        if ((call) != CE_OK) {                                                         \
            fail_msg("%s: %s", #call, err.text);                                       \
        }                                                                              \
    } while (0)

static uint64_t value(int rank, size_t round, size_t word)
{
    return ((uint64_t)rank << 40) + (round << 20) + word;
}

static uint64_t *part(const struct ce_window *window, int rank)
{
    return (uint64_t *)(void *)window->of[rank];
}

static void everyone_sees_all_parts(void **state)
{
    (void)state;
    struct ce_window *window = NULL;

    assert_ok(ce_window_create(&window, transport, WORDS * sizeof(uint64_t), &err));
    for (int r = 0; r < transport->ranks; r++) {
        assert_int_equal((uintptr_t)window->of[r] % 4096, 0);
        assert_int_equal(part(window, r)[WORDS - 1], 0);
    }
    assert_ok(ce_window_meet(window, &err)); /* all have looked */
    for (size_t i = 0; i < WORDS; i++) {
        part(window, transport->rank)[i] = value(transport->rank, 0, i);
    }
    assert_ok(ce_window_meet(window, &err));
    for (int r = 0; r < transport->ranks; r++) {
        for (size_t i = 0; i < WORDS; i++) {
            assert_int_equal(part(window, r)[i], value(r, 0, i));
        }
    }
    ce_window_destroy(window);
}

/* Every rank writes a word in everybody's part: none is lost, none comes too late. */
static void meetings_order_writes_and_reads(void **state)
{
    (void)state;
    const size_t ranks = (size_t)transport->ranks;
    const size_t me = (size_t)transport->rank;
    struct ce_window *window = NULL;

    assert_ok(
        ce_window_create(&window, transport, 2 * ranks * 8 * sizeof(uint64_t), &err));
    for (size_t round = 0; round < ROUNDS; round++) {
        const size_t turn = round % 2 * ranks * 8;

        for (int r = 0; r < transport->ranks; r++) {
            part(window, r)[turn + me * 8] = value(transport->rank, round, 0);
        }
        assert_ok(ce_window_meet(window, &err));
        for (int r = 0; r < transport->ranks; r++) {
            for (size_t from = 0; from < ranks; from++) {
                assert_int_equal(part(window, r)[turn + from * 8],
                                 value((int)from, round, 0));
            }
        }
    }
    assert_int_equal(window->round, ROUNDS);
    ce_window_destroy(window);
}

static void parts_have_the_sizes_asked_for(void **state)
{
    (void)state;
    struct ce_window *window = NULL;
    const size_t bytes = (size_t)transport->rank * 10000; /* of rank 0: nothing */

    assert_ok(ce_window_create(&window, transport, bytes, &err));
    memset(window->of[transport->rank], 1 + transport->rank, bytes);
    assert_ok(ce_window_meet(window, &err));
    for (int r = 0; r < transport->ranks; r++) {
        for (size_t i = 0; i < (size_t)r * 10000; i++) {
            assert_int_equal(window->of[r][i], 1 + r);
        }
    }
    ce_window_destroy(window);
}

static void windows_and_exchanges_do_not_meet(void **state)
{
    (void)state;
    struct ce_window *first = NULL;
    struct ce_window *second = NULL;
    const struct ce_bytes *all = NULL;

    assert_ok(ce_window_create(&first, transport, sizeof(uint64_t), &err));
    assert_ok(ce_window_create(&second, transport, sizeof(uint64_t), &err));
    for (size_t round = 0; round < 100; round++) {
        const uint64_t mine = value(transport->rank, round, 1);

        part(first, transport->rank)[0] = mine;
        assert_ok(ce_window_meet(first, &err));
        part(second, transport->rank)[0] = part(first, transport->rank)[0] + 1;
        assert_ok(ce_allgather(
            transport, (struct ce_bytes){&mine, sizeof(mine)}, &all, &err));
        assert_ok(ce_window_meet(second, &err));
        for (int r = 0; r < transport->ranks; r++) {
            assert_int_equal(part(second, r)[0], value(r, round, 2));
            assert_memory_equal(all[r].data, part(first, r), sizeof(uint64_t));
        }
        assert_ok(ce_window_meet(first, &err));
    }
    ce_window_destroy(second);
    ce_window_destroy(first);
}

/* CE_TEST_APART=1 says that the ranks cannot see each other's processes. */
static void ranks_apart_are_refused_alike(void **state)
{
    (void)state;
    struct ce_window *window = NULL;

    assert_int_equal(ce_window_create(&window, transport, 1, &err), CE_ERR_UNSUPPORTED);
    assert_null(window);
    assert_int_equal(err.rank, 1);
    assert_non_null(strstr(err.text,
                           "rank 1 cannot share memory with rank 0, which only ranks "
                           "of one host can: "));
    assert_false(transport->failed);
}

static int run_suite(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everyone_sees_all_parts),
        cmocka_unit_test(meetings_order_writes_and_reads),
        cmocka_unit_test(parts_have_the_sizes_asked_for),
        cmocka_unit_test(windows_and_exchanges_do_not_meet),
    };
    const struct CMUnitTest tests_apart[] = {
        cmocka_unit_test(ranks_apart_are_refused_alike),
    };

    return getenv("CE_TEST_APART") != NULL
               ? cmocka_run_group_tests_name("window", tests_apart, NULL, NULL)
               : cmocka_run_group_tests_name("window", tests, NULL, NULL);
}

int main(void)
{
    return run_on_ranks(run_suite);
}
