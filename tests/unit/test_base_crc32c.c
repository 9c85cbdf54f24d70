#include "base/crc32c.h"
#include "test.h"

#include <string.h>

/* The examples of RFC 3720, B.4. */
static void test_of_the_rfc(void **state)
{
    unsigned char bytes[32];

    (void)state;
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(ce_crc32c(0, bytes, sizeof(bytes)), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(ce_crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43);
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (unsigned char)i;
    }
    assert_int_equal(ce_crc32c(0, bytes, sizeof(bytes)), 0x46dd794e);
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (unsigned char)(31 - i);
    }
    assert_int_equal(ce_crc32c(0, bytes, sizeof(bytes)), 0x113fdb5c);
}

static void test_check_value(void **state)
{
    (void)state;
    assert_int_equal(ce_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(ce_crc32c(0, "", 0), 0);
}

static void test_in_pieces(void **state)
{
    const char *text = "records that may be torn";
    size_t bytes = strlen(text);

    (void)state;
    for (size_t first = 0; first <= bytes; first++) {
        uint32_t crc = ce_crc32c(0, text, first);

        assert_int_equal(ce_crc32c(crc, text + first, bytes - first),
                         ce_crc32c(0, text, bytes));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_the_rfc),
        cmocka_unit_test(test_check_value),
        cmocka_unit_test(test_in_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
