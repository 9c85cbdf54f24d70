#include "eval/digest.h"
#include "test.h"

#include <string.h>

/* FIPS 180-2, appendix B. */
static void digests_are_those_of_the_standard(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {NULL, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char hex[CE_DIGEST_BYTES];

        ce_digest_string(cases[i][0], hex);
        assert_string_equal(hex, cases[i][1]);
    }
}

static void pieces_make_the_same_digest(void **state)
{
    (void)state;
    struct ce_digest digest;
    char hex[CE_DIGEST_BYTES];
    char whole[CE_DIGEST_BYTES];

    ce_digest_start(&digest);
    ce_digest_add(&digest, "a", 1);
    ce_digest_add(&digest, "", 0);
    ce_digest_add(&digest, "bc", 2);
    ce_digest_finish(&digest, hex);
    ce_digest_string("abc", whole);
    assert_string_equal(hex, whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_are_those_of_the_standard),
        cmocka_unit_test(pieces_make_the_same_digest),
    };

    return cmocka_run_group_tests_name("eval.digest", tests, NULL, NULL);
}
