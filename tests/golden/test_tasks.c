/* test_tasks.c - every request of every shipped task, against lm-evaluation-harness
 *
 * tasks_NAME.jsonl has what its own task definitions ask for deploy/tasks/sample; made
 * by tests/oracle/make_task_goldens.py.
 */

#include "base/file.h"
#include "eval/python_random.h"
#include "eval/task.h"
#include "test.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TASKS_DIR CE_TEST_SOURCE_DIR "/../deploy/tasks"

struct lines {
    json_t *object[512];
    size_t count;
};

static void lines_read(struct lines *lines, const char *path)
{
    char *text = NULL;
    size_t bytes = 0;
    struct ce_error err;

    lines->count = 0;
    assert_int_equal(ce_file_read(path, 1 << 24, &text, &bytes, &err), CE_OK);
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        json_error_t why;

        assert_true(lines->count < sizeof(lines->object) / sizeof(lines->object[0]));
        lines->object[lines->count] = json_loads(line, 0, &why);
        assert_non_null(lines->object[lines->count]);
        lines->count++;
    }
    free(text);
    assert_true(lines->count > 0);
}

static void lines_free(struct lines *lines)
{
    for (size_t i = 0; i < lines->count; i++) {
        json_decref(lines->object[i]);
    }
}

static const char *string_at(const json_t *list, size_t index)
{
    const char *string = json_string_value(json_array_get(list, index));

    assert_non_null(string);
    return string;
}

static void check_generation(const struct ce_task *task, const json_t *golden)
{
    const json_t *until = json_object_get(golden, "until");
    const json_t *most = json_object_get(golden, "max_gen_toks");

    assert_int_equal(task->generate.untils, json_array_size(until));
    for (size_t i = 0; i < task->generate.untils; i++) {
        assert_string_equal(task->generate.until[i], string_at(until, i));
    }
    assert_false(json_is_true(json_object_get(golden, "do_sample")));
    assert_true(task->generate.temperature == 0.0);
    assert_int_equal(task->generate.max_new_tokens,
                     most == NULL ? 256 : json_integer_value(most));
}

static void check_query(const struct ce_task *task,
                        const struct ce_query *query,
                        const json_t *arguments)
{
    switch (query->kind) {
    case CE_QUERY_LOGLIKELIHOOD:
        assert_string_equal(query->context, string_at(arguments, 0));
        assert_string_equal(query->continuation, string_at(arguments, 1));
        break;
    case CE_QUERY_ROLLING:
        assert_null(query->context);
        assert_string_equal(query->continuation, string_at(arguments, 0));
        break;
    case CE_QUERY_GENERATE:
        assert_string_equal(query->context, string_at(arguments, 0));
        assert_null(query->continuation);
        check_generation(task, json_array_get(arguments, 1));
        break;
    }
}

static void check_choices(const struct ce_document *document, const json_t *golden)
{
    const json_t *choices = json_object_get(golden, "choices");

    if (choices == NULL) {
        assert_null(document->choice);
        return;
    }
    assert_int_equal(document->queries, json_array_size(choices));
    for (size_t i = 0; i < document->queries; i++) {
        assert_string_equal(document->choice[i], string_at(choices, i));
    }
    assert_int_equal(document->gold,
                     json_integer_value(json_object_get(golden, "gold")));
}

static void check_document(const struct ce_task *task,
                           const struct ce_document *document,
                           const json_t *golden)
{
    const json_t *requests = json_object_get(golden, "requests");
    const json_t *bytes = json_object_get(golden, "bytes");

    assert_int_equal(document->queries, json_array_size(requests));
    for (size_t i = 0; i < document->queries; i++) {
        check_query(
            task, &task->query[document->first + i], json_array_get(requests, i));
    }
    assert_string_equal(document->target,
                        json_string_value(json_object_get(golden, "target")));
    check_choices(document, golden);
    if (bytes != NULL) {
        assert_int_equal(strlen(document->measured), json_integer_value(bytes));
    } else {
        assert_null(document->measured);
    }
}

