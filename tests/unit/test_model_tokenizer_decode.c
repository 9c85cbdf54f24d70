/* Ids to text, at once and as a stream. */

#include "base/random.h"
#include "model/tokenizer/text.h"
#include "model/tokenizer/utf8.h"
#include "tokenizer_fixture.h"

/* One token a byte: the byte 0xF0 is the token 0xF0. */
static struct ce_tokenizer *create_bytes_tokenizer(void)
{
    char *model = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&model, &bytes);
    unsigned moved = 0x100;

    assert_non_null(out);
    (void)fprintf(out, "{\"vocab\": {");
    for (unsigned byte = 0; byte < 256; byte++) {
        bool same = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);

        (void)fprintf(out,
                      "%s\"\\u%04x\": %u",
                      byte == 0 ? "" : ", ",
                      same ? byte : moved++,
                      byte);
    }
    (void)fprintf(out, "}, \"merges\": []}");
    assert_int_equal(fclose(out), 0);
    struct ce_tokenizer *tokenizer = fixture_create(&(struct fixture){
        .model = model,
        .added_tokens = "[{\"id\": 256, \"content\": \"<s>\", \"special\": true}, "
                        "{\"id\": 257, \"content\": \"two words\"}, "
                        "{\"id\": 300, \"content\": \"\\u6f22\"}]"});

    free(model);
    return tokenizer;
}

/* U+2581 is the space; tokens 1 to 6 are bytes. */
static struct ce_tokenizer *create_llama_tokenizer(void)
{
    return fixture_create(&(struct fixture){
        .pre_tokenizer = "null",
        .added_tokens = "[{\"id\": 9, \"content\": \"<s>\", \"special\": true}]",
        .decoder = "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", "
                   "\"pattern\": {\"String\": \"\\u2581\"}, \"content\": \" \"}, "
                   "{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, "
                   "{\"type\": \"Strip\", \"content\": \" \", \"start\": 1, "
                   "\"stop\": 0}]}",
        .model = "{\"byte_fallback\": true, \"vocab\": {\"\\u2581world\": 0, "
                 "\"<0xE2>\": 1, \"<0x80>\": 2, \"<0xA9>\": 3, \"<0xF0>\": 4, "
                 "\"<0x20>\": 5, \"<0x9f>\": 6, \"Hello\": 7, \"\\u2581\": 8}, "
                 "\"merges\": []}"});
}

/* Pieces joined by "/", with one more for what finish gives. */
static void assert_streams(const struct ce_tokenizer *tokenizer,
                           const int32_t *ids,
                           size_t count,
                           const char *wanted)
{
    struct ce_decode_stream stream;
    struct ce_text text = {.data = NULL};
    struct ce_error err = {.text = ""};

    ce_decode_stream_init(&stream, tokenizer, false);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(ce_decode_stream_push(&stream, ids[i], &text, &err), CE_OK);
        assert_int_equal(
            ce_text_append(&text, (struct ce_span){.data = "/", .bytes = 1}, &err),
            CE_OK);
    }
    assert_int_equal(ce_decode_stream_finish(&stream, &text, &err), CE_OK);
    assert_string_equal(text.data == NULL ? "" : text.data, wanted);
    ce_decode_stream_fini(&stream);
    ce_text_free(&text);
}

#define IDS(...)                                                                       \
    (const int32_t[]){__VA_ARGS__}, sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t)

#define R "\xEF\xBF\xBD"

static void broken_bytes_are_replaced_by_maximal_subparts(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = create_bytes_tokenizer();

    assert_decodes(tokenizer, IDS(0xF0, 0x9F), R);
    assert_decodes(tokenizer, IDS(0x98, 0x80), R R);
    assert_decodes(tokenizer, IDS(0xF0, 0x9F, 'a'), R "a");
    assert_decodes(tokenizer, IDS(0xE2, 0x82, 0xAC), "\xE2\x82\xAC");
    assert_decodes(tokenizer, IDS(0xE0, 0x80, 0x80), R R R);
    assert_decodes(tokenizer, IDS(0xED, 0xA0, 0x80), R R R);
    assert_decodes(tokenizer, IDS(0xF4, 0x90, 0x80, 0x80), R R R R);
    assert_decodes(tokenizer, IDS(0xF4, 0x8F, 0xC3, 0xA9), R "\xC3\xA9");
    assert_decodes(tokenizer, IDS(0xC0, 0xAF, 0xFF), R R R);
    ce_tokenizer_close(tokenizer);
}

static void streams_hold_back_the_beginning_of_a_character(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = create_bytes_tokenizer();

    assert_streams(tokenizer, IDS('a', 0xE2, 0x82, 0xAC, 'b'), "a///\xE2\x82\xAC/b/");
    assert_streams(tokenizer, IDS(0xE2, 0x82, 'a'), "//" R "a/");
    assert_streams(tokenizer, IDS(0xE2, 0x82), "//" R);
    assert_streams(tokenizer, IDS(0xE2, 0xE2, 0x82, 0xAC), "/" R "//\xE2\x82\xAC/");
    assert_streams(tokenizer, IDS(0x82, 0xFF), R "/" R "/");
    ce_tokenizer_close(tokenizer);
}

static void added_tokens_outside_the_alphabet_are_text(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = create_bytes_tokenizer();

    assert_decodes(tokenizer,
                   IDS('a', 257, 300, 'b'),
                   "atwo words\xE6\xBC\xA2"
                   "b");
    assert_decodes(tokenizer, IDS(0xE2, 300), R "\xE6\xBC\xA2");
    ce_tokenizer_close(tokenizer);
}

