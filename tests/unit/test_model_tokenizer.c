/* What is refused, and how: nothing in a tokenizer.json is trusted. */

#include "tokenizer_fixture.h"

/* Appends `part` to the string `text`. */
static void repeat(char *text, size_t size, const char *part, int times)
{
    for (int i = 0; i < times; i++) {
        size_t used = strlen(text);
        int length = snprintf(text + used, size - used, "%s", part);

        assert_true(length > 0 && (size_t)length < size - used);
    }
}

#define ADDED(id, content) "{\"id\": " id ", \"content\": \"" content "\"}"

static void the_smallest_tokenizer_opens(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = fixture_create(&(struct fixture){0});

    assert_int_equal(ce_tokenizer_size(tokenizer), 14);
    ce_tokenizer_close(tokenizer);
    ce_tokenizer_close(NULL);
}

static void size_counts_added_tokens(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer =
        fixture_create(&(struct fixture){.added_tokens = "[" ADDED("99", "<A>") "]"});

    assert_int_equal(ce_tokenizer_size(tokenizer), 100);
    ce_tokenizer_close(tokenizer);
}

static void broken_documents_are_refused(void **state)
{
    (void)state;
    static const char *const documents[] = {"",
                                            "{",
                                            "[]",
                                            "{}",
                                            "{\"model\": {}}",
                                            "{\"a\": 1, \"a\": 2}",
                                            "{\"a\\u0000\": 1}"};

    for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
        struct ce_tokenizer *tokenizer = NULL;
        struct ce_error err = {.text = ""};

        assert_int_not_equal(
            ce_tokenizer_parse(
                &tokenizer, documents[i], strlen(documents[i]), "t.json", &err),
            CE_OK);
        assert_null(tokenizer);
        assert_memory_equal(err.text, "t.json: ", 8);
    }
}

static void unknown_version_is_refused(void **state)
{
    (void)state;
    fixture_refused(&(struct fixture){.more = "\"version\": \"2.0\", "},
                    CE_ERR_UNSUPPORTED,
                    "t.json: version: is not 1.0");
}

static void unknown_components_are_refused_by_name(void **state)
{
    (void)state;
    fixture_refused(&(struct fixture){.normalizer = "{\"type\": \"Lowercase\"}"},
                    CE_ERR_UNSUPPORTED,
                    "t.json: normalizer: type \"Lowercase\" is not supported");
    fixture_refused(&(struct fixture){.pre_tokenizer = "{\"type\": \"Metaspace\"}"},
                    CE_ERR_UNSUPPORTED,
                    "t.json: pre_tokenizer: type \"Metaspace\" is not supported");
    fixture_refused(&(struct fixture){.decoder = "{\"type\": \"CTC\"}"},
                    CE_ERR_UNSUPPORTED,
                    "t.json: decoder: type \"CTC\" is not supported");
    fixture_refused(
        &(struct fixture){.post_processor = "{\"type\": \"Bert\\u001b[1m\"}"},
        CE_ERR_UNSUPPORTED,
        "t.json: post_processor: type \"Bert?[1m\" is not supported");
    fixture_refused(&(struct fixture){.model = "{\"type\": \"Unigram\"}"},
                    CE_ERR_UNSUPPORTED,
                    "t.json: model: type \"Unigram\" is not supported");
    fixture_refused(
        &(struct fixture){.pre_tokenizer =
                              "{\"type\": \"Sequence\", \"pretokenizers\": ["
                              "{\"type\": \"Digits\"}, {\"type\": \"Sequence\", "
                              "\"pretokenizers\": [{\"type\": \"X\"}]}]}"},
        CE_ERR_UNSUPPORTED,
        "t.json: pre_tokenizer.pretokenizers[1].pretokenizers[0]: type \"X\" is not "
        "supported");
}

static void malformed_components_are_refused(void **state)
{
    (void)state;
    fixture_refused(&(struct fixture){.normalizer = "7"},
                    CE_ERR_FORMAT,
                    "t.json: normalizer: is not an object");
    fixture_refused(&(struct fixture){.normalizer = "{\"type\": null}"},
                    CE_ERR_FORMAT,
                    "t.json: normalizer.type: is not a string");
    fixture_refused(&(struct fixture){.normalizer = "{\"type\": \"Sequence\"}"},
                    CE_ERR_FORMAT,
                    "t.json: normalizer.normalizers: is not a list");
    fixture_refused(
        &(struct fixture){.pre_tokenizer =
                              "{\"type\": \"ByteLevel\", \"use_regex\": \"yes\"}"},
        CE_ERR_FORMAT,
        "t.json: pre_tokenizer.use_regex: is not true or false");
    fixture_refused(
        &(struct fixture){.pre_tokenizer = "{\"type\": \"Split\", \"pattern\": \" \"}"},
        CE_ERR_FORMAT,
        "t.json: pre_tokenizer.pattern: is not one string named Regex or String");
    fixture_refused(
        &(struct fixture){.pre_tokenizer =
                              "{\"type\": \"Split\", \"behavior\": \"Some\", "
                              "\"pattern\": {\"String\": \" \"}}"},
        CE_ERR_FORMAT,
        "t.json: pre_tokenizer.behavior: is none of the known ones");
}

