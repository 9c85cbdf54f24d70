/* OpenAI batches: what lines become, which of them are errors, what is written. */

#include "eval/openai_batch.h"
#include "test.h"

#include <string.h>

static struct ce_tokenizer *tokenizer;
static struct ce_encoder encoder;

static int open_model(void **state)
{
    struct ce_error err = {.text = ""};

    (void)state;
    if (ce_tokenizer_open(&tokenizer, CE_MODEL_DIR, &err) != CE_OK ||
        ce_encoder_open(&encoder, tokenizer, CE_MODEL_DIR, 64, &err) != CE_OK) {
        print_error("%s\n", err.text);
        return -1;
    }
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    ce_encoder_close(&encoder);
    ce_tokenizer_close(tokenizer);
    return 0;
}

/* A line with this body behind its model. */
#define LINE(id, body)                                                                 \
    "{\"custom_id\": \"" id "\", \"method\": \"POST\", \"url\": \"/v1/completions\", " \
    "\"body\": {\"model\": \"m\"" body "}}\n"

static void parse(struct ce_openai_batch *batch, const char *text)
{
    struct ce_error err = {.text = ""};

    if (ce_openai_batch_parse(batch, text, strlen(text), "b.jsonl", &encoder, &err) !=
        CE_OK) {
        fail_msg("%s", err.text);
    }
}

static void refused(const char *text, const char *message)
{
    struct ce_openai_batch batch;
    struct ce_error err = {.text = ""};

    assert_int_equal(
        ce_openai_batch_parse(&batch, text, strlen(text), "b", &encoder, &err),
        CE_ERR_FORMAT);
    assert_string_equal(err.text, message);
    ce_openai_batch_close(&batch);
}

/* Writes ID over each id, of which 16 digits are hexadecimal. */
static void hide_ids(char *text)
{
    static const char *const kinds[] = {"\"batch_req_", "\"req_", "\"cmpl-"};

    for (size_t i = 0; i < 3; i++) {
        char *at = strstr(text, kinds[i]);

        if (at != NULL) {
            at += strlen(kinds[i]);
            assert_int_equal(strspn(at, "0123456789abcdef"), 16);
            memcpy(at, "ID", 2);
            memmove(at + 2, at + 16, strlen(at + 16) + 1);
        }
    }
}

