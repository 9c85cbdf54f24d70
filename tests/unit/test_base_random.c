#include "base/random.h"
#include "test.h"

#include <stdbool.h>

/* Known answers of the Random123 distribution, philox4x32 with 10 rounds. */
static void philox_gives_the_published_answers(void **state)
{
    (void)state;
    static const struct {
        uint64_t key, low, high;
        uint32_t word[4];
    } known[] = {
        {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX,
         UINT64_MAX,
         UINT64_MAX,
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x299f31d0a4093822,
         0x85a308d3243f6a88,
         0x0370734413198a2e,
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        struct ce_philox got = ce_philox4x32(known[i].key, known[i].low, known[i].high);

        assert_memory_equal(got.word, known[i].word, sizeof(got.word));
    }
}

static void unit_uses_the_first_two_words(void **state)
{
    (void)state;
    double wanted = (double)(UINT64_C(0x6627e8d5e169c58d) >> 11) / 9007199254740992.0;

    assert_true(ce_random_unit(0, 0, 0) == wanted);
}

static void unit_is_in_range_and_evenly_spread(void **state)
{
    (void)state;
    const int count = 20000;
    double sum = 0.0;

    for (int i = 0; i < count; i++) {
        double value = ce_random_unit(42, (uint64_t)i, 7);

        assert_true(value >= 0.0 && value < 1.0);
        sum += value;
    }
    assert_true(sum / count > 0.49 && sum / count < 0.51);
}

static void every_argument_matters(void **state)
{
    (void)state;
    double value = ce_random_unit(1, 2, 3);

    assert_true(value == ce_random_unit(1, 2, 3));
    assert_false(value == ce_random_unit(2, 2, 3));
    assert_false(value == ce_random_unit(UINT64_C(1) << 32 | 1, 2, 3));
    assert_false(value == ce_random_unit(1, 3, 3));
    assert_false(value == ce_random_unit(1, 2, 4));
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_answers),
        cmocka_unit_test(unit_uses_the_first_two_words),
        cmocka_unit_test(unit_is_in_range_and_evenly_spread),
        cmocka_unit_test(every_argument_matters),
    };

    return cmocka_run_group_tests_name("base.random", tests, NULL, NULL);
}