static void patterns_that_do_not_compile_are_refused(void **state)
{
    (void)state;
    static const char head[] = "{\"type\": \"Split\", \"behavior\": \"Isolated\", "
                               "\"pattern\": {\"Regex\": \"";
    static const char *const patterns[] = {
        "(", "[b-a]", "(?{callout})", "(*FAIL)", "x{9999999}"};

    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        char text[256];
        struct ce_tokenizer *tokenizer = NULL;
        struct ce_error err = {.text = ""};

        (void)snprintf(text, sizeof(text), "%s%s\"}}", head, patterns[i]);
        assert_int_equal(
            fixture_parse(&tokenizer, &(struct fixture){.pre_tokenizer = text}, &err),
            CE_ERR_UNSUPPORTED);
        assert_non_null(strstr(err.text, "t.json: pre_tokenizer.pattern: "));
    }
}

static void nested_sequences_are_bounded(void **state)
{
    (void)state;
    char text[4096] = "";

    repeat(text, sizeof(text), "{\"type\": \"Sequence\", \"normalizers\": [", 20);
    repeat(text, sizeof(text), "{\"type\": \"NFC\"}", 1);
    repeat(text, sizeof(text), "]}", 20);
    struct ce_tokenizer *tokenizer = NULL;
    struct ce_error err = {.text = ""};

    assert_int_equal(
        fixture_parse(&tokenizer, &(struct fixture){.normalizer = text}, &err),
        CE_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "Sequences are nested too deep"));
}

static void long_sequences_are_bounded(void **state)
{
    (void)state;
    char text[4096] = "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}";

    repeat(text, sizeof(text), ", {\"type\": \"NFC\"}", 32);
    repeat(text, sizeof(text), "]}", 1);
    fixture_refused(&(struct fixture){.normalizer = text},
                    CE_ERR_UNSUPPORTED,
                    "t.json: normalizer.normalizers[32].type: one normalizer too many");
}

static void byte_level_at_one_end_only_is_refused(void **state)
{
    (void)state;
    fixture_refused(
        &(struct fixture){.decoder = "{\"type\": \"Fuse\"}"},
        CE_ERR_UNSUPPORTED,
        "t.json: decoder: ByteLevel in only one of pre_tokenizer and decoder "
        "is not supported");
    fixture_refused(&(struct fixture){.decoder = "null"},
                    CE_ERR_UNSUPPORTED,
                    "t.json: decoder: is missing");
    fixture_refused(
        &(struct fixture){
            .pre_tokenizer =
                "{\"type\": \"Sequence\", \"pretokenizers\": [" FIXTURE_BYTE_LEVEL
                ", {\"type\": \"Digits\"}]}"},
        CE_ERR_UNSUPPORTED,
        "t.json: pre_tokenizer.pretokenizers[1].type: stands behind ByteLevel");
}

static void decoders_out_of_order_are_refused(void **state)
{
    (void)state;
    fixture_refused(
        &(struct fixture){.pre_tokenizer = "null",
                          .decoder =
                              "{\"type\": \"Sequence\", \"decoders\": ["
                              "{\"type\": \"Fuse\"}, {\"type\": \"ByteFallback\"}]}"},
        CE_ERR_UNSUPPORTED,
        "t.json: decoder.decoders[1].type: is supported only in the order Replace, "
        "ByteFallback, Fuse, Strip");
    fixture_refused(&(struct fixture){.pre_tokenizer = "null",
                                      .decoder =
                                          "{\"type\": \"Sequence\", \"decoders\": ["
                                          "{\"type\": \"Fuse\"}, {\"type\": \"Strip\", "
                                          "\"content\": \"x\", \"stop\": 1}]}"},
                    CE_ERR_UNSUPPORTED,
                    "t.json: decoder.decoders[1].stop: is supported only as 0");
    fixture_refused(&(struct fixture){.pre_tokenizer = "null",
                                      .decoder =
                                          "{\"type\": \"Sequence\", \"decoders\": ["
                                          "{\"type\": \"Fuse\"}, {\"type\": \"Strip\", "
                                          "\"content\": \"xy\"}]}"},
                    CE_ERR_FORMAT,
                    "t.json: decoder.decoders[1].content: is not one character");
}

