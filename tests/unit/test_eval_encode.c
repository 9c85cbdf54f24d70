/* Encoding a task: places in the job, what is left out, what is refused. */

#include "eval/encode.h"
#include "eval/stop_text.h"
#include "eval/token_windows.h"
#include "eval/trailing_space.h"
#include "unit/tokenizer_fixture.h"

/* "ab" and "abc" are tokens; 13, "x", is the prefix. */
static char prefix_text[] = "x";

static struct ce_encoder make_encoder(size_t max_length)
{
    return (struct ce_encoder){.tokenizer = fixture_create(&(struct fixture){0}),
                               .max_length = max_length,
                               .prefix = 13,
                               .prefix_text = prefix_text,
                               .eos_text = prefix_text};
}

static void free_encoder(struct ce_encoder *encoder)
{
    ce_tokenizer_close((struct ce_tokenizer *)(uintptr_t)encoder->tokenizer);
}

/* Two documents of two queries, in one array. */
static struct ce_query queries[4];
static struct ce_document documents[] = {{.line = 3, .first = 0, .queries = 2},
                                         {.line = 5, .first = 2, .queries = 2}};
static char task_name[] = "t";
static struct ce_task task = {.name = task_name,
                              .generate = {.max_new_tokens = 2, .top_p = 1},
                              .document = documents,
                              .documents = 2,
                              .query = queries,
                              .queries = 4};

/* Queries are not written to, but their strings are not const. */
static char *loose(const char *text)
{
    return (char *)(uintptr_t)text;
}

static struct ce_query score(const char *context, const char *continuation)
{
    return (struct ce_query){.kind = CE_QUERY_LOGLIKELIHOOD,
                             .context = loose(context),
                             .continuation = loose(continuation)};
}

static struct ce_query generate(const char *context)
{
    return (struct ce_query){.kind = CE_QUERY_GENERATE, .context = loose(context)};
}

static int reset(void **state)
{
    (void)state;
    queries[0] = score("ab", "1");
    queries[1] = score("ab", " a");
    queries[2] =
        (struct ce_query){.kind = CE_QUERY_ROLLING, .continuation = loose("bbbbb")};
    queries[3] = generate("aaa");
    return 0;
}

struct result {
    struct ce_request_list list;
    struct ce_request_table table;
    void *data;
};

static struct result encode(size_t max_length, const struct ce_encode_place *place)
{
    struct ce_encoder encoder = make_encoder(max_length);
    struct ce_request_limits limits = {.vocab = 14, .positions = max_length};
    struct result result = {.data = NULL};
    struct ce_error err = {.text = ""};
    size_t bytes = 0;

    if (ce_encode_task(&encoder, &task, place, &result.list, &err) != CE_OK ||
        ce_request_table_build(&result.list, &result.data, &bytes, &err) != CE_OK ||
        ce_request_table_view(&result.table, result.data, bytes, &limits, &err) !=
            CE_OK) {
        fail_msg("%s", err.text);
    }
    free_encoder(&encoder);
    return result;
}

static void free_result(struct result *result)
{
    ce_request_table_free(&result->table);
    ce_request_list_free(&result->list);
    free(result->data);
}

static void assert_request(const struct result *result,
                           size_t index,
                           const char *tokens,
                           size_t scored)
{
    const struct ce_token_request *request = &result->table.request[index];
    struct ce_ids ids = {.id = (int32_t *)(uintptr_t)request->tokens,
                         .count = request->count};

    assert_ids(&ids, tokens);
    assert_int_equal(request->scored, scored);
}

static void queries_keep_their_places(void **state)
{
    (void)state;
    struct ce_encode_place place = {.first_query = 100, .first_document = 50};
    struct result result = encode(3, &place);

    assert_int_equal(result.table.count, 5);
    assert_request(&result, 1, "4 6", 1); /* "ab| a" */
    assert_request(&result, 2, "13 1 1 1", 3);
    assert_request(&result, 3, "1 1 1 1", 2); /* one more token before them fits */
    assert_request(&result, 4, "0", 0);
    for (size_t i = 0; i < 5; i++) {
        static const uint32_t place_of[] = {100, 101, 102, 102, 103};

        assert_int_equal(result.table.request[i].query, place_of[i]);
        assert_int_equal(result.table.request[i].key, place_of[i]);
        assert_int_equal(result.table.request[i].group, i < 2 ? 50 : 51);
    }
    assert_int_equal(result.table.request[4].dropped, 2);
    assert_int_equal(result.table.settings[0].stops, 1);
    free_result(&result);
}