/* The output line of a document, as JSON text. */
static void writes(const struct ce_openai_batch *batch,
                   size_t document,
                   const struct ce_outcome *outcome,
                   const char *wanted)
{
    char *text = NULL;
    struct ce_error err = {.text = ""};

    if (ce_openai_batch_write(batch, document, outcome, 1, &text, &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
    hide_ids(text);
    assert_string_equal(text, wanted);
    free(text);
}

/* The message of the only line, which is an error. */
static void errs(const char *line, const char *param, const char *message)
{
    struct ce_openai_batch batch;
    char *text = NULL;
    const char *got = NULL;
    const char *code = NULL;
    int status = 0;

    parse(&batch, line);
    assert_true(ce_openai_batch_is_error(&batch, 0));
    assert_int_equal(batch.task.queries, 0);
    assert_int_equal(batch.task.document[0].queries, 0);
    assert_int_equal(ce_openai_batch_write(&batch, 0, NULL, 1, &text, NULL), CE_OK);
    json_t *root = json_loads(text, 0, NULL);
    const char *at = NULL;

    assert_int_equal(json_unpack(root,
                                 "{s:{s:i, s:{s:{s:s, s:s, s?s, s:o}}}, s:n}",
                                 "response",
                                 "status_code",
                                 &status,
                                 "body",
                                 "error",
                                 "message",
                                 &got,
                                 "type",
                                 &code,
                                 "param",
                                 &at,
                                 "code",
                                 &(json_t *){NULL},
                                 "error"),
                     0);
    assert_int_equal(status, 400);
    assert_string_equal(code, "invalid_request_error");
    assert_string_equal(at, param);
    assert_string_equal(got, message);
    json_decref(root);
    free(text);
    ce_openai_batch_close(&batch);
}

static void prompts_become_queries(void **state)
{
    (void)state;
    struct ce_openai_batch batch;

    parse(&batch,
          LINE("a", ", \"prompt\": \"One\"") "\n" LINE(
              "b",
              ", \"prompt\": [\"One\", \"\"], \"max_tokens\": 3, "
              "\"temperature\": 0, \"top_p\": 0.5, \"seed\": -1, "
              "\"stop\": [\"x\", \"y\"], \"echo\": true, \"n\": 1, "
              "\"best_of\": null, \"stream\": false, "
              "\"presence_penalty\": 0.0, \"user\": \"u\"")
              LINE("c", ", \"prompt\": [5, 6], \"stop\": \"z\"")
                  LINE("d", ", \"prompt\": [[5], [6, 7]]"));
    assert_string_equal(batch.model, "m");
    assert_int_equal(batch.task.documents, 4);
    assert_int_equal(batch.task.queries, 6);
    assert_int_equal(batch.task.document[1].line, 3);
    assert_int_equal(batch.task.document[3].first, 4);
    assert_int_equal(batch.task.document[3].queries, 2);

    const struct ce_query *query = batch.task.query;

    assert_int_equal(query[0].kind, CE_QUERY_GENERATE);
    assert_true(query[0].generate->openai);
    assert_int_equal(query[0].generate->max_new_tokens, 16);
    assert_true(query[0].generate->temperature == 1.0);
    assert_true(query[0].id_count >= 1);
    assert_true(query[1].generate->seed == UINT64_MAX);
    assert_int_equal(query[1].generate->untils, 2);
    assert_string_equal(query[2].generate->until[1], "y");
    assert_int_equal(query[2].id_count, 1); /* "": the prefix */
    assert_int_equal(query[2].ids[0], 0);
    assert_int_equal(query[3].ids[1], 6);
    assert_string_equal(query[3].generate->until[0], "z");
    assert_int_equal(query[5].ids[1], 7);
    assert_true(query[0].generate->seed != query[3].generate->seed);
    ce_openai_batch_close(&batch);
}

static void an_error_leaves_the_other_lines(void **state)
{
    (void)state;
    struct ce_openai_batch batch;

    parse(&batch,
          LINE("a", ", \"prompt\": [[5], [2048]]") LINE("b", ", \"prompt\": [6]")
              LINE("c", ", \"prompt\": [[7], [7]], \"max_tokens\": 64")
                  LINE("d", ", \"prompt\": [8]"));
    assert_true(ce_openai_batch_is_error(&batch, 0));
    assert_false(ce_openai_batch_is_error(&batch, 1));
    assert_true(ce_openai_batch_is_error(&batch, 2));
    assert_int_equal(batch.task.queries, 2);
    assert_int_equal(batch.task.document[1].first, 0);
    assert_int_equal(batch.task.query[0].ids[0], 6);
    assert_int_equal(batch.task.document[3].first, 1);
    assert_int_equal(batch.task.query[1].ids[0], 8);
    ce_openai_batch_close(&batch);
}

static void fields_are_refused_by_name(void **state)
{
    (void)state;
    errs("{\"custom_id\": \"a\"}", "method", "method: is not POST");
    errs("{\"custom_id\": \"a\", \"x\": 1}", "x", "x: is not a known field");
    errs("{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/embeddings\"}",
         "url",
         "url: only /v1/completions is supported");
    errs("{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/completions\"}",
         "body",
         "body: is not a JSON object");
    errs("{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/completions\", "
         "\"body\": {}}",
         "model",
         "model: is missing or not a string");
    errs(LINE("a", ""), "prompt", "prompt: is missing");
    errs(LINE("a", ", \"prompt\": [\"x\", 1]"),
         "prompt",
         "prompt: mixes strings and tokens");
    errs(LINE("a", ", \"prompt\": [[]]"), "prompt", "prompt: is empty");
    errs(LINE("a", ", \"prompt\": [1, -1]"),
         "prompt",
         "prompt: has what is not an id of a token");
    errs(LINE("a", ", \"prompt\": []"),
         "prompt",
         "prompt: is not a string, a list of strings, or of token ids, or of lists of "
         "token ids");
    errs(LINE("a", ", \"prompt\": \"x\", \"logprobs\": 1"),
         "logprobs",
         "logprobs: is not supported");
    errs(LINE("a", ", \"prompt\": \"x\", \"n\": 2"), "n", "n: only 1 is supported");
    errs(LINE("a", ", \"prompt\": \"x\", \"stream\": true"),
         "stream",
         "stream: is not supported in a batch");
    errs(LINE("a", ", \"prompt\": \"x\", \"top_k\": 5"),
         "top_k",
         "top_k: is not a known field");
    errs(LINE("a", ", \"prompt\": \"x\", \"max_tokens\": 0"),
         "max_tokens",
         "max_tokens: is not an integer of at least 1");
    errs(LINE("a", ", \"prompt\": \"x\", \"temperature\": 2.5"),
         "temperature",
         "temperature: is not a number between 0 and 2");
    errs(LINE("a", ", \"prompt\": \"x\", \"top_p\": 0"),
         "top_p",
         "top_p: is not above 0");
    errs(LINE("a", ", \"prompt\": \"x\", \"seed\": 0.5"),
         "seed",
         "seed: is not an integer");
    errs(LINE("a", ", \"prompt\": \"x\", \"stop\": [3]"),
         "stop",
         "stop: is not a string or a list of strings");
    errs(LINE("a", ", \"prompt\": \"x\", \"echo\": 1"),
         "echo",
         "echo: is not true or false");
    errs(LINE("a", ", \"prompt\": [4, 5], \"max_tokens\": 63"),
         "prompt",
         "This model's maximum context length is 64 tokens, however you requested 65 "
         "tokens (2 in your prompt; 63 for the completion).");
}

static void a_file_is_refused_as_a_whole(void **state)
{
    (void)state;
    refused("\n", "b: no requests");
    refused("{}", "b: line 1: custom_id: is missing");
    refused(LINE("a", "") "x", "b: line 2: column 1: a value is expected");
    refused(LINE("a", "") LINE("a", ""),
            "b: line 2: custom_id: \"a\" is also that of line 1");
    refused(LINE("a", "") "{\"custom_id\": \"b\", \"body\": {\"model\": \"o\"}}",
            "b: line 2: model: is \"o\", and that of the lines before \"m\"");
}

static void answers_are_written(void **state)
{
    (void)state;
    static char one[] = " one \xC3\xA9";
    static char two[] = "";
    struct ce_outcome outcome[] = {
        {.done = true, .text = one, .tokens = 4, .by_length = true},
        {.done = true, .text = two, .tokens = 1}};
    struct ce_openai_batch batch;

    parse(&batch,
          LINE("a", ", \"prompt\": [\"x\", \"<|endoftext|>\"], \"echo\": true")
              LINE("b", ", \"prompt\": [90]"));
    writes(&batch,
           0,
           outcome,
           "{\"id\":\"batch_req_ID\",\"custom_id\":\"a\",\"response\":{"
           "\"status_code\":200,\"request_id\":\"req_ID\",\"body\":{"
           "\"id\":\"cmpl-ID\",\"object\":\"text_completion\",\"created\":0,"
           "\"model\":\"m\",\"choices\":[{\"text\":\"x one \xC3\xA9\",\"index\":0,"
           "\"logprobs\":null,\"finish_reason\":\"length\"},{\"text\":"
           "\"<|endoftext|>\",\"index\":1,\"logprobs\":null,\"finish_reason\":\"stop\"}"
           "],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":5,"
           "\"total_tokens\":7}}},\"error\":null}");
    outcome[0].done = false;
    writes(&batch,
           1,
           outcome,
           "{\"id\":\"batch_req_ID\",\"custom_id\":\"b\",\"response\":null,\"error\":{"
           "\"code\":\"batch_cancelled\",\"message\":\"The job ended before this "
           "request was run.\"}}");
    ce_openai_batch_close(&batch);
}

static void ids_depend_on_job_and_custom_id(void **state)
{
    (void)state;
    struct ce_outcome outcome = {.done = false};
    struct ce_openai_batch batch;
    char *text[4] = {NULL};

    parse(&batch, LINE("a", ", \"prompt\": [5]") LINE("b", ", \"prompt\": [5]"));
    for (size_t i = 0; i < 4; i++) {
        size_t document = i == 1 ? 1 : 0;

        assert_int_equal(
            ce_openai_batch_write(
                &batch, document, &outcome, i == 2 ? 8 : 7, &text[i], NULL),
            CE_OK);
    }
    assert_memory_not_equal(text[0], text[1], 35);
    assert_memory_not_equal(text[0], text[2], 35);
    assert_string_equal(text[0], text[3]);
    for (size_t i = 0; i < 4; i++) {
        free(text[i]);
    }
    ce_openai_batch_close(&batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_become_queries),
        cmocka_unit_test(an_error_leaves_the_other_lines),
        cmocka_unit_test(fields_are_refused_by_name),
        cmocka_unit_test(a_file_is_refused_as_a_whole),
        cmocka_unit_test(answers_are_written),
        cmocka_unit_test(ids_depend_on_job_and_custom_id),
    };

    return cmocka_run_group_tests(tests, open_model, close_model);
}