static void refuses_model(const char *fields, enum ce_status code, const char *text)
{
    char model[1024];

    (void)snprintf(model, sizeof(model), "{%s}", fields);
    fixture_refused(&(struct fixture){.model = model}, code, text);
}

static void bad_vocabularies_are_refused(void **state)
{
    (void)state;
    refuses_model(
        "\"merges\": []", CE_ERR_FORMAT, "t.json: model.vocab: is not an object");
    refuses_model(
        "\"vocab\": {}", CE_ERR_FORMAT, "t.json: model.merges: is not a list");
    refuses_model("\"vocab\": {\"a\": \"b\"}, \"merges\": []",
                  CE_ERR_FORMAT,
                  "t.json: model.vocab: \"a\" has no id from 0 to 2^24 - 1");
    refuses_model("\"vocab\": {\"a\": -1}, \"merges\": []",
                  CE_ERR_FORMAT,
                  "t.json: model.vocab: \"a\" has no id from 0 to 2^24 - 1");
    refuses_model("\"vocab\": {\"a\": 16777216}, \"merges\": []",
                  CE_ERR_FORMAT,
                  "t.json: model.vocab: \"a\" has no id from 0 to 2^24 - 1");
    refuses_model("\"vocab\": {\"a\": 1, \"b\": 1}, \"merges\": []",
                  CE_ERR_FORMAT,
                  "t.json: the id 1 of \"b\" is that of another token");
}

static void the_highest_id_is_accepted(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = fixture_create(
        &(struct fixture){.model = "{\"vocab\": {\"a\": 16777215}, \"merges\": []}"});

    assert_int_equal(ce_tokenizer_size(tokenizer), 16777216);
    assert_encodes(tokenizer, "a", "16777215");
    ce_tokenizer_close(tokenizer);
}