static void open_task(struct ce_task *task, const struct ce_task_options *options)
{
    struct ce_error err = {.text = ""};

    if (ce_task_open(task, options, &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
}

static const char *name_of(const json_t *line)
{
    return json_string_value(json_object_get(line, "task"));
}

/* How many lines from `first` are of the same task, part and number of examples. */
static size_t run_length(const struct lines *lines, size_t first)
{
    size_t count = 0;

    while (first + count < lines->count &&
           (size_t)json_integer_value(
               json_object_get(lines->object[first + count], "doc_id")) == count) {
        count++;
    }
    return count;
}

static void check_run(const struct lines *lines, size_t first, size_t count)
{
    const json_t *line = lines->object[first];
    const json_t *fewshot = json_object_get(line, "fewshot");
    char description[512];
    const struct ce_task_options options = {
        .description = description,
        .part = json_string_value(json_object_get(line, "part")),
        .data_dir = TASKS_DIR "/sample",
        .limit = count,
        .fewshot = json_is_null(fewshot) ? CE_TASK_FEWSHOT_DEFAULT
                                         : (size_t)json_integer_value(fewshot),
    };
    struct ce_task task;

    (void)snprintf(
        description, sizeof(description), TASKS_DIR "/%s.json", name_of(line));
    open_task(&task, &options);
    assert_int_equal(task.documents, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(task.document[i].id, i);
        check_document(&task, &task.document[i], lines->object[first + i]);
    }
    ce_task_close(&task);
}

static void every_request_is_that_of_the_harness(void **state)
{
    (void)state;
    glob_t found;
    size_t files = 0;

    assert_int_equal(glob(CE_TEST_SOURCE_DIR "/golden/tasks_*.jsonl", 0, NULL, &found),
                     0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct lines lines;

        lines_read(&lines, found.gl_pathv[i]);
        for (size_t first = 0;
             name_of(lines.object[0]) != NULL && first < lines.count;) {
            size_t count = run_length(&lines, first);

            assert_true(count > 0);
            check_run(&lines, first, count);
            first += count;
        }
        files += name_of(lines.object[0]) != NULL;
        lines_free(&lines);
    }
    globfree(&found);
    assert_int_equal(files, 12);
}

/* All subjects at once ask what they ask one by one. */
static void all_parts_are_the_sum_of_each(void **state)
{
    (void)state;
    const struct ce_task_options options = {
        .description = TASKS_DIR "/mmlu.json",
        .data_dir = TASKS_DIR "/sample",
        .fewshot = 5,
    };
    struct lines lines;
    struct ce_task task;
    size_t checked = 0;

    lines_read(&lines, CE_TEST_SOURCE_DIR "/golden/tasks_mmlu.jsonl");
    open_task(&task, &options);
    for (size_t i = 0; i < lines.count; i++) {
        if (json_is_integer(json_object_get(lines.object[i], "fewshot"))) {
            check_document(&task, &task.document[checked], lines.object[i]);
            checked++;
        }
    }
    assert_int_equal(checked, task.documents);
    ce_task_close(&task);
    lines_free(&lines);
}

static void samples_are_those_of_python(void **state)
{
    (void)state;
    struct ce_python_random random;
    struct lines lines;
    uint64_t seed = UINT64_MAX;

    lines_read(&lines, CE_TEST_SOURCE_DIR "/golden/tasks_sampler.jsonl");
    for (size_t i = 0; i < lines.count; i++) {
        const json_t *line = lines.object[i];
        const json_t *golden = json_object_get(line, "chosen");
        uint64_t wanted_seed =
            (uint64_t)json_integer_value(json_object_get(line, "seed"));
        size_t chosen[64];

        if (wanted_seed != seed) {
            seed = wanted_seed;
            ce_python_random_seed(&random, seed);
        }
        assert_true(json_array_size(golden) <= 64);
        assert_true(ce_python_random_sample(
            &random,
            (size_t)json_integer_value(json_object_get(line, "population")),
            json_array_size(golden),
            chosen));
        for (size_t j = 0; j < json_array_size(golden); j++) {
            assert_int_equal(chosen[j], json_integer_value(json_array_get(golden, j)));
        }
    }
    lines_free(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_is_that_of_the_harness),
        cmocka_unit_test(all_parts_are_the_sum_of_each),
        cmocka_unit_test(samples_are_those_of_python),
    };

    return cmocka_run_group_tests_name("golden.tasks", tests, NULL, NULL);
}
