/* Text to ids. Where the wanted ids are not obvious they were computed by the
 * `tokenizers` library 0.23. */

#include "temporary.h"
#include "tokenizer_fixture.h"

/* A Llama-like vocabulary; U+2581 is the space. */
#define LLAMA_VOCAB                                                                    \
    "\"vocab\": {\"<unk>\": 0, \"<0xC3>\": 1, \"<0xA9>\": 2, \"\\u2581\": 3, \"H\": "  \
    "4, "                                                                              \
    "\"i\": 5, \"\\u2581H\": 6, \"\\u2581Hi\": 7}, "                                   \
    "\"merges\": [\"\\u2581 H\", \"\\u2581H i\"]"
#define LLAMA_NORMALIZER                                                               \
    "{\"type\": \"Sequence\", \"normalizers\": ["                                      \
    "{\"type\": \"Prepend\", \"prepend\": \"\\u2581\"}, "                              \
    "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": "          \
    "\"\\u2581\"}]}"
#define LLAMA_DECODER                                                                  \
    "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": "    \
    "{\"String\": \"\\u2581\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, "   \
    "{\"type\": \"Fuse\"}, {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, "   \
    "\"stop\": 0}]}"

static struct fixture llama(const char *model)
{
    return (struct fixture){
        .added_tokens = "[{\"id\": 8, \"content\": \"<s>\", \"special\": true}, "
                        "{\"id\": 9, \"content\": \"</s>\", \"special\": true, "
                        "\"rstrip\": true}]",
        .normalizer = LLAMA_NORMALIZER,
        .pre_tokenizer = "null",
        .decoder = LLAMA_DECODER,
        .model = model};
}

static void merges_follow_their_rank(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = fixture_create(&(struct fixture){0});

    assert_encodes(tokenizer, "", "");
    assert_encodes(tokenizer, "abc", "5");
    assert_encodes(tokenizer, "bc", "7");
    assert_encodes(tokenizer, "a abc", "0 3 5"); /* a b ranks before the space */
    assert_encodes(tokenizer, "a a", "0 6");
    assert_encodes(tokenizer, "\xC3\xA9", "12");
    ce_tokenizer_close(tokenizer);
}

static void characters_without_token_are_dropped(void **state)
{
    (void)state;
    assert_fixture_encodes(&(struct fixture){0}, "aZa", "0 0");
}

static void ignored_merges_take_whole_pieces(void **state)
{
    (void)state;
    static const char vocab[] =
        "\"vocab\": {\"a\": 0, \"b\": 1, \"\\u0120a\": 2, \" b\": 3, \"\\u0120\": 4}, "
        "\"merges\": []";
    char model[256];

    (void)snprintf(model, sizeof(model), "{\"ignore_merges\": true, %s}", vocab);
    struct ce_tokenizer *tokenizer = fixture_create(&(struct fixture){.model = model});

    assert_encodes(tokenizer, "a a", "0 2");
    assert_encodes(tokenizer, "a b", "0 4 1"); /* " b" is not spelled as bytes are */
    ce_tokenizer_close(tokenizer);
}

static void the_later_of_two_equal_merges_counts(void **state)
{
    (void)state;
    static const char model[] =
        "{\"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"ab\": 3, \"bc\": 4}, "
        "\"merges\": [\"a b\", \"b c\", \"a b\"]}";

    assert_fixture_encodes(&(struct fixture){.model = model}, "abc", "0 4");
}

static void added_tokens_are_cut_out_longest_first(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = fixture_create(
        &(struct fixture){.added_tokens = "[{\"id\": 20, \"content\": \"<A>\"}, "
                                          "{\"id\": 21, \"content\": \"<A>x\"}, "
                                          "{\"id\": 22, \"content\": \"bb\"}]"});

    assert_encodes(tokenizer, "a<A>abb", "0 20 0 22");
    assert_encodes(tokenizer, "<A>x<A><A", "21 20");
    ce_tokenizer_close(tokenizer);
}

static void added_tokens_can_be_single_words(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = fixture_create(&(struct fixture){
        .added_tokens = "[{\"id\": 20, \"content\": \"cc\", \"single_word\": true}]"});

    assert_encodes(tokenizer, "cc cc", "20 3 20");
    assert_encodes(tokenizer,
                   "ccb cc1 \xC3\xA9"
                   "cc",
                   "2 2 1 3 2 2 8 3 12 2 2");
    ce_tokenizer_close(tokenizer);
}

static void added_tokens_can_strip_white_space(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = fixture_create(&(struct fixture){
        .added_tokens = "[{\"id\": 20, \"content\": \"<L>\", \"lstrip\": true}, "
                        "{\"id\": 21, \"content\": \"<R>\", \"rstrip\": true}]"});

    assert_encodes(tokenizer, "a \n<L> a", "0 20 6");
    assert_encodes(tokenizer, "a <R>\xC2\xA0\xE3\x80\x80\n a", "0 3 21 0");
    assert_encodes(tokenizer, "<R> <L>a", "21 20 0");
    ce_tokenizer_close(tokenizer);
}

/* Space that is stripped on the right is looked through once more. */
static void stripped_space_can_be_a_token_itself(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = fixture_create(&(struct fixture){
        .added_tokens = "[{\"id\": 20, \"content\": \"<R>\", \"rstrip\": true}, "
                        "{\"id\": 21, \"content\": \"  \"}]"});

    assert_encodes(tokenizer, "a<R>     a", "0 20 21 21 6");
    ce_tokenizer_close(tokenizer);
}

static void special_tokens_can_be_plain_text(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = fixture_create(&(struct fixture){
        .added_tokens = "[{\"id\": 20, \"content\": \"abx\", \"special\": true}, "
                        "{\"id\": 21, \"content\": \"bx\"}]"});

    assert_encodes_as(tokenizer, "abx", false, "20");
    assert_encodes_as(tokenizer, "abx", true, "4 13"); /* nor is bx looked for in it */
    assert_encodes_as(tokenizer, "xbx", true, "13 21");
    ce_tokenizer_close(tokenizer);
}

/* e + U+0301: only the normalized token is there, as U+00E9. */
static void normalized_tokens_match_normalized_text(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = fixture_create(&(struct fixture){
        .normalizer = "{\"type\": \"NFC\"}",
        .added_tokens =
            "[{\"id\": 20, \"content\": \"ae\\u0301\", \"normalized\": true}, "
            "{\"id\": 21, \"content\": \"be\\u0301\"}]"});

    assert_encodes(tokenizer, "a\xC3\xA9", "20");
    assert_encodes(tokenizer, "ae\xCC\x81", "20");
    assert_encodes(tokenizer, "b\xC3\xA9", "1 12");
    assert_encodes(tokenizer, "be\xCC\x81", "21");
    ce_tokenizer_close(tokenizer);
}

/* Both the list and the vocabulary may name an id; the vocabulary counts. */
static void the_vocabulary_names_the_id(void **state)
{
    (void)state;
    assert_fixture_encodes(
        &(struct fixture){.added_tokens = "[{\"id\": 5, \"content\": \"x\"}]"},
        "ax",
        "0 13");
}

static void every_segment_is_normalized_by_itself(void **state)
{
    (void)state;
    struct fixture fixture = llama("{" LLAMA_VOCAB "}");
    struct ce_tokenizer *tokenizer = fixture_create(&fixture);

    assert_encodes(tokenizer, "Hi", "7");
    assert_encodes(tokenizer, "", "");
    assert_encodes(tokenizer, "<s>Hi", "8 7");
    assert_encodes(tokenizer, "<s> Hi", "8 3 7");
    assert_encodes(tokenizer, "</s>\n Hi", "9 7");
    ce_tokenizer_close(tokenizer);
}

static void unknown_characters_fall_back(void **state)
{
    (void)state;
    static const struct {
        const char *switches;
        const char *wanted; /* of an e with acute, i, two unknown ones, i */
    } cases[] = {
        {"", "3 5 5"},
        {"\"unk_token\": \"<unk>\", ", "3 0 5 0 0 5"},
        {"\"unk_token\": \"<unk>\", \"fuse_unk\": true, ", "3 0 5 0 5"},
        {"\"byte_fallback\": true, ", "3 1 2 5 5"},
        {"\"unk_token\": \"<unk>\", \"byte_fallback\": true, ", "3 1 2 5 0 0 5"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char model[512];

        (void)snprintf(model, sizeof(model), "{%s" LLAMA_VOCAB "}", cases[i].switches);
        struct fixture fixture = llama(model);

        assert_fixture_encodes(&fixture, "\xC3\xA9i\xC3\xB1zi", cases[i].wanted);
    }
}

static void templates_put_ids_around(void **state)
{
    (void)state;
    static const char template[] =
        "{\"type\": \"Sequence\", \"processors\": [" FIXTURE_BYTE_LEVEL ", "
        "{\"type\": \"TemplateProcessing\", \"single\": ["
        "{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}, "
        "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, "
        "{\"SpecialToken\": {\"id\": \"e\", \"type_id\": 0}}], \"special_tokens\": {"
        "\"<s>\": {\"id\": \"<s>\", \"ids\": [12, 13]}, "
        "\"e\": {\"id\": \"e\", \"ids\": [9]}}}]}";
    struct ce_tokenizer *tokenizer =
        fixture_create(&(struct fixture){.post_processor = template});

    assert_encodes(tokenizer, "ab", "12 13 4 9");
    assert_encodes(tokenizer, "", "12 13 9");
    ce_tokenizer_close(tokenizer);
}

static struct ce_tokenizer *open_with_config(void **state, const char *config)
{
    static const char json[] =
        "{\"added_tokens\": [{\"id\": 20, \"content\": \"<s>\"}, "
        "{\"id\": 21, \"content\": \"</s>\"}], \"pre_tokenizer\": " FIXTURE_BYTE_LEVEL
        ", \"decoder\": " FIXTURE_BYTE_LEVEL ", \"model\": " FIXTURE_MODEL "}";
    struct ce_tokenizer *tokenizer = NULL;
    struct ce_error err = {.text = ""};

    temporary_write(state, "tokenizer.json", json, strlen(json));
    temporary_write(state, "tokenizer_config.json", config, strlen(config));
    if (ce_tokenizer_open(&tokenizer, temporary_path(state, ""), &err) != CE_OK) {
        assert_null(tokenizer);
        assert_non_null(strstr(err.text, "/tokenizer_config.json: "));
    }
    return tokenizer;
}

static void the_config_decides_about_both_ends(void **state)
{
    struct ce_tokenizer *tokenizer = open_with_config(
        state,
        "{\"add_bos_token\": true, \"bos_token\": \"<s>\", "
        "\"add_eos_token\": true, \"eos_token\": {\"content\": \"</s>\"}}");

    assert_encodes(tokenizer, "ab", "20 4 21");
    ce_tokenizer_close(tokenizer);
    tokenizer = open_with_config(state, "{\"add_bos_token\": false}");
    assert_encodes(tokenizer, "ab", "4");
    ce_tokenizer_close(tokenizer);
    tokenizer = open_with_config(state, "{\"add_bos_token\": null}");
    assert_encodes(tokenizer, "ab", "4");
    ce_tokenizer_close(tokenizer);
}

static void bad_configs_are_refused(void **state)
{
    assert_null(open_with_config(state, "[]"));
    assert_null(open_with_config(state, "{\"add_bos_token\": 1}"));
    assert_null(open_with_config(state, "{\"add_bos_token\": true}"));
    assert_null(open_with_config(state, "{\"bos_token\": 7}"));
}

static void missing_files_are_named(void **state)
{
    struct ce_tokenizer *tokenizer = NULL;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_tokenizer_open(&tokenizer, temporary_path(state, ""), &err),
                     CE_ERR_IO);
    assert_non_null(strstr(err.text, "/tokenizer.json: "));
    assert_null(tokenizer);
}

/* And the ids that were there stay. */
static void invalid_text_is_refused_with_its_offset(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *why;
    } cases[] = {
        {"\xFF", "the text is not UTF-8 at byte 0"},
        {"a\x80", "the text is not UTF-8 at byte 1"},
        {"ab\xC3", "the text is not UTF-8 at byte 2"},
        {"\xED\xA0\x80", "the text is not UTF-8 at byte 0"},
        {"abc\xF0\x9F\x98", "the text is not UTF-8 at byte 3"},
        {"\xC0\x80", "the text is not UTF-8 at byte 0"},
    };
    struct ce_tokenizer *tokenizer = fixture_create(&(struct fixture){0});
    struct ce_ids ids = {.id = NULL};
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_tokenizer_encode(tokenizer, "ab", 2, false, &ids, &err), CE_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(
            ce_tokenizer_encode(
                tokenizer, cases[i].text, strlen(cases[i].text), false, &ids, &err),
            CE_ERR_FORMAT);
        assert_string_equal(err.text, cases[i].why);
        assert_ids(&ids, "4");
    }
    ce_ids_free(&ids);
    ce_tokenizer_close(tokenizer);
}