static void bad_merges_are_refused(void **state)
{
    (void)state;
    static const char *const merges[] = {"7",
                                         "\"ab\"",
                                         "\"a b c\"",
                                         "[\"a\"]",
                                         "[\"a\", \"b\", \"c\"]",
                                         "[\"a\", 1]",
                                         "{}"};

    for (size_t i = 0; i < sizeof(merges) / sizeof(merges[0]); i++) {
        char fields[256];

        (void)snprintf(fields,
                       sizeof(fields),
                       "\"vocab\": {\"a\": 0}, \"merges\": [\"#version: 0.2\", %s]",
                       merges[i]);
        refuses_model(
            fields, CE_ERR_FORMAT, "t.json: model.merges[1]: is not two strings");
    }
    refuses_model(
        "\"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": [\"a b\"]",
        CE_ERR_FORMAT,
        "t.json: model.merges[0]: a part or the result is not in model.vocab");
    refuses_model(
        "\"vocab\": {\"a\": 0, \"ab\": 1}, \"merges\": [\"a b\"]",
        CE_ERR_FORMAT,
        "t.json: model.merges[0]: a part or the result is not in model.vocab");
}

static void unsupported_parts_of_the_model_are_refused(void **state)
{
    (void)state;
    refuses_model("\"dropout\": 0.5",
                  CE_ERR_UNSUPPORTED,
                  "t.json: model.dropout: is not supported");
    refuses_model("\"continuing_subword_prefix\": \"##\"",
                  CE_ERR_UNSUPPORTED,
                  "t.json: model.continuing_subword_prefix: is not supported");
    refuses_model("\"end_of_word_suffix\": \"</w>\"",
                  CE_ERR_UNSUPPORTED,
                  "t.json: model.end_of_word_suffix: is not supported");
    refuses_model("\"unk_token\": \"?\", \"vocab\": {}, \"merges\": []",
                  CE_ERR_FORMAT,
                  "t.json: model.unk_token: is not in model.vocab");
    refuses_model("\"ignore_merges\": 1",
                  CE_ERR_FORMAT,
                  "t.json: model.ignore_merges: is not true or false");
}

static void refuses_added(const char *added, enum ce_status code, const char *text)
{
    fixture_refused(&(struct fixture){.added_tokens = added}, code, text);
}

static void bad_added_tokens_are_refused(void **state)
{
    (void)state;
    refuses_added("7", CE_ERR_FORMAT, "t.json: added_tokens: is not a list");
    refuses_added(
        "[7]", CE_ERR_FORMAT, "t.json: added_tokens[0].content: is not a string");
    refuses_added("[{\"content\": \"<A>\"}]",
                  CE_ERR_FORMAT,
                  "t.json: added_tokens[0].id: is not a number from 0 to 2^24 - 1");
    refuses_added("[" ADDED("16777216", "<A>") "]",
                  CE_ERR_FORMAT,
                  "t.json: added_tokens[0].id: is not a number from 0 to 2^24 - 1");
    refuses_added("[" ADDED("20", "<A>") ", " ADDED("20", "<B>") "]",
                  CE_ERR_FORMAT,
                  "t.json: the id 20 of \"<B>\" is that of another token");
    refuses_added("[" ADDED("20", "<A>") ", " ADDED("21", "<A>") "]",
                  CE_ERR_FORMAT,
                  "t.json: added_tokens[1].content: is that of another added token");
    refuses_added("[" ADDED("1", "<A>") "]",
                  CE_ERR_FORMAT,
                  "t.json: the id 1 of \"<A>\" is that of another token");
}

static void long_added_tokens_are_refused(void **state)
{
    (void)state;
    char text[2048] = "[{\"id\": 20, \"content\": \"";

    repeat(text, sizeof(text), "x", 1025);
    repeat(text, sizeof(text), "\"}]", 1);
    refuses_added(
        text, CE_ERR_UNSUPPORTED, "t.json: added_tokens[0].content: is too long");
}

static void bad_templates_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        const char *why;
    } cases[] = {
        {"\"single\": null", "is not a list"},
        {"\"single\": []", "is not of one sequence A"},
        {"\"single\": [{\"Sequence\": {\"id\": \"B\"}}]", "is not of one sequence A"},
        {"\"single\": [{\"Sequence\": {\"id\": \"A\"}}, {\"Sequence\": {\"id\": "
         "\"A\"}}]",
         "is not of one sequence A"},
        {"\"single\": [{\"SpecialToken\": {\"id\": \"<s>\"}}]",
         "names a token without ids"},
        {"\"special_tokens\": {\"<s>\": {\"ids\": [-1]}}, "
         "\"single\": [{\"SpecialToken\": {\"id\": \"<s>\"}}]",
         "has an id that is out of range"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512];
        char wanted[256];

        (void)snprintf(text,
                       sizeof(text),
                       "{\"type\": \"TemplateProcessing\", %s}",
                       cases[i].fields);
        (void)snprintf(
            wanted, sizeof(wanted), "t.json: post_processor.single: %s", cases[i].why);
        fixture_refused(
            &(struct fixture){.post_processor = text}, CE_ERR_UNSUPPORTED, wanted);
    }
}

static void templates_of_unknown_ids_are_refused(void **state)
{
    (void)state;
    fixture_refused(
        &(struct fixture){
            .post_processor =
                "{\"type\": \"TemplateProcessing\", \"special_tokens\": "
                "{\"<s>\": {\"ids\": [14]}}, \"single\": [{\"Sequence\": {\"id\": "
                "\"A\"}}, {\"SpecialToken\": {\"id\": \"<s>\"}}]}"},
        CE_ERR_FORMAT,
        "t.json: post_processor: there is no token 14");
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_tokenizer_opens),
        cmocka_unit_test(size_counts_added_tokens),
        cmocka_unit_test(broken_documents_are_refused),
        cmocka_unit_test(unknown_version_is_refused),
        cmocka_unit_test(unknown_components_are_refused_by_name),
        cmocka_unit_test(malformed_components_are_refused),
        cmocka_unit_test(patterns_that_do_not_compile_are_refused),
        cmocka_unit_test(nested_sequences_are_bounded),
        cmocka_unit_test(long_sequences_are_bounded),
        cmocka_unit_test(byte_level_at_one_end_only_is_refused),
        cmocka_unit_test(decoders_out_of_order_are_refused),
        cmocka_unit_test(bad_vocabularies_are_refused),
        cmocka_unit_test(the_highest_id_is_accepted),
        cmocka_unit_test(bad_merges_are_refused),
        cmocka_unit_test(unsupported_parts_of_the_model_are_refused),
        cmocka_unit_test(bad_added_tokens_are_refused),
        cmocka_unit_test(long_added_tokens_are_refused),
        cmocka_unit_test(bad_templates_are_refused),
        cmocka_unit_test(templates_of_unknown_ids_are_refused),
    };

    return cmocka_run_group_tests_name("model.tokenizer", tests, NULL, NULL);
}
