/* test_results.c - the files of an evaluation, against lm-evaluation-harness
 *
 * results/TASK.jsonl is what its tracker wrote after its evaluation of a task, made by
 * tests/oracle/make_metric_goldens.py. What the model said is read from there, then our
 * file must be the same in every byte; results/results.jsonl has the numbers.
 */

#include "base/file.h"
#include "eval/results.h"
#include "eval/task.h"
#include "test.h"
#include "unit/temporary.h"

#include <stdlib.h>
#include <string.h>

#define GOLDEN_DIR CE_TEST_SOURCE_DIR "/golden/results"
#define TASKS_DIR  CE_TEST_SOURCE_DIR "/../deploy/tasks"
#define START_NS   UINT64_C(1795687521000123456)
#define TIME       "2026-11-26T10-05-21.000123"

static char *read_text(const char *path)
{
    char *text = NULL;
    size_t bytes = 0;
    struct ce_error err = {.text = ""};

    if (ce_file_read(path, 1 << 24, &text, &bytes, &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
    return text;
}

static json_t *parse(const char *line)
{
    json_error_t why;
    json_t *object = json_loads(line, 0, &why);

    assert_non_null(object);
    return object;
}

static const char *text_at(const json_t *list, size_t index)
{
    const char *text = json_string_value(json_array_get(list, index));

    assert_non_null(text);
    return text;
}

/* From one of `resps`: a list of repeats, which is of one. */
static struct ce_outcome outcome_of(enum ce_query_kind kind, const json_t *repeats)
{
    struct ce_outcome outcome = {.done = true};
    const json_t *pair = json_array_get(repeats, 0);

    switch (kind) {
    case CE_QUERY_LOGLIKELIHOOD:
        outcome.logprob = strtod(text_at(pair, 0), NULL);
        outcome.greedy = strcmp(text_at(pair, 1), "True") == 0;
        break;
    case CE_QUERY_ROLLING:
        outcome.logprob = strtod(text_at(repeats, 0), NULL);
        break;
    case CE_QUERY_GENERATE:
        outcome.text = strdup(text_at(repeats, 0));
        break;
    }
    return outcome;
}

/* The lines of the first filter have all. */
static struct ce_outcome *read_outcomes(const struct ce_task *task, char *text)
{
    struct ce_outcome *outcome = calloc(task->queries, sizeof(*outcome));
    char *next = NULL;

    assert_non_null(outcome);
    for (size_t d = 0; d < task->documents; d++) {
        const struct ce_document *document = &task->document[d];
        json_t *line = parse(strtok_r(d == 0 ? text : NULL, "\n", &next));
        const json_t *resps = json_object_get(line, "resps");

        assert_int_equal(json_array_size(resps), document->queries);
        for (size_t i = 0; i < document->queries; i++) {
            size_t query = document->first + i;

            outcome[query] =
                outcome_of(task->query[query].kind, json_array_get(resps, i));
        }
        json_decref(line);
    }
    return outcome;
}

/* Ours has the same, of this task alone. */
static void check_entry(const json_t *ours, const json_t *job, const char *key)
{
    const char *name = json_string_value(json_object_get(job, "task"));
    const json_t *entry = json_object_get(json_object_get(ours, key), name);
    char *line = json_dumps(entry, JSON_ENCODE_ANY);
    char *golden = json_dumps(json_object_get(job, key), JSON_ENCODE_ANY);

    assert_non_null(line);
    assert_string_equal(line, golden);
    free(line);
    free(golden);
}

static void check_summary(void **state, const json_t *job)
{
    char *text = read_text(temporary_path(state, "results_" TIME ".json"));
    json_t *ours = parse(text);
    const char *name = json_string_value(json_object_get(job, "task"));
    const json_t *hashes = json_object_get(ours, "task_hashes");

    check_entry(ours, job, "results");
    check_entry(ours, job, "higher_is_better");
    check_entry(ours, job, "n-shot");
    assert_string_equal(json_string_value(json_object_get(hashes, name)),
                        json_string_value(json_object_get(job, "hash")));
    json_decref(ours);
    free(text);
}

static void check_samples(void **state, const char *name, const char *golden)
{
    char file[128];
    char *ours = NULL;

    (void)snprintf(file, sizeof(file), "samples_%s_" TIME ".jsonl", name);
    ours = read_text(temporary_path(state, file));
    assert_string_equal(ours, golden);
    free(ours);
}

static void open_job(struct ce_task *task, const char *name, const json_t *job)
{
    char description[512];
    const struct ce_task_options options = {
        .description = description,
        .data_dir = TASKS_DIR "/sample",
        .limit = (size_t)json_integer_value(json_object_get(job, "limit")),
        .fewshot = CE_TASK_FEWSHOT_DEFAULT,
    };
    struct ce_error err = {.text = ""};

    (void)snprintf(description, sizeof(description), TASKS_DIR "/%s.json", name);
    if (ce_task_open(task, &options, &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
}

static void check_job(void **state, const json_t *line)
{
    const char *name = json_string_value(json_object_get(line, "task"));
    const struct ce_results_job job = {
        .directory = temporary_path(state, ""),
        .start_ns = START_NS,
        .program = "cemoe",
        .model_name = "model",
        .draws = (size_t)json_integer_value(json_object_get(line, "draws"))};
    char path[512];
    char *golden = NULL;
    char *copy = NULL;
    struct ce_task task;
    struct ce_scores scores;
    struct ce_outcome *outcome = NULL;
    struct ce_error err = {.text = ""};

    (void)snprintf(path, sizeof(path), GOLDEN_DIR "/%s.jsonl", name);
    golden = read_text(path);
    copy = strdup(golden);
    open_job(&task, name, line);
    outcome = read_outcomes(&task, copy);
    assert_int_equal(ce_scores_compute(&scores, &task, outcome, job.draws, &err),
                     CE_OK);
    assert_int_equal(ce_results_write(&job,
                                      &(struct ce_results_task){.task = &task,
                                                                .outcome = outcome,
                                                                .scores = &scores},
                                      1,
                                      &err),
                     CE_OK);
    check_samples(state, name, golden);
    check_summary(state, line);
    for (size_t i = 0; i < task.queries; i++) {
        free(outcome[i].text);
    }
    free(outcome);
    ce_scores_free(&scores);
    ce_task_close(&task);
    free(copy);
    free(golden);
}

static void every_file_is_that_of_the_harness(void **state)
{
    char *text = read_text(GOLDEN_DIR "/results.jsonl");
    size_t jobs = 0;

    for (char *next = NULL, *line = strtok_r(text, "\n", &next); line != NULL;
         line = strtok_r(NULL, "\n", &next)) {
        json_t *job = parse(line);

        check_job(state, job);
        json_decref(job);
        jobs++;
    }
    free(text);
    assert_int_equal(jobs, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            every_file_is_that_of_the_harness, temporary_setup, temporary_teardown),
    };

    return cmocka_run_group_tests_name("golden.results", tests, NULL, NULL);
}
