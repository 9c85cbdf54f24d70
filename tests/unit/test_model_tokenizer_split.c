/* How text is cut into pieces. What the pieces are wanted to be was computed by
 * the `tokenizers` library 0.23. */

#include "model/tokenizer/pretokenizer.h"
#include "tokenizer_fixture.h"

static enum ce_status collect(void *user, struct ce_span piece, struct ce_error *err)
{
    struct ce_text *pieces = user;

    if (pieces->bytes > 0) {
        enum ce_status status =
            ce_text_append(pieces, (struct ce_span){.data = "/", .bytes = 1}, err);

        assert_int_equal(status, CE_OK);
    }
    return ce_text_append(pieces, piece, err);
}

/* `component` as it stands in the file; pieces joined by "/". */
static void assert_cuts(const char *component, const char *text, const char *wanted)
{
    struct ce_error err = {.text = ""};
    struct ce_pretokenizer pretokenizer = {.steps = 0};
    struct ce_text pieces = {.data = NULL};
    struct ce_budget budget;
    struct ce_cutting cutting = {.pretokenizer = &pretokenizer,
                                 .regex = ce_regex_scratch_create(&budget),
                                 .sink = collect,
                                 .user = &pieces};
    json_t *root = json_pack("{s:o}", "pre_tokenizer", json_loads(component, 0, NULL));

    ce_budget_begin(&budget, strlen(text));
    assert_non_null(root);
    assert_int_equal(ce_pretokenizer_read(&pretokenizer, root, "t.json", &err), CE_OK);
    assert_int_equal(
        ce_pretokenizer_cut(
            &cutting, (struct ce_span){.data = text, .bytes = strlen(text)}, &err),
        CE_OK);
    assert_string_equal(pieces.data == NULL ? "" : pieces.data, wanted);
    json_decref(root);
    ce_text_free(&pieces);
    ce_text_free(&cutting.prefixed);
    ce_regex_scratch_destroy(cutting.regex);
    ce_pretokenizer_fini(&pretokenizer);
}

static void
cuts_by(const char *pattern, const char *behavior, const char *text, const char *wanted)
{
    char component[512];

    (void)snprintf(component,
                   sizeof(component),
                   "{\"type\": \"Split\", \"pattern\": %s, \"behavior\": %s}",
                   pattern,
                   behavior);
    assert_cuts(component, text, wanted);
}

static void behaviors_are_those_of_the_header(void **state)
{
    (void)state;
    static const char text[] = "the-final--countdown";
    static const char dash[] = "{\"String\": \"-\"}";

    cuts_by(dash, "\"Isolated\"", text, "the/-/final/-/-/countdown");
    cuts_by(dash, "\"Removed\"", text, "the/final/countdown");
    cuts_by(dash, "\"MergedWithPrevious\"", text, "the-/final-/-/countdown");
    cuts_by(dash, "\"MergedWithNext\"", text, "the/-final/-/-countdown");
    cuts_by(dash, "\"Contiguous\"", text, "the/-/final/--/countdown");
}