/* "ab" alone is one token and "abc" is another: nothing would be left to score. */
static void a_token_over_the_boundary_leaves_nothing(void **state)
{
    (void)state;
    struct ce_encoder encoder = make_encoder(8);
    struct ce_encode_place place = {.first_query = 0};
    struct ce_request_list list = {.count = 0};
    struct ce_error err = {.text = ""};

    queries[1] = score("ab", "c");
    assert_int_equal(ce_encode_task(&encoder, &task, &place, &list, &err),
                     CE_ERR_FORMAT);
    assert_string_equal(err.text,
                        "task t, document of line 3: there is no token to score");
    assert_int_equal(list.count, 0);
    assert_int_equal(list.tokens.count, 0);
    free_encoder(&encoder);
    ce_request_list_free(&list);
}

static void skipped_queries_are_not_looked_at(void **state)
{
    (void)state;
    const bool skip[] = {true, false, true, true};
    struct ce_encode_place place = {.skip = skip};
    struct result result = encode(8, &place);

    assert_int_equal(result.table.count, 1);
    assert_int_equal(result.table.request[0].query, 1);
    free_result(&result);
}

static void texts_without_context_follow_the_prefix(void **state)
{
    (void)state;
    struct ce_encode_place place = {.first_query = 0};

    queries[0] = score("", "ab");
    queries[1] = score("", "xab");  /* the prefix is there already */
    queries[2] = score(" \n", "a"); /* all of it moves to the continuation */
    queries[3] = generate("");
    struct result result = encode(8, &place);

    assert_request(&result, 0, "13 4", 1);
    assert_request(&result, 1, "13 4", 1);
    assert_request(&result, 2, "13 3 9 0", 3);
    assert_request(&result, 3, "13", 0);
    free_result(&result);
}

/* lm-eval asserts here; we score what fits. */
static void a_continuation_that_does_not_fit_is_cut(void **state)
{
    (void)state;
    struct ce_encode_place place = {.first_query = 0};

    queries[0] = score("x", "bbbbb");
    struct result result = encode(3, &place);

    assert_request(&result, 0, "1 1 1 1", 3);
    assert_int_equal(result.table.request[0].dropped, 2);
    free_result(&result);
}

static void tokens_and_settings_of_a_query_are_its_own(void **state)
{
    (void)state;
    int32_t ids[] = {7, 7};
    char *until[] = {loose("b")};
    struct ce_generate_settings own = {
        .until = until, .untils = 1, .max_new_tokens = 3, .top_p = 1, .openai = true};
    struct ce_encode_place place = {.first_query = 10};

    queries[0] = queries[3];
    queries[1] = (struct ce_query){.kind = CE_QUERY_GENERATE,
                                   .context = loose("not encoded"),
                                   .ids = ids,
                                   .id_count = 2,
                                   .generate = &own};
    struct result result = encode(8, &place);

    assert_request(&result, 1, "7 7", 0);
    assert_int_equal(result.table.request[0].max_new_tokens, 2);
    assert_int_equal(result.table.request[0].key, 10);
    assert_int_equal(result.table.request[1].max_new_tokens, 3);
    assert_int_equal(result.table.request[1].key, 1); /* of its document */
    assert_int_equal(result.table.request[1].settings, 1);
    assert_int_equal(result.table.settings[1].stops, 1);
    assert_int_equal(result.table.settings[1].stop[0].text[0], 'b');
    assert_int_equal(result.table.request[3].settings, 0);
    free_result(&result);
}

