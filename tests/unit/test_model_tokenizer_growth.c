/* Small files that make much of a text: an error that names the field, soon. */

#include "base/clock.h"
#include "tokenizer_fixture.h"

static char *repeat(const char *text, size_t times)
{
    size_t bytes = strlen(text);
    char *out = calloc(times * bytes + 1, 1);

    assert_non_null(out);
    for (size_t i = 0; i < times; i++) {
        (void)memcpy(out + i * bytes, text, bytes);
    }
    return out;
}

static void
assert_refuses(const struct fixture *fixture, const char *text, const char *why)
{
    struct ce_tokenizer *tokenizer = fixture_create(fixture);
    struct ce_ids ids = {.id = NULL};
    struct ce_error err = {.text = ""};

    assert_int_equal(
        ce_tokenizer_encode(tokenizer, text, strlen(text), false, &ids, &err),
        CE_ERR_UNSUPPORTED);
    assert_string_equal(err.text, why);
    assert_int_equal(ids.count, 0);
    ce_ids_free(&ids);
    ce_tokenizer_close(tokenizer);
}

/* `count` steps, each with `content` in place of every a. */
static char *replaces(size_t count, size_t bytes)
{
    char *content = repeat("a", bytes);
    char *json = calloc(count + 1, bytes + 128);
    size_t used = 0;

    assert_non_null(json);
    for (size_t i = 0; i < count; i++) {
        used += (size_t)sprintf(json + used,
                                "%s{\"type\": \"Replace\", \"pattern\": {\"String\": "
                                "\"a\"}, \"content\": \"%s\"}",
                                i == 0 ? "" : ", ",
                                content);
    }
    free(content);
    return json;
}

static char *sequence(const char *list, const char *members)
{
    size_t size = strlen(members) + 64;
    char *json = malloc(size);

    assert_non_null(json);
    (void)snprintf(json, size, "{\"type\": \"Sequence\", \"%s\": [%s]}", list, members);
    return json;
}

static void a_chain_of_replacements_is_bounded(void **state)
{
    (void)state;
    char *members = replaces(6, 900);
    char *normalizer = sequence("normalizers", members);

    assert_refuses(&(struct fixture){.normalizer = normalizer},
                   "aab",
                   "t.json: normalizer.normalizers[1]: the normalizer Replace makes "
                   "too much of a text of 3 bytes: all normalizers together may make "
                   "65584 bytes of it");
    free(members);
    free(normalizer);
}

/* Each of many segments has little, all of them much. */
static void segments_share_the_bound(void **state)
{
    (void)state;
    char *content = repeat("a", 1000);
    char *text = repeat("b<s>", 1000);
    char normalizer[1200];

    (void)snprintf(normalizer,
                   sizeof(normalizer),
                   "{\"type\": \"Prepend\", \"prepend\": \"%s\"}",
                   content);
    assert_refuses(
        &(struct fixture){.normalizer = normalizer,
                          .added_tokens = "[{\"id\": 14, \"content\": \"<s>\"}]"},
        text,
        "t.json: normalizer: the normalizer Prepend makes too much of a text of 4000 "
        "bytes: all normalizers together may make 129536 bytes of it");
    free(content);
    free(text);
}

/* What known models do, twice: three bytes of one. */
static void a_text_of_spaces_may_triple(void **state)
{
    (void)state;
    char *text = repeat(" ", 100000);
    struct ce_tokenizer *tokenizer = fixture_create(&(struct fixture){
        .normalizer = "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, "
                      "\"content\": \"\\u2581\"}",
        .pre_tokenizer = "null",
        .decoder = "{\"type\": \"Fuse\"}",
        .model = "{\"vocab\": {\"\\u2581\": 0}, \"merges\": []}"});
    struct ce_ids ids = {.id = NULL};
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_tokenizer_encode(tokenizer, text, 100000, false, &ids, &err),
                     CE_OK);
    assert_int_equal(ids.count, 100000);
    ce_ids_free(&ids);
    ce_tokenizer_close(tokenizer);
    free(text);
}

static void an_added_token_is_bounded_once_normalized(void **state)
{
    (void)state;
    char *members = replaces(3, 900);
    char *normalizer = sequence("normalizers", members);

    fixture_refused(
        &(struct fixture){.normalizer = normalizer,
                          .added_tokens = "[{\"id\": 14, \"content\": \"aaaa\", "
                                          "\"normalized\": true}]"},
        CE_ERR_UNSUPPORTED,
        "t.json: normalizer.normalizers[1]: the normalizer Replace makes too much of a "
        "text of 4 bytes: all normalizers together may make 65600 bytes of it");
    free(members);
    free(normalizer);
}

