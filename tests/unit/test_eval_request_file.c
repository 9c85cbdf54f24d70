/* Raw requests: what they become, and what is refused with which words. */

#include "eval/request_file.h"
#include "unit/temporary.h"

#include <string.h>

static void parse(struct ce_task *task, const char *text)
{
    struct ce_error err = {.text = ""};

    if (ce_request_file_parse(task, text, strlen(text), "dir/some.jsonl", &err) !=
        CE_OK) {
        fail_msg("%s", err.text);
    }
}

static void refused_bytes(const char *text, size_t bytes, const char *message)
{
    struct ce_task task;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_request_file_parse(&task, text, bytes, "r", &err),
                     CE_ERR_FORMAT);
    assert_string_equal(err.text, message);
    ce_request_file_close(&task);
}

static void refused(const char *text, const char *message)
{
    refused_bytes(text, strlen(text), message);
}

static void each_kind_becomes_a_query(void **state)
{
    (void)state;
    struct ce_task task;

    parse(&task,
          "{\"id\": \"a\", \"type\": \"loglikelihood\", \"context\": \"1 \", "
          "\"continuation\": \"2\"}\n\n"
          "{\"id\": \"b\", \"type\": \"loglikelihood_rolling\", \"text\": \"T\"}\r\n"
          "{\"id\": \"c\", \"type\": \"generate_until\", \"context\": \"\", \"until\": "
          "[\"\\n\", \"Q\"], \"max_gen_toks\": 3, \"temperature\": 1, \"top_p\": 0.5, "
          "\"seed\": 7}");
    assert_string_equal(task.name, "some");
    assert_int_equal(task.output, CE_OUTPUT_REQUESTS);
    assert_int_equal(task.documents, 3);
    assert_int_equal(task.queries, 3);
    assert_int_equal(task.document[1].line, 3);
    assert_int_equal(task.document[1].first, 1);
    assert_int_equal(task.document[1].queries, 1);
    assert_string_equal(
        json_string_value(json_object_get(task.document[2].source, "id")), "c");
    assert_int_equal(task.query[0].kind, CE_QUERY_LOGLIKELIHOOD);
    assert_string_equal(task.query[0].context, "1 ");
    assert_string_equal(task.query[0].continuation, "2");
    assert_null(task.query[0].generate);
    assert_int_equal(task.query[1].kind, CE_QUERY_ROLLING);
    assert_null(task.query[1].context);
    assert_string_equal(task.query[1].continuation, "T");
    assert_int_equal(task.query[2].kind, CE_QUERY_GENERATE);
    assert_int_equal(task.query[2].generate->untils, 2);
    assert_string_equal(task.query[2].generate->until[1], "Q");
    assert_int_equal(task.query[2].generate->max_new_tokens, 3);
    assert_true(task.query[2].generate->temperature == 1.0);
    assert_true(task.query[2].generate->top_p == 0.5);
    assert_true(task.query[2].generate->seed == 7);
    ce_request_file_close(&task);
}

static void defaults_are_those_of_the_harness(void **state)
{
    (void)state;
    struct ce_task task;

    parse(&task,
          "{\"id\": \"a\", \"type\": \"generate_until\", \"context\": \"x\"}\n"
          "{\"id\": \"b\", \"type\": \"generate_until\", \"context\": \"x\", "
          "\"until\": \"Q\", \"seed\": null}\n"
          "{\"id\": \"c\", \"type\": \"generate_until\", \"context\": \"x\", "
          "\"until\": []}\n");
    assert_int_equal(task.query[0].generate->untils, 1);
    assert_string_equal(task.query[0].generate->until[0], "\n\n");
    assert_int_equal(task.query[0].generate->max_new_tokens, 256);
    assert_true(task.query[0].generate->temperature == 0.0);
    assert_true(task.query[0].generate->top_p == 1.0);
    assert_string_equal(task.query[1].generate->until[0], "Q");
    assert_int_equal(task.query[2].generate->untils, 0);
    ce_request_file_close(&task);
}

static void the_hash_is_of_the_bytes(void **state)
{
    (void)state;
    static const char one[] =
        "{\"id\":\"a\",\"type\":\"loglikelihood_rolling\",\"text\":\"T\"}";
    static const char other[] =
        "{\"id\":\"a\",\"type\":\"loglikelihood_rolling\",\"text\":\"U\"}";
    struct ce_task task[3];

    parse(&task[0], one);
    parse(&task[1], one);
    parse(&task[2], other);
    assert_true(task[0].hash == task[1].hash);
    assert_true(task[0].hash != task[2].hash);
    for (size_t i = 0; i < 3; i++) {
        ce_request_file_close(&task[i]);
    }
}