static void a_nul_is_a_character(void **state)
{
    (void)state;
    static const char text[] = "a\0b";
    struct ce_tokenizer *tokenizer = fixture_create(&(struct fixture){
        .model = "{\"vocab\": {\"a\": 0, \"b\": 1, \"\\u0100\": 2}, \"merges\": []}"});
    struct ce_ids ids = {.id = NULL};
    struct ce_text back = {.data = NULL};
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_tokenizer_encode(tokenizer, text, 3, false, &ids, &err), CE_OK);
    assert_ids(&ids, "0 2 1");
    assert_int_equal(
        ce_tokenizer_decode(tokenizer, ids.id, ids.count, false, &back, &err), CE_OK);
    assert_int_equal(back.bytes, 3);
    assert_memory_equal(back.data, text, 4);
    ce_ids_free(&ids);
    ce_text_free(&back);
    ce_tokenizer_close(tokenizer);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_follow_their_rank),
        cmocka_unit_test(characters_without_token_are_dropped),
        cmocka_unit_test(ignored_merges_take_whole_pieces),
        cmocka_unit_test(the_later_of_two_equal_merges_counts),
        cmocka_unit_test(added_tokens_are_cut_out_longest_first),
        cmocka_unit_test(added_tokens_can_be_single_words),
        cmocka_unit_test(added_tokens_can_strip_white_space),
        cmocka_unit_test(stripped_space_can_be_a_token_itself),
        cmocka_unit_test(special_tokens_can_be_plain_text),
        cmocka_unit_test(normalized_tokens_match_normalized_text),
        cmocka_unit_test(the_vocabulary_names_the_id),
        cmocka_unit_test(every_segment_is_normalized_by_itself),
        cmocka_unit_test(unknown_characters_fall_back),
        cmocka_unit_test(templates_put_ids_around),
        cmocka_unit_test_setup_teardown(
            the_config_decides_about_both_ends, temporary_setup, temporary_teardown),
        cmocka_unit_test_setup_teardown(
            bad_configs_are_refused, temporary_setup, temporary_teardown),
        cmocka_unit_test_setup_teardown(
            missing_files_are_named, temporary_setup, temporary_teardown),
        cmocka_unit_test(invalid_text_is_refused_with_its_offset),
        cmocka_unit_test(a_nul_is_a_character),
    };

    return cmocka_run_group_tests_name("model.tokenizer_encode", tests, NULL, NULL);
}
