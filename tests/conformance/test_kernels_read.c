/* Reading memory: every word counts, once, and nothing behind the last one is touched
 */

#include "test_kernels.h"

enum { MAX_WORDS = 200 };

static void check_xor(const struct ce_kernels *kernels)
{
    for (size_t n = 0; n <= MAX_WORDS; n++) {
        struct guarded g = guard_bytes(n * sizeof(uint64_t), 0);
        uint64_t *words = g.data;
        uint64_t expected = 0;

        for (size_t i = 0; i < n; i++) {
            words[i] = (i + 1) * 0x9e3779b97f4a7c15U;
            expected ^= words[i];
        }
        assert_int_equal(kernels->xor_words(words, n), expected);
        for (size_t i = 0; i < n; i++) {
            words[i] ^= (uint64_t)1 << (i % 64);
            assert_int_equal(kernels->xor_words(words, n),
                             expected ^ (uint64_t)1 << (i % 64));
            words[i] ^= (uint64_t)1 << (i % 64);
        }
        guard_free(&g);
    }
}

static void xor_words_reads_every_word(void **state)
{
    (void)state;
    with_every_set(check_xor);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xor_words_reads_every_word),
    };

    return cmocka_run_group_tests_name("kernels.read", tests, NULL, NULL);
}
