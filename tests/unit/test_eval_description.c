#include "eval/description.h"
#include "eval/task.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

/* A field is changed or, with NULL, taken away, for one case after the other. */
#define CHOICE                                                                         \
    "{\"name\": \"t\", \"output_type\": \"multiple_choice\", \"documents\": \"d\","    \
    " \"prompt\": \"{{q}}\", \"choices\": \"{{c}}\", \"gold\": \"{{g}}\","             \
    " \"metrics\": [{\"name\": \"acc\"}]}"
#define GENERATE                                                                       \
    "{\"name\": \"t\", \"output_type\": \"generate_until\", \"documents\": \"d\","     \
    " \"prompt\": \"{{q}}\", \"target\": \"{{a}}\","                                   \
    " \"metrics\": [{\"name\": \"exact_match\"}]}"
#define ROLLING                                                                        \
    "{\"name\": \"t\", \"output_type\": \"loglikelihood_rolling\","                    \
    " \"documents\": \"d\", \"target\": \"{{a}}\","                                    \
    " \"metrics\": [{\"name\": \"bits_per_byte\"}]}"

/* `value` is JSON; NULL takes the field away. */
static char *change(const char *text, const char *key, const char *value)
{
    json_error_t why;
    json_t *object = json_loads(text, 0, &why);
    char *changed = NULL;

    assert_non_null(object);
    if (value == NULL) {
        assert_int_equal(json_object_del(object, key), 0);
    } else {
        json_t *parsed = json_loads(value, JSON_DECODE_ANY, &why);

        assert_non_null(parsed);
        assert_int_equal(json_object_set_new(object, key, parsed), 0);
    }
    changed = json_dumps(object, 0);
    json_decref(object);
    assert_non_null(changed);
    return changed;
}

static enum ce_status read(const char *text, struct ce_task *task, struct ce_error *err)
{
    struct ce_description description;
    enum ce_status status =
        ce_description_parse(&description, text, strlen(text), "t.json", err);

    *task = (struct ce_task){.name = NULL};
    if (status == CE_OK) {
        task->output = description.output;
        status = ce_description_read_scoring(&description, task, err);
    }
    ce_description_close(&description);
    return status;
}

static void defaults_are_those_of_the_harness(void **state)
{
    (void)state;
    struct ce_task task;
    struct ce_error err = {.text = ""};

    assert_int_equal(read(GENERATE, &task, &err), CE_OK);
    assert_int_equal(task.generate.untils, 1);
    assert_string_equal(task.generate.until[0], "\n\n");
    assert_int_equal(task.generate.max_new_tokens, 256);
    assert_true(task.generate.temperature == 0.0 && task.generate.top_p == 1.0);
    assert_int_equal(task.filters, 1);
    assert_string_equal(task.filter[0].name, "none");
    assert_int_equal(task.filter[0].step[0].kind, CE_FILTER_TAKE_FIRST);
    assert_true(task.metric[0].higher_is_better);
    ce_task_close(&task);
    assert_int_equal(read(ROLLING, &task, &err), CE_OK);
    assert_false(task.metric[0].higher_is_better);
    ce_task_close(&task);
}

static void null_is_as_if_absent(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "filters", "generation", "fewshot", "header", "prompts", "id", "clean_up"};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char *text = change(GENERATE, keys[i], "null");
        struct ce_task task;
        struct ce_error err = {.text = ""};

        if (read(text, &task, &err) != CE_OK) {
            fail_msg("%s", err.text);
        }
        ce_task_close(&task);
        free(text);
    }
}

static void filters_and_metrics_are_read(void **state)
{
    (void)state;
    char *metrics = change(GENERATE,
                           "metrics",
                           "[{\"name\": \"exact_match\", \"ignore\": [\"a\", \"b\"],"
                           " \"ignore_numbers\": true, \"higher_is_better\": false}]");
    char *text = change(metrics,
                        "filters",
                        "[{\"name\": \"f\", \"steps\": [{\"kind\": \"regex\","
                        " \"pattern\": \"x\", \"select\": -1},"
                        " {\"kind\": \"lowercase\"}]}]");
    struct ce_task task;
    struct ce_error err = {.text = ""};

    assert_int_equal(read(text, &task, &err), CE_OK);
    assert_int_equal(task.metric[0].ignores, 2);
    assert_string_equal(task.metric[0].ignore[1], "b");
    assert_true(task.metric[0].ignore_numbers && !task.metric[0].ignore_case);
    assert_false(task.metric[0].higher_is_better);
    assert_string_equal(task.filter[0].step[0].pattern, "x");
    assert_string_equal(task.filter[0].step[0].fallback, "[invalid]");
    assert_int_equal(task.filter[0].step[0].select, -1);
    assert_int_equal(task.filter[0].step[1].kind, CE_FILTER_LOWERCASE);
    ce_task_close(&task);
    free(text);
    free(metrics);
}

struct mistake {
    const char *base, *key, *value, *words;
};

static void assert_named(const struct mistake *mistakes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *text = change(mistakes[i].base, mistakes[i].key, mistakes[i].value);
        struct ce_error err = {.text = ""};
        struct ce_task task;

        if (read(text, &task, &err) != CE_ERR_FORMAT ||
            strncmp(err.text, "t.json: ", 8) != 0 ||
            strstr(err.text, mistakes[i].words) == NULL) {
            fail_msg("%s: %s", text, err.text);
        }
        ce_task_close(&task);
        free(text);
    }
}