static void a_chain_of_decoders_is_bounded(void **state)
{
    (void)state;
    char *members = replaces(4, 900);
    char *decoder = sequence("decoders", members);

    fixture_refused(&(struct fixture){.decoder = decoder,
                                      .pre_tokenizer = "null",
                                      .model = "{\"vocab\": {\"ab\": 0, \"a\": 1}, "
                                               "\"merges\": []}"},
                    CE_ERR_UNSUPPORTED,
                    "t.json: decoder.decoders[1]: makes too much of the tokens: all "
                    "together may become 65584 bytes");
    free(members);
    free(decoder);
}

static void a_token_stands_for_a_bounded_text(void **state)
{
    (void)state;
    char *token = repeat("x", 17000);
    size_t size = strlen(token) + 64;
    char *model = malloc(size);

    assert_non_null(model);
    (void)snprintf(model, size, "{\"vocab\": {\"%s\": 0}, \"merges\": []}", token);
    fixture_refused(&(struct fixture){.model = model},
                    CE_ERR_UNSUPPORTED,
                    "t.json: model.vocab: the token 0, "
                    "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                    "\", stands for "
                    "more than 16384 bytes of text");
    free(model);
    free(token);
}

static void a_template_puts_few_ids_around_a_text(void **state)
{
    (void)state;
    char *ids = repeat(", 0", 600);
    char post[4096];

    (void)snprintf(post,
                   sizeof(post),
                   "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": "
                   "{\"id\": \"s\"}}, {\"Sequence\": {\"id\": \"A\"}}, "
                   "{\"SpecialToken\": {\"id\": \"s\"}}], \"special_tokens\": "
                   "{\"s\": {\"ids\": [0%s]}}}",
                   ids);
    fixture_refused(
        &(struct fixture){.post_processor = post},
        CE_ERR_UNSUPPORTED,
        "t.json: post_processor.single: puts more than 1024 ids around a text");
    free(ids);
}

static double seconds_since(uint64_t start)
{
    return (double)(ce_clock_ns() - start) / 1e9;
}

/* Every search ends, with 2^18 steps; there are a thousand. */
static void many_slow_searches_are_bounded(void **state)
{
    (void)state;
    char *text = repeat("aaaaaaaaaaaaaaaac", 1000);
    uint64_t start = ce_clock_ns();

    assert_refuses(
        &(struct fixture){.pre_tokenizer =
                              "{\"type\": \"Split\", \"pattern\": {\"Regex\": "
                              "\"(?:(?:a|a)*b|.)\"}, \"behavior\": \"Isolated\"}",
                          .decoder = "{\"type\": \"Fuse\"}"},
        text,
        "t.json: pre_tokenizer.pattern: takes too many steps on this text");
    assert_true(seconds_since(start) < 30);
    free(text);
}

/* The search for added tokens begins anew at every byte. */
static void long_added_tokens_are_looked_for_in_bounded_time(void **state)
{
    (void)state;
    char *long_token = repeat("a", 1023);
    char *text = repeat("a", 300000);
    char added[1200];

    (void)snprintf(
        added, sizeof(added), "[{\"id\": 14, \"content\": \"%sc\"}]", long_token);
    assert_refuses(&(struct fixture){.added_tokens = added},
                   text,
                   "t.json: added_tokens: looking for them takes too many steps on "
                   "this text");
    free(long_token);
    free(text);
}

/* One piece of a million letters that all merge: not in quadratic time. */
static void one_long_piece_takes_little_time(void **state)
{
    (void)state;
    char *text = repeat("a", 1000000);
    struct ce_tokenizer *tokenizer = fixture_create(
        &(struct fixture){.pre_tokenizer = "null",
                          .decoder = "{\"type\": \"Fuse\"}",
                          .model = "{\"vocab\": {\"a\": 0, \"aa\": 1, \"aaaa\": 2}, "
                                   "\"merges\": [\"a a\", \"aa aa\"]}"});
    struct ce_ids ids = {.id = NULL};
    struct ce_error err = {.text = ""};
    uint64_t start = ce_clock_ns();

    assert_int_equal(ce_tokenizer_encode(tokenizer, text, 1000000, false, &ids, &err),
                     CE_OK);
    assert_int_equal(ids.count, 250000);
    assert_true(seconds_since(start) < 30); /* quadratic: hours */
    ce_ids_free(&ids);
    ce_tokenizer_close(tokenizer);
    free(text);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_of_replacements_is_bounded),
        cmocka_unit_test(segments_share_the_bound),
        cmocka_unit_test(a_text_of_spaces_may_triple),
        cmocka_unit_test(an_added_token_is_bounded_once_normalized),
        cmocka_unit_test(a_chain_of_decoders_is_bounded),
        cmocka_unit_test(a_token_stands_for_a_bounded_text),
        cmocka_unit_test(a_template_puts_few_ids_around_a_text),
        cmocka_unit_test(many_slow_searches_are_bounded),
        cmocka_unit_test(long_added_tokens_are_looked_for_in_bounded_time),
        cmocka_unit_test(one_long_piece_takes_little_time),
    };

    return cmocka_run_group_tests_name("model.tokenizer_growth", tests, NULL, NULL);
}