static void new_tokens_need_room(void **state)
{
    (void)state;
    struct ce_encoder encoder = make_encoder(2);
    struct ce_encode_place place = {.first_query = 0};
    struct ce_request_list list = {.count = 0};
    struct ce_error err = {.text = ""};

    queries[0] = score("b", "1");
    assert_int_equal(ce_encode_task(&encoder, &task, &place, &list, &err), CE_ERR_ARG);
    assert_string_equal(err.text,
                        "task t, document of line 5: 2 new tokens are wanted, possible "
                        "are 1 to 1: one less than the maximal length");
    free_encoder(&encoder);
    ce_request_list_free(&list);
}

static void every_token_is_scored_once(void **state)
{
    (void)state;
    for (size_t max_length = 2; max_length < 7; max_length++) {
        for (size_t tokens = 1; tokens < 30; tokens++) {
            size_t windows = ce_token_windows_rolling(tokens, max_length);
            size_t next = 1;

            for (size_t i = 0; i < windows; i++) {
                struct ce_token_window window =
                    ce_token_window_rolling(tokens, max_length, i);

                assert_int_equal(window.first + window.count - window.scored, next);
                assert_in_range(window.count, window.scored + 1, max_length + 1);
                next += window.scored;
            }
            assert_int_equal(next, tokens + 1);
        }
    }
}

static void white_space_is_that_of_python(void **state)
{
    (void)state;
    static const char *const spaces[] = {" ",
                                         "\t\r\n\v\f",
                                         "\x1c\x1f",
                                         "\xC2\x85",
                                         "\xC2\xA0",
                                         "\xE1\x9A\x80",
                                         "\xE2\x80\x8A",
                                         "\xE2\x80\xA8\xE2\x80\xA9",
                                         "\xE2\x80\xAF",
                                         "\xE2\x81\x9F",
                                         "\xE3\x80\x80"};
    static const char *const others[] = {
        "", "\x1b", "\xE2\x80\x8B", "\xEF\xBB\xBF", "\xE1\xA0\x8E", "\xA0", "\xC3\x85"};

    for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
        char text[32];

        (void)snprintf(text, sizeof(text), "a %s", spaces[i]);
        assert_int_equal(ce_trailing_space(text, strlen(text)), strlen(text) - 1);
        assert_int_equal(ce_trailing_space(text + 1, strlen(text + 1)),
                         strlen(text) - 1);
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        char text[32];

        (void)snprintf(text, sizeof(text), " a%s", others[i]);
        assert_int_equal(ce_trailing_space(text, strlen(text)), 0);
    }
}

/* é in two tokens, and a stop string that begins inside one and ends inside another. */
static void stop_strings_are_found_across_tokens(void **state)
{
    (void)state;
    struct ce_encoder encoder = make_encoder(8);
    const struct ce_stop_string strings[] = {{"\xC3\xA9", 2}, {"bca", 3}};
    const int32_t broken[] = {4, 10, 11};
    const int32_t across[] = {5, 0, 0};
    struct ce_stop stop;

    ce_stop_init(&stop, encoder.tokenizer, strings, 2);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(ce_stop_push(&stop, broken[i], NULL), CE_OK);
        assert_int_equal(stop.found, i == 2);
    }
    ce_stop_fini(&stop);
    ce_stop_init(&stop, encoder.tokenizer, strings, 2);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(ce_stop_push(&stop, across[i], NULL), CE_OK);
        assert_int_equal(stop.found, i >= 1);
    }
    ce_stop_fini(&stop);
    free_encoder(&encoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(queries_keep_their_places, reset),
        cmocka_unit_test_setup(a_token_over_the_boundary_leaves_nothing, reset),
        cmocka_unit_test_setup(skipped_queries_are_not_looked_at, reset),
        cmocka_unit_test_setup(texts_without_context_follow_the_prefix, reset),
        cmocka_unit_test_setup(a_continuation_that_does_not_fit_is_cut, reset),
        cmocka_unit_test_setup(tokens_and_settings_of_a_query_are_its_own, reset),
        cmocka_unit_test_setup(new_tokens_need_room, reset),
        cmocka_unit_test(every_token_is_scored_once),
        cmocka_unit_test(white_space_is_that_of_python),
        cmocka_unit_test(stop_strings_are_found_across_tokens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