static void special_tokens_can_be_skipped(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = create_bytes_tokenizer();
    static const int32_t ids[] = {0xE2, 256, 0x82, 0xAC, 257};
    struct ce_text text = {.data = NULL};
    struct ce_error err = {.text = ""};

    assert_decodes(tokenizer, ids, 5, R "<s>" R R "two words");
    assert_int_equal(ce_tokenizer_decode(tokenizer, ids, 5, true, &text, &err), CE_OK);
    assert_string_equal(text.data, "\xE2\x82\xACtwo words");
    ce_text_free(&text);
    ce_tokenizer_close(tokenizer);
}

static void unknown_ids_are_refused_and_text_stays(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = create_bytes_tokenizer();
    static const int32_t unknown[] = {-1, INT32_MIN, 258, 299, 301, INT32_MAX};
    struct ce_text text = {.data = NULL};
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_tokenizer_decode(tokenizer, IDS('a', 'b'), false, &text, &err),
                     CE_OK);
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        const int32_t ids[] = {'c', unknown[i]};
        char wanted[64];

        (void)snprintf(
            wanted, sizeof(wanted), "the vocabulary has no token %d", (int)unknown[i]);
        assert_int_equal(ce_tokenizer_decode(tokenizer, ids, 2, false, &text, &err),
                         CE_ERR_ARG);
        assert_string_equal(err.text, wanted);
        assert_string_equal(text.data, "ab");
        assert_int_equal(text.bytes, 2);
    }
    ce_text_free(&text);
    ce_tokenizer_close(tokenizer);
}

static void byte_runs_are_text_as_a_whole_or_not_at_all(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = create_llama_tokenizer();

    assert_decodes(tokenizer, IDS(1, 2, 3), "\xE2\x80\xA9");
    assert_decodes(tokenizer, IDS(1, 2), R R);
    assert_decodes(tokenizer, IDS(1, 2, 3, 2), R R R R);
    assert_decodes(tokenizer, IDS(1, 2, 7, 3), R R "Hello" R);
    assert_decodes(tokenizer, IDS(4, 6), R R);
    assert_streams(tokenizer, IDS(1, 2, 3, 7), "///\xE2\x80\xA9Hello/");
    assert_streams(tokenizer, IDS(7, 1, 2, 3), "Hello////\xE2\x80\xA9");
    ce_tokenizer_close(tokenizer);
}

static void only_the_first_space_of_all_is_stripped(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = create_llama_tokenizer();

    assert_decodes(tokenizer, IDS(0), "world");
    assert_decodes(tokenizer, IDS(7, 0), "Hello world");
    assert_decodes(tokenizer, IDS(8, 0), " world");
    assert_decodes(tokenizer, IDS(5, 0), " world");
    assert_decodes(tokenizer, IDS(9, 0), "<s> world");
    assert_streams(tokenizer, IDS(8, 0, 0), "/ world/ world/");
    ce_tokenizer_close(tokenizer);
}

/* The stream and the whole, for ids that no text encodes to. */
static void compare_random_ids(const struct ce_tokenizer *tokenizer, int32_t limit)
{
    struct ce_error err = {.text = ""};

    for (uint64_t round = 0; round < 300; round++) {
        struct ce_text whole = {.data = NULL};
        struct ce_text pieces = {.data = NULL};
        struct ce_decode_stream stream;
        int32_t ids[40];

        ce_decode_stream_init(&stream, tokenizer, false);
        for (uint64_t i = 0; i < 40; i++) {
            ids[i] = (int32_t)(ce_random_unit(1, round, i) * limit);
            assert_int_equal(ce_decode_stream_push(&stream, ids[i], &pieces, &err),
                             CE_OK);
        }
        assert_int_equal(ce_decode_stream_finish(&stream, &pieces, &err), CE_OK);
        assert_int_equal(ce_tokenizer_decode(tokenizer, ids, 40, false, &whole, &err),
                         CE_OK);
        assert_string_equal(whole.data, pieces.data);
        assert_int_equal(ce_utf8_valid_bytes(whole.data, whole.bytes), whole.bytes);
        ce_decode_stream_fini(&stream);
        ce_text_free(&whole);
        ce_text_free(&pieces);
    }
}

static void streams_of_random_ids_equal_the_whole(void **state)
{
    (void)state;
    struct ce_tokenizer *tokenizer = create_bytes_tokenizer();

    compare_random_ids(tokenizer, 258);
    ce_tokenizer_close(tokenizer);
    tokenizer = create_llama_tokenizer();
    compare_random_ids(tokenizer, 10);
    ce_tokenizer_close(tokenizer);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_bytes_are_replaced_by_maximal_subparts),
        cmocka_unit_test(streams_hold_back_the_beginning_of_a_character),
        cmocka_unit_test(added_tokens_outside_the_alphabet_are_text),
        cmocka_unit_test(special_tokens_can_be_skipped),
        cmocka_unit_test(unknown_ids_are_refused_and_text_stays),
        cmocka_unit_test(byte_runs_are_text_as_a_whole_or_not_at_all),
        cmocka_unit_test(only_the_first_space_of_all_is_stripped),
        cmocka_unit_test(streams_of_random_ids_equal_the_whole),
    };

    return cmocka_run_group_tests_name("model.tokenizer_decode", tests, NULL, NULL);
}
