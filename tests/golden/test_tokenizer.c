/* The tokenizers of deploy/model against the ids and texts of Hugging Face. */

#include "tokenizer_golden.h"

static void the_shipped_tokenizer_agrees(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = golden_open(CE_MODEL_DIR "/tokenizer.json");

    golden_replay(
        tokenizer, CE_TEST_SOURCE_DIR "/golden/tokenizer_shipped.jsonl", 1000);
    golden_replay(tokenizer, CE_TEST_SOURCE_DIR "/golden/decode_shipped.jsonl", 200);
    golden_replay(tokenizer, CE_MODEL_DIR "/tokenizer_goldens.jsonl", 345);
    ce_tokenizer_close(tokenizer);
}

static void the_tokenizer_with_runs_of_spaces_agrees(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer =
        golden_open(CE_MODEL_DIR "/extra/tokenizer_ws.json");

    golden_replay(tokenizer, CE_TEST_SOURCE_DIR "/golden/tokenizer_ws.jsonl", 1000);
    golden_replay(tokenizer, CE_TEST_SOURCE_DIR "/golden/decode_ws.jsonl", 200);
    golden_replay(tokenizer, CE_MODEL_DIR "/extra/tokenizer_ws_goldens.jsonl", 357);
    ce_tokenizer_close(tokenizer);
}

static void the_directory_opens_with_its_config(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = NULL;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_tokenizer_open(&tokenizer, CE_MODEL_DIR, &err), CE_OK);
    assert_int_equal(ce_tokenizer_size(tokenizer), 2048);
    golden_replay(
        tokenizer, CE_TEST_SOURCE_DIR "/golden/tokenizer_shipped.jsonl", 1000);
    ce_tokenizer_close(tokenizer);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shipped_tokenizer_agrees),
        cmocka_unit_test(the_tokenizer_with_runs_of_spaces_agrees),
        cmocka_unit_test(the_directory_opens_with_its_config),
    };

    return cmocka_run_group_tests_name("golden.tokenizer", tests, NULL, NULL);
}
