/* The published OLMoE tokenizer against the ids and texts of Hugging Face. It is
 * not part of this repository: CEMOE_TEST_DATA names the directory where
 * olmoe-tokenizer/tokenizer.json lies. */

#include "tokenizer_golden.h"

static int open_tokenizer(void **state)
{
    char *path =
        ce_path_join(getenv("CEMOE_TEST_DATA"), "olmoe-tokenizer/tokenizer.json");

    if (path == NULL) {
        return -1;
    }
    *state = golden_open(path);
    free(path);
    return 0;
}

static int close_tokenizer(void **state)
{
    ce_tokenizer_close(*state);
    return 0;
}

static void texts_agree(void **state)
{
    assert_int_equal(ce_tokenizer_size(*state), 50280);
    golden_replay(*state, CE_TEST_SOURCE_DIR "/golden/tokenizer_olmoe.jsonl", 2600);
}

static void ids_that_no_text_has_agree(void **state)
{
    golden_replay(*state, CE_TEST_SOURCE_DIR "/golden/decode_olmoe.jsonl", 200);
}

static void the_older_tables_of_nfc_agree(void **state)
{
    golden_replay(*state, CE_TEST_SOURCE_DIR "/golden/tokenizer_nfc.jsonl", 99);
}

int main(int argc, char **argv)
{
    if (getenv("CEMOE_TEST_DATA") == NULL) {
        (void)puts("SKIP: set CEMOE_TEST_DATA to the directory that has "
                   "olmoe-tokenizer/tokenizer.json");
        return 77;
    }
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_agree),
        cmocka_unit_test(ids_that_no_text_has_agree),
        cmocka_unit_test(the_older_tables_of_nfc_agree),
    };

    return cmocka_run_group_tests_name(
        "golden.tokenizer_olmoe", tests, open_tokenizer, close_tokenizer);
}
