#include "base/hash.h"
#include "test.h"

/* Values published with the algorithm. */
static void published_values(void **state)
{
    (void)state;
    assert_true(ce_hash_bytes(CE_HASH_START, "", 0) == UINT64_C(0xcbf29ce484222325));
    assert_true(ce_hash_bytes(CE_HASH_START, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(ce_hash_bytes(CE_HASH_START, "foobar", 6) ==
                UINT64_C(0x85944171f73967e8));
}

static void pieces_hash_like_the_whole(void **state)
{
    (void)state;
    uint64_t piece = ce_hash_bytes(CE_HASH_START, "foo", 3);

    assert_true(ce_hash_bytes(piece, "bar", 3) ==
                ce_hash_bytes(CE_HASH_START, "foobar", 6));
}

static void a_number_hashes_as_its_bytes(void **state)
{
    (void)state;
    assert_true(ce_hash_u64(CE_HASH_START, UINT64_C(0x4847464544434241)) ==
                ce_hash_bytes(CE_HASH_START, "ABCDEFGH", 8));
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values),
        cmocka_unit_test(pieces_hash_like_the_whole),
        cmocka_unit_test(a_number_hashes_as_its_bytes),
    };

    return cmocka_run_group_tests_name("base.hash", tests, NULL, NULL);
}