static void behaviors_can_be_inverted(void **state)
{
    (void)state;
    static const struct {
        const char *behavior;
        const char *wanted;
    } cases[] = {
        {"\"Isolated\", \"invert\": true", "a/b/b/ca/b/b"},
        {"\"Removed\", \"invert\": true", "b/b/b/b"},
        {"\"MergedWithPrevious\", \"invert\": true", "a/b/bca/b/b"},
        {"\"MergedWithNext\", \"invert\": true", "ab/b/cab/b"},
        {"\"Contiguous\", \"invert\": true", "a/bb/ca/bb"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cuts_by("{\"Regex\": \"b\"}", cases[i].behavior, "abbcabb", cases[i].wanted);
    }
}

static void matches_at_the_edges_leave_no_empty_pieces(void **state)
{
    (void)state;
    cuts_by("{\"String\": \"-\"}", "\"Isolated\"", "-a-", "-/a/-");
    cuts_by("{\"String\": \"-\"}", "\"Removed\"", "---", "");
    cuts_by("{\"String\": \"-\"}", "\"MergedWithNext\"", "a-", "a/-");
}

static void empty_matches_cut_between_characters(void **state)
{
    (void)state;
    cuts_by("{\"String\": \"\"}", "\"Isolated\"", "aé漢b", "a/é/漢/b");
    cuts_by("{\"Regex\": \"a*\"}", "\"Isolated\"", "baac", "b/aa/c");
    cuts_by("{\"Regex\": \"\\\\b\"}", "\"MergedWithPrevious\"", "f, g", "f/, /g");
    cuts_by("{\"Regex\": \"(?=b)\"}", "\"Removed\"", "abab", "a/ba/b");
    cuts_by("{\"Regex\": \"x\\\\Ky\"}", "\"Isolated\"", "axyb", "ax/y/b");
}

static void strings_are_literal(void **state)
{
    (void)state;
    cuts_by("{\"String\": \"a.b\"}", "\"Isolated\"", "axba.b", "axb/a.b");
    cuts_by("{\"String\": \"[]{}()*+?|^$#&-~\\\\\"}",
            "\"Removed\"",
            "x[]{}()*+?|^$#&-~\\y",
            "x/y");
}

static void byte_level_cuts_as_gpt2_does(void **state)
{
    (void)state;
    static const char plain[] = FIXTURE_BYTE_LEVEL;

    assert_cuts(plain, "I'm we'LL  go\n\n 12x", "I/'m/ we/'/LL/ / go/\n\n/ 12/x");
    assert_cuts(plain, "a   ", "a/   ");
    assert_cuts(plain, "", "");
    assert_cuts(
        "{\"type\": \"ByteLevel\", \"add_prefix_space\": true}", "a b", " a/ b");
    assert_cuts(
        "{\"type\": \"ByteLevel\", \"add_prefix_space\": true}", " a b", " a/ b");
    assert_cuts("{\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                "\"use_regex\": false}",
                "a b",
                "a b");
}

static void the_prefix_space_goes_before_every_part(void **state)
{
    (void)state;
    assert_cuts("{\"type\": \"Sequence\", \"pretokenizers\": ["
                "{\"type\": \"Split\", \"pattern\": {\"String\": \"-\"}, "
                "\"behavior\": \"Isolated\"}, "
                "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
                "\"use_regex\": false}]}",
                "a-b",
                " a/ -/ b");
}

static void digits_are_all_numbers_of_unicode(void **state)
{
    (void)state;
    assert_cuts("{\"type\": \"Digits\", \"individual_digits\": true}",
                "a12½Ⅷ٣b",
                "a/1/2/½/Ⅷ/٣/b");
    assert_cuts("{\"type\": \"Digits\"}", "a12½Ⅷ٣b3", "a/12½Ⅷ٣/b/3");
    assert_cuts("{\"type\": \"Digits\"}", "", "");
}

static void sequences_cut_the_parts_of_the_step_before(void **state)
{
    (void)state;
    assert_cuts("{\"type\": \"Sequence\", \"pretokenizers\": ["
                "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\s?[a-z]+\"}, "
                "\"behavior\": \"Isolated\"}, "
                "{\"type\": \"Digits\", \"individual_digits\": true}, "
                "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                "\"use_regex\": false}]}",
                "ab cd12, x",
                "ab/ cd/1/2/,/ x");
}

/* Its steps double with every x. */
static void hostile_patterns_end_with_an_error(void **state)
{
    (void)state;
    static const char component[] =
        "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(x+x+)+y\"}, "
        "\"behavior\": \"Isolated\"}";
    struct ce_tokenizer *tokenizer = fixture_create(
        &(struct fixture){.pre_tokenizer = component,
                          .decoder = "{\"type\": \"Fuse\"}",
                          .model = "{\"vocab\": {\"x\": 0}, \"merges\": []}"});
    struct ce_ids ids = {.id = NULL};
    struct ce_error err = {.text = ""};
    char text[2000];

    (void)memset(text, 'x', sizeof(text));
    assert_int_equal(
        ce_tokenizer_encode(tokenizer, text, sizeof(text), false, &ids, &err),
        CE_ERR_UNSUPPORTED);
    assert_string_equal(err.text,
                        "t.json: pre_tokenizer.pattern: takes too many steps on this "
                        "text");
    assert_int_equal(ids.count, 0);
    ce_ids_free(&ids);
    ce_tokenizer_close(tokenizer);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaviors_are_those_of_the_header),
        cmocka_unit_test(behaviors_can_be_inverted),
        cmocka_unit_test(matches_at_the_edges_leave_no_empty_pieces),
        cmocka_unit_test(empty_matches_cut_between_characters),
        cmocka_unit_test(strings_are_literal),
        cmocka_unit_test(byte_level_cuts_as_gpt2_does),
        cmocka_unit_test(the_prefix_space_goes_before_every_part),
        cmocka_unit_test(digits_are_all_numbers_of_unicode),
        cmocka_unit_test(sequences_cut_the_parts_of_the_step_before),
        cmocka_unit_test(hostile_patterns_end_with_an_error),
    };

    return cmocka_run_group_tests_name("model.tokenizer_split", tests, NULL, NULL);
}