static void mistakes_in_what_is_asked_are_named(void **state)
{
    (void)state;
    static const struct mistake mistakes[] = {
        {CHOICE,
         "promt",
         "1",
         "promt: is not a field of a task description; did you "
         "mean \"prompt\"?"},
        {CHOICE, "name", NULL, "name: is missing"},
        {CHOICE, "name", "\"\"", "name: is missing or empty"},
        {CHOICE, "name", "3", "name: is not"},
        {CHOICE, "output_type", NULL, "output_type: is missing"},
        {CHOICE, "output_type", "\"multiple_choise\"", "did you mean"},
        {CHOICE, "documents", NULL, "documents: is missing"},
        {CHOICE, "prompt", NULL, "prompt: is missing, which a task of output_type"},
        {CHOICE, "prompt", "\"{{\"", "prompt: character 3"},
        {CHOICE, "prompt", "[]", "prompt: is not"},
        {CHOICE, "choices", NULL, "choices: is missing"},
        {CHOICE, "choices", "[]", "choices: is neither"},
        {CHOICE, "choices", "[1]", "choices: is not a list of strings"},
        {CHOICE, "choices", "7", "choices: is neither"},
        {CHOICE, "gold", NULL, "gold: is missing"},
        {CHOICE, "gold", "{\"value\": \"1\"}", "gold.among: is missing"},
        {CHOICE, "gold", "{\"among\": [\"1\"]}", "gold.value: is missing"},
        {CHOICE, "gold", "{\"valu\": \"1\"}", "gold.valu: is not a field"},
        {CHOICE, "target", "\"x\"", "target: has no meaning"},
        {CHOICE, "prompts", "[\"x\"]", "prompt: has no meaning"},
        {CHOICE, "generation", "{}", "generation: has no meaning"},
        {CHOICE, "clean_up", "\"hellaswagg\"", "clean_up: \"hellaswagg\" is not known"},
        {CHOICE, "choices", "null", "choices: is missing, which"},
        {CHOICE, "gold", "null", "gold: is missing, which"},
        {GENERATE, "target", "null", "target: is missing, which"},
    };

    assert_named(mistakes, sizeof(mistakes) / sizeof(mistakes[0]));
}

static void mistakes_in_the_rest_are_named(void **state)
{
    (void)state;
    static const struct mistake mistakes[] = {
        {CHOICE, "metrics", NULL, "metrics: is missing"},
        {CHOICE, "metrics", "[]", "metrics: is missing, not a list, or empty"},
        {CHOICE, "metrics", "[\"acc\"]", "metrics: is not a list of objects"},
        {CHOICE, "metrics", "[{}]", "metrics[0].name: is missing"},
        {CHOICE, "metrics", "[{\"name\": \"accc\"}]", "did you mean \"acc\"?"},
        {CHOICE, "metrics", "[{\"name\": \"perplexity\"}]", "output_type"},
        {CHOICE,
         "metrics",
         "[{\"name\": \"acc\", \"ignore\": []}]",
         "metrics[0].ignore: is not a field"},
        {CHOICE, "fewshot", "3", "fewshot: is not an object"},
        {CHOICE, "fewshot", "{\"count\": -1}", "fewshot.count: is not"},
        {CHOICE, "fewshot", "{\"sampler\": \"first\"}", "did you mean \"first_n\"?"},
        {GENERATE, "filters", "[{\"steps\": []}]", "filters[0].name: is missing"},
        {GENERATE,
         "filters",
         "[{\"name\": \"f\", \"steps\": [{\"kind\": \"regex\"}]}]",
         "filters[0].steps[0].pattern: is missing"},
        {GENERATE,
         "filters",
         "[{\"name\": \"f\", \"steps\": [{\"kind\": \"lowercase\", \"select\": 1}]}]",
         "filters[0].steps[0].select: is not a field"},
        {GENERATE,
         "filters",
         "[{\"name\": \"f\", \"steps\": [{\"kind\": \"regex\", \"pattern\": \"x\","
         " \"select\": 1.5}]}]",
         "filters[0].steps[0].select: is not an integer"},
        {GENERATE,
         "generation",
         "{\"until\": \"x\"}",
         "generation.until: is not a list"},
        {GENERATE, "generation", "{\"until\": [\"\"]}", "generation.until: is not"},
        {GENERATE, "generation", "{\"max_new_tokens\": 0}", "max_new_tokens: is 0"},
        {GENERATE, "generation", "{\"temperature\": -1}", "temperature: is negative"},
        {GENERATE, "generation", "{\"top_p\": 0}", "top_p: is not above 0"},
        {GENERATE, "generation", "[]", "generation: is not an object"},
        {ROLLING, "prompt", "\"x\"", "prompt: has no meaning"},
        {ROLLING, "fewshot", "{}", "fewshot: has no meaning"},
    };

    assert_named(mistakes, sizeof(mistakes) / sizeof(mistakes[0]));
}

static void parts_need_examples_in_order(void **state)
{
    (void)state;
    char *part = change(CHOICE, "part", "\"p\"");
    char *text = change(part, "fewshot", "{\"documents\": \"x\"}");
    struct ce_task task;
    struct ce_error err = {.text = ""};

    assert_int_equal(read(text, &task, &err), CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "fewshot.sampler: must be \"first_n\""));
    free(text);
    free(part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_harness),
        cmocka_unit_test(null_is_as_if_absent),
        cmocka_unit_test(filters_and_metrics_are_read),
        cmocka_unit_test(mistakes_in_what_is_asked_are_named),
        cmocka_unit_test(mistakes_in_the_rest_are_named),
        cmocka_unit_test(parts_need_examples_in_order),
    };

    return cmocka_run_group_tests_name("eval.description", tests, NULL, NULL);
}
