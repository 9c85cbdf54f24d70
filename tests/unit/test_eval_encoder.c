/* Which tokens a model directory names, and when they are added. */

#include "eval/encoder.h"
#include "unit/temporary.h"
#include "unit/tokenizer_fixture.h"

/* "x" is 13, "c" is 2; the BOS of the post-processor is "c". */
static const struct fixture with_bos = {
    .added_tokens =
        "[{\"id\": 13, \"content\": \"x\", \"single_word\": false, \"lstrip\": false, "
        "\"rstrip\": false, \"normalized\": false, \"special\": true}, "
        "{\"id\": 2, \"content\": \"c\", \"single_word\": false, \"lstrip\": false, "
        "\"rstrip\": false, \"normalized\": false, \"special\": true}]",
    .post_processor =
        "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": "
        "\"c\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], "
        "\"pair\": [], \"special_tokens\": {\"c\": {\"id\": \"c\", \"ids\": [2], "
        "\"tokens\": [\"c\"]}}}"};

static void write_text(void **state, const char *name, const char *text)
{
    temporary_write(state, name, text, strlen(text));
}

static void assert_opens(void **state, int32_t prefix, const char *bos, const char *eos)
{
    struct ce_tokenizer *tokenizer = fixture_create(&with_bos);
    struct ce_encoder encoder;
    struct ce_error err = {.text = ""};

    if (ce_encoder_open(&encoder, tokenizer, temporary_path(state, ""), 8, &err) !=
        CE_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(encoder.prefix, prefix);
    assert_string_equal(encoder.bos_text != NULL ? encoder.bos_text : "none", bos);
    assert_string_equal(encoder.eos_text != NULL ? encoder.eos_text : "none", eos);
    assert_string_equal(encoder.prefix_text, prefix == 2 ? "c" : "x");
    ce_encoder_close(&encoder);
    ce_tokenizer_close(tokenizer);
}

static void the_tokenizer_config_names_the_ends(void **state)
{
    write_text(state, "config.json", "{\"bos_token_id\": 0, \"eos_token_id\": 1}");
    write_text(state,
               "tokenizer_config.json",
               "{\"bos_token\": \"c\", \"eos_token\": {\"content\": \"x\"}}");
    assert_opens(state, 2, "c", "x");
    write_text(
        state, "tokenizer_config.json", "{\"bos_token\": null, \"eos_token\": \"x\"}");
    assert_opens(state, 13, "none", "x");
    write_text(
        state, "tokenizer_config.json", "{\"bos_token\": \"?\", \"eos_token\": \"x\"}");
    assert_opens(state, 13, "none", "x");
}

static void the_config_stands_in(void **state)
{
    write_text(
        state, "config.json", "{\"bos_token_id\": 2, \"eos_token_id\": [13, 1]}");
    assert_opens(state, 2, "c", "x");
    write_text(state, "tokenizer_config.json", "{\"bos_token\": null}");
    assert_opens(state, 13, "none", "x");
    write_text(state, "config.json", "{\"bos_token_id\": 2, \"eos_token_id\": 99}");
    write_text(state, "tokenizer_config.json", "{}");
    assert_opens(state, 2, "c", "none");
}

static void a_model_without_ends_is_refused(void **state)
{
    struct ce_tokenizer *tokenizer = fixture_create(&with_bos);
    struct ce_encoder encoder;
    struct ce_error err = {.text = ""};
    const char *dir = temporary_path(state, "");

    assert_int_equal(ce_encoder_open(&encoder, tokenizer, dir, 8, &err), CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "neither bos_token nor eos_token"));
    ce_encoder_close(&encoder);
    assert_int_equal(ce_encoder_open(&encoder, tokenizer, dir, 1, &err), CE_ERR_ARG);
    ce_encoder_close(&encoder);
    write_text(state, "tokenizer_config.json", "[]");
    assert_int_equal(ce_encoder_open(&encoder, tokenizer, dir, 8, &err), CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "tokenizer_config.json"));
    ce_encoder_close(&encoder);
    ce_tokenizer_close(tokenizer);
}

static void assert_use(const struct ce_encoder *encoder,
                       enum ce_encode_use use,
                       const char *text,
                       const char *ids)
{
    struct ce_ids got = {.id = NULL};

    assert_int_equal(ce_encoder_encode(encoder, use, text, strlen(text), &got, NULL),
                     CE_OK);
    assert_ids(&got, ids);
    ce_ids_free(&got);
}

static void special_tokens_are_added_once(void **state)
{
    struct ce_tokenizer *tokenizer = fixture_create(&with_bos);
    struct ce_encoder encoder;

    write_text(
        state, "tokenizer_config.json", "{\"bos_token\": null, \"eos_token\": \"x\"}");
    assert_int_equal(
        ce_encoder_open(&encoder, tokenizer, temporary_path(state, ""), 8, NULL),
        CE_OK);
    assert_use(&encoder, CE_ENCODE_SCORED, "a", "2 0");
    assert_use(&encoder, CE_ENCODE_SCORED, "xa", "13 0"); /* begins with the prefix */
    assert_use(&encoder, CE_ENCODE_CONTEXT, "xa", "2 13 0"); /* but not with a BOS */
    assert_use(&encoder, CE_ENCODE_BARE, "a", "0");
    ce_encoder_close(&encoder);
    ce_tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            the_tokenizer_config_names_the_ends, temporary_setup, temporary_teardown),
        cmocka_unit_test_setup_teardown(
            the_config_stands_in, temporary_setup, temporary_teardown),
        cmocka_unit_test_setup_teardown(
            a_model_without_ends_is_refused, temporary_setup, temporary_teardown),
        cmocka_unit_test_setup_teardown(
            special_tokens_are_added_once, temporary_setup, temporary_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