static void lines_that_are_no_objects_are_refused(void **state)
{
    (void)state;
    refused("", "r: no requests");
    refused("\n \r\n", "r: no requests");
    refused("\n[1]\n", "r: line 2: not a JSON object");
    refused("{\"id\": \"a\"", "r: line 1: column 11: ',' or '}' is expected");
    refused_bytes(
        "{\"id\": \"\xC3\"}\n", 13, "r: line 1: column 9: the text is not UTF-8");
    refused_bytes("{\"id\": \"a\0b\"}",
                  14,
                  "r: line 1: column 10: a control character in a string");
    refused("{\"id\": \"a\", \"type\": \"loglikelihood_rolling\", \"text\": "
            "\"a\\u0000b\"}",
            "r: line 1: text: is \"a\\u0000b\", which is no text");
    refused_bytes(
        "\x1f\x8b\x08", 3, "r: is a gzip file, not UTF-8 text: unpack it first");
}

#define GENERATE "{\"id\": \"a\", \"type\": \"generate_until\", \"context\": \"x\", "

static void fields_that_are_wrong_are_named(void **state)
{
    (void)state;
    refused("{\"type\": \"loglikelihood\"}", "r: line 1: id: is missing");
    refused("{\"id\": 3}", "r: line 1: id: is not a string");
    refused("{\"id\": \"\"}", "r: line 1: id: is empty");
    refused("{\"id\": \"a\"}", "r: line 1: type: is missing");
    refused(
        "{\"id\": \"a\", \"type\": \"loglik\"}",
        "r: line 1: type: \"loglik\" is not loglikelihood, loglikelihood_rolling or "
        "generate_until");
    refused("{\"id\": \"a\", \"type\": \"loglikelihood\", \"context\": \"x\"}",
            "r: line 1: continuation: is missing");
    refused("{\"id\": \"a\", \"type\": \"loglikelihood_rolling\", \"text\": \"x\", "
            "\"until\": \"y\"}",
            "r: line 1: until: is not a known field");
    refused(GENERATE "\"max_tokens\": 3}",
            "r: line 1: max_tokens: is not a known field");
    refused(GENERATE "\"until\": [1]}",
            "r: line 1: until: is not a string or a list of strings");
    refused(GENERATE "\"max_gen_toks\": 0}",
            "r: line 1: max_gen_toks: is not between 1 and 2^31 - 1");
    refused(GENERATE "\"max_gen_toks\": 1.5}",
            "r: line 1: max_gen_toks: is not a non-negative integer");
    refused(GENERATE "\"temperature\": -1}",
            "r: line 1: temperature: is not between 0 and 1000");
    refused(GENERATE "\"top_p\": 0}", "r: line 1: top_p: is not above 0 and at most 1");
    refused(GENERATE "\"seed\": \"x\"}",
            "r: line 1: seed: is not a non-negative integer");
}

static void an_id_is_there_once(void **state)
{
    (void)state;
    refused("{\"id\": \"a\", \"type\": \"loglikelihood_rolling\", \"text\": \"x\"}\n\n"
            "{\"id\": \"a\", \"type\": \"loglikelihood_rolling\", \"text\": \"y\"}\n",
            "r: line 3: id: \"a\" is also that of line 1");
}

static void a_file_is_read_or_named(void **state)
{
    static const char line[] =
        "{\"id\":\"a\",\"type\":\"loglikelihood_rolling\",\"text\":\"T\"}\n";
    struct ce_task task;
    struct ce_error err = {.text = ""};

    temporary_write(state, "batch.one.jsonl", line, sizeof(line) - 1);
    assert_int_equal(
        ce_request_file_open(&task, temporary_path(state, "batch.one.jsonl"), &err),
        CE_OK);
    assert_string_equal(task.name, "batch.one");
    ce_request_file_close(&task);
    assert_int_equal(
        ce_request_file_open(&task, temporary_path(state, "missing"), &err), CE_ERR_IO);
    assert_non_null(strstr(err.text, "missing"));
    ce_request_file_close(&task);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_becomes_a_query),
        cmocka_unit_test(defaults_are_those_of_the_harness),
        cmocka_unit_test(the_hash_is_of_the_bytes),
        cmocka_unit_test(lines_that_are_no_objects_are_refused),
        cmocka_unit_test(fields_that_are_wrong_are_named),
        cmocka_unit_test(an_id_is_there_once),
        cmocka_unit_test_setup_teardown(
            a_file_is_read_or_named, temporary_setup, temporary_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
