/* Tokens, windows and final texts against those of lm-evaluation-harness. */

#include "eval/encode.h"
#include "eval/stop_text.h"
#include "tokenizer_golden.h"
#include "unit/temporary.h"

#define GOLDEN_FILE  CE_TEST_SOURCE_DIR "/golden/requests.jsonl"
#define GOLDEN_LINES 2016

struct oracle {
    struct ce_tokenizer *tokenizer[2]; /* as shipped; with a BOS */
    const char *dir[2];
    size_t lines;
    char where[512];
};

static struct ce_tokenizer *open_with_bos(void)
{
    struct ce_error err = {.text = ""};
    struct ce_tokenizer *tokenizer = NULL;
    json_t *root = NULL;
    char *text = NULL;

    assert_int_equal(
        ce_json_load_object(
            CE_MODEL_DIR "/tokenizer.json", GOLDEN_LARGEST_FILE, &root, &err),
        CE_OK);
    assert_int_equal(
        json_object_set_new(root,
                            "post_processor",
                            json_pack("{s:s, s:[{s:{s:s, s:i}}, {s:{s:s, s:i}}], s:[], "
                                      "s:{s:{s:s, s:[i], s:[s]}}}",
                                      "type",
                                      "TemplateProcessing",
                                      "single",
                                      "SpecialToken",
                                      "id",
                                      "<|padding|>",
                                      "type_id",
                                      0,
                                      "Sequence",
                                      "id",
                                      "A",
                                      "type_id",
                                      0,
                                      "pair",
                                      "special_tokens",
                                      "<|padding|>",
                                      "id",
                                      "<|padding|>",
                                      "ids",
                                      1,
                                      "tokens",
                                      "<|padding|>")),
        0);
    text = json_dumps(root, 0);
    assert_non_null(text);
    if (ce_tokenizer_parse(&tokenizer, text, strlen(text), "bos.json", &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
    free(text);
    json_decref(root);
    return tokenizer;
}

static void compare_tokens(const struct oracle *oracle,
                           const struct ce_token_request *request,
                           const json_t *wanted)
{
    assert_int_equal(request->count, json_array_size(wanted));
    for (size_t i = 0; i < request->count; i++) {
        if (request->tokens[i] != json_integer_value(json_array_get(wanted, i))) {
            fail_msg("%s: token %zu is %d", oracle->where, i, (int)request->tokens[i]);
        }
    }
}

static size_t number(const json_t *line, const char *key)
{
    return (size_t)json_integer_value(json_object_get(line, key));
}

static char *string(const json_t *line, const char *key)
{
    const char *text = json_string_value(json_object_get(line, key));

    return text == NULL ? NULL : strdup(text);
}

static void compare_rolling(const struct oracle *oracle,
                            const struct ce_request_table *table,
                            const json_t *windows)
{
    assert_int_equal(table->count, json_array_size(windows));
    for (size_t i = 0; i < table->count; i++) {
        const json_t *window = json_array_get(windows, i);

        compare_tokens(oracle, &table->request[i], json_object_get(window, "tokens"));
        assert_int_equal(table->request[i].scored, number(window, "scored"));
        assert_int_equal(table->request[i].query, 7);
    }
}

static void compare_table(const struct oracle *oracle,
                          const struct ce_request_table *table,
                          const json_t *line)
{
    const json_t *windows = json_object_get(line, "windows");

    if (windows != NULL) {
        compare_rolling(oracle, table, windows);
        return;
    }
    assert_int_equal(table->count, 1);
    compare_tokens(oracle, &table->request[0], json_object_get(line, "tokens"));
    assert_int_equal(table->request[0].scored, number(line, "scored"));
    assert_int_equal(table->request[0].dropped, number(line, "dropped"));
    assert_int_equal(table->request[0].max_new_tokens, number(line, "max_gen_toks"));
}

/* From the text to what a rank sees of it. */
static void
replay_query(struct oracle *oracle, struct ce_task *task, const json_t *line)
{
    bool bos = json_is_true(json_object_get(line, "bos"));
    size_t max_length = number(line, "max_length");
    struct ce_request_limits limits = {.vocab = 2048, .positions = max_length};
    struct ce_encode_place place = {.first_query = 7};
    struct ce_encoder encoder = {.tokenizer = NULL};
    struct ce_request_list list = {.count = 0};
    struct ce_request_table table = {.count = 0};
    struct ce_error err = {.text = ""};
    void *data = NULL;
    size_t bytes = 0;

    if (ce_encoder_open(
            &encoder, oracle->tokenizer[bos], oracle->dir[bos], max_length, &err) !=
            CE_OK ||
        ce_encode_task(&encoder, task, &place, &list, &err) != CE_OK ||
        ce_request_table_build(&list, &data, &bytes, &err) != CE_OK ||
        ce_request_table_view(&table, data, bytes, &limits, &err) != CE_OK) {
        fail_msg("%s: %s", oracle->where, err.text);
    }
    compare_table(oracle, &table, line);
    ce_request_table_free(&table);
    free(data);
    ce_request_list_free(&list);
    ce_encoder_close(&encoder);
}

static void replay_request(struct oracle *oracle, const json_t *line, const char *kind)
{
    bool rolls = strcmp(kind, "loglikelihood_rolling") == 0;
    bool generates = strcmp(kind, "generate_until") == 0;
    struct ce_query query = {.kind = rolls       ? CE_QUERY_ROLLING
                                     : generates ? CE_QUERY_GENERATE
                                                 : CE_QUERY_LOGLIKELIHOOD,
                             .context = string(line, "context"),
                             .continuation =
                                 string(line, rolls ? "text" : "continuation")};
    struct ce_document document = {.line = 1, .queries = 1};
    struct ce_task task = {
        .name = oracle->where,
        .generate = {.max_new_tokens = number(line, "max_gen_toks"), .top_p = 1},
        .document = &document,
        .documents = 1,
        .query = &query,
        .queries = 1};

    replay_query(oracle, &task, line);
    free(query.context);
    free(query.continuation);
}

/* How many ids it takes until the text has a stop string; 0: it never has. */
static size_t ids_until_stop(const struct oracle *oracle,
                             const struct ce_request_settings *settings,
                             const struct ce_ids *ids)
{
    struct ce_stop stop;
    size_t count = 0;

    ce_stop_init(&stop, oracle->tokenizer[0], settings->stop, settings->stops);
    while (count < ids->count && !stop.found) {
        assert_int_equal(ce_stop_push(&stop, ids->id[count], NULL), CE_OK);
        count++;
    }
    if (!stop.found) {
        count = 0;
    }
    ce_stop_fini(&stop);
    return count;
}

static void compare_final(const struct oracle *oracle,
                          const struct ce_request_settings *settings,
                          const json_t *line)
{
    struct ce_ids ids = golden_ids(line, NULL);
    size_t stopped = ids_until_stop(oracle, settings, &ids);
    size_t wanted = number(line, "stopped");
    char *text = NULL;

    /* The reference looks at the last few tokens only and may see a stop string late or
     * never; its text is cut at the same place. */
    if (wanted > 0 && (stopped == 0 || stopped > wanted)) {
        fail_msg("%s: stops after %zu", oracle->where, stopped);
    }
    assert_int_equal(ce_stop_final_text(oracle->tokenizer[0],
                                        ids.id,
                                        stopped > 0 ? stopped : ids.count,
                                        settings->stop,
                                        settings->stops,
                                        &text,
                                        NULL),
                     CE_OK);
    if (strcmp(text, json_string_value(json_object_get(line, "text"))) != 0) {
        fail_msg("%s: \"%s\"", oracle->where, text);
    }
    free(text);
    ce_ids_free(&ids);
}

static void replay_final(const struct oracle *oracle, const json_t *line)
{
    const json_t *until = json_object_get(line, "until");
    struct ce_generate_settings settings = {.untils = json_array_size(until),
                                            .top_p = 1};
    struct ce_request_limits limits = {.vocab = 1, .positions = 1};
    struct ce_request_list list = {.count = 0};
    struct ce_request_table table = {.count = 0};
    void *data = NULL;
    size_t bytes = 0;
    uint32_t index = 1;
    char *stops[8];

    for (size_t i = 0; i < settings.untils; i++) {
        stops[i] = (char *)(uintptr_t)json_string_value(json_array_get(until, i));
    }
    settings.until = stops;
    assert_int_equal(
        ce_request_list_add_settings(&list, &settings, "<|endoftext|>", &index, NULL),
        CE_OK);
    assert_int_equal(index, 0);
    assert_int_equal(ce_request_table_build(&list, &data, &bytes, NULL), CE_OK);
    assert_int_equal(ce_request_table_view(&table, data, bytes, &limits, NULL), CE_OK);
    compare_final(oracle, &table.settings[0], line);
    ce_request_table_free(&table);
    ce_request_list_free(&list);
    free(data);
}

static void replay_line(struct oracle *oracle, const char *text, size_t bytes)
{
    json_t *line = json_loadb(text, bytes, JSON_ALLOW_NUL, NULL);
    const char *kind = json_string_value(json_object_get(line, "kind"));

    oracle->lines++;
    (void)snprintf(
        oracle->where, sizeof(oracle->where), "%s:%zu", GOLDEN_FILE, oracle->lines);
    assert_non_null(kind);
    if (strcmp(kind, "final_text") == 0) {
        replay_final(oracle, line);
    } else {
        replay_request(oracle, line, kind);
    }
    json_decref(line);
}

static void requests_are_those_of_the_harness(void **state)
{
    static const char config[] =
        "{\"bos_token\": {\"content\": \"<|padding|>\"}, \"eos_token\": "
        "\"<|endoftext|>\"}";
    struct oracle oracle = {
        .tokenizer = {golden_open(CE_MODEL_DIR "/tokenizer.json"), open_with_bos()},
        .dir = {CE_MODEL_DIR, temporary_path(state, "")}};
    FILE *file = fopen(GOLDEN_FILE, "rb");
    char *text = NULL;
    size_t capacity = 0;
    ssize_t bytes = 0;

    temporary_write(state, "tokenizer_config.json", config, sizeof(config) - 1);
    assert_non_null(file);
    while ((bytes = getline(&text, &capacity, file)) > 0) {
        replay_line(&oracle, text, (size_t)bytes);
    }
    assert_int_equal(oracle.lines, GOLDEN_LINES);
    free(text);
    assert_int_equal(fclose(file), 0);
    ce_tokenizer_close(oracle.tokenizer[0]);
    ce_tokenizer_close(oracle.tokenizer[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            requests_are_those_of_the_harness, temporary_setup, temporary_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
