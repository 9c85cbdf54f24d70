#include "base/file.h"
#include "eval/results.h"
#include "unit/temporary.h"

#include <stdlib.h>
#include <string.h>

#define START_NS UINT64_C(1795687521000123456)
#define TIME     "2026-11-26T10-05-21.000123"

/* One generation, one document, one filter. */
struct fixture {
    char text[8][16];
    char *until[1];
    struct ce_metric metric;
    struct ce_filter filter;
    struct ce_query query;
    struct ce_document document;
    struct ce_outcome outcome;
    struct ce_task task;
    struct ce_scores scores;
    struct ce_results_job job;
};

static void fixture_open(struct fixture *f, void **state)
{
    struct ce_error err;

    *f = (struct fixture){
        .text = {"sums/é", "exact_match", "none", "1 + 1 =", "2", "1.0", "\n", " 2\n"},
        .query = {.kind = CE_QUERY_GENERATE},
        .document = {.line = 1, .queries = 1, .source = json_pack("{s:i}", "a", 2)},
        .outcome = {.done = true, .dropped = 3, .by_length = true},
        .job = {.directory = temporary_path(state, ""),
                .start_ns = START_NS,
                .program = "cemoe 0.1.0",
                .model_name = "org/model",
                .draws = 1000,
                .limit = 1},
    };
    f->until[0] = f->text[6];
    f->metric = (struct ce_metric){.name = f->text[1], .higher_is_better = true};
    f->filter.name = f->text[2];
    f->query.context = f->text[3];
    f->document.target = f->text[4];
    f->outcome.text = f->text[7];
    f->task = (struct ce_task){
        .name = f->text[0],
        .version = f->text[5],
        .output = CE_OUTPUT_GENERATE,
        .generate = {.until = f->until, .untils = 1, .max_new_tokens = 8, .top_p = 1.0},
        .metric = &f->metric,
        .metrics = 1,
        .filter = &f->filter,
        .filters = 1,
        .document = &f->document,
        .documents = 1,
        .query = &f->query,
        .queries = 1};
    assert_int_equal(
        ce_scores_compute(&f->scores, &f->task, &f->outcome, f->job.draws, &err),
        CE_OK);
}

static void fixture_close(struct fixture *f)
{
    ce_scores_free(&f->scores);
    json_decref(f->document.source);
}

static struct ce_results_task results_of(const struct fixture *f)
{
    return (struct ce_results_task){
        .task = &f->task, .outcome = &f->outcome, .scores = &f->scores};
}

static void assert_file(void **state, const char *name, const char *expected)
{
    char *text = NULL;
    size_t bytes = 0;
    struct ce_error err = {.text = ""};

    if (ce_file_read(temporary_path(state, name), 1 << 20, &text, &bytes, &err) !=
        CE_OK) {
        fail_msg("%s", err.text);
    }
    assert_string_equal(text, expected);
    free(text);
}

/* Hashes by sha256sum: of the texts, the document with indent 2, and of the three. */
static const char expected_samples[] =
    "{\"doc_id\": 0, \"doc\": {\"a\": 2}, \"target\": \"2\", \"arguments\": "
    "{\"gen_args_0\": {\"arg_0\": \"1 + 1 =\", \"arg_1\": {\"until\": [\"\\n\"], "
    "\"do_sample\": false, \"temperature\": 0.0, \"max_gen_toks\": 8}}}, "
    "\"resps\": [[\" 2\\n\"]], \"filtered_resps\": [\" 2\\n\"], \"filter\": "
    "\"none\", \"metrics\": [\"exact_match\"], \"doc_hash\": "
    "\"ccf50d673254cd845431efc8a04821578425f1109a3ca25231b4c1091f63e383\", "
    "\"prompt_hash\": "
    "\"1576caf2566635c82d6ff2e24afda9c15b7bd802326b671517ba6c79a6759189\", "
    "\"target_hash\": "
    "\"d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35\", "
    "\"exact_match\": 0.0}\n";

static const char expected_table[] =
    "| Tasks  | Version | Filter | n-shot | Metric      |     |  Value |     | "
    "Stderr |\n"
    "| ------ | ------: | ------ | -----: | ----------- | --- | -----: | --- | "
    "-----: |\n"
    "| sums/é |     1.0 | none   |      0 | exact_match | ↑   | 0.0000 | ±   |    "
    "N/A |\n";

static const char expected_results[] =
    "{\n"
    "  \"results\": {\n"
    "    \"sums/é\": {\n"
    "      \"name\": \"sums/é\",\n"
    "      \"alias\": \"sums/é\",\n"
    "      \"sample_len\": 1,\n"
    "      \"exact_match,none\": 0.0,\n"
    "      \"exact_match_stderr,none\": \"N/A\"\n"
    "    }\n"
    "  },\n"
    "  \"group_subtasks\": {},\n"
    "  \"configs\": {\n"
    "    \"sums/é\": {}\n"
    "  },\n"
    "  \"versions\": {\n"
    "    \"sums/é\": 1.0\n"
    "  },\n"
    "  \"n-shot\": {\n"
    "    \"sums/é\": 0\n"
    "  },\n"
    "  \"higher_is_better\": {\n"
    "    \"sums/é\": {\n"
    "      \"exact_match\": true\n"
    "    }\n"
    "  },\n"
    "  \"n-samples\": {\n"
    "    \"sums/é\": {\n"
    "      \"original\": 1,\n"
    "      \"effective\": 1\n"
    "    }\n"
    "  },\n"
    "  \"n-cuts\": {\n"
    "    \"sums/é\": {\n"
    "      \"queries\": 1,\n"
    "      \"shortened\": 1,\n"
    "      \"ended_by_length\": 1\n"
    "    }\n"
    "  },\n"
    "  \"config\": {\n"
    "    \"model\": \"cemoe\",\n"
    "    \"model_args\": \"pretrained=org/model\",\n"
    "    \"limit\": 1,\n"
    "    \"bootstrap_iters\": 1000\n"
    "  },\n"
    "  \"date\": 1795687521.0001235,\n"
    "  \"program\": \"cemoe 0.1.0\",\n"
    "  \"task_hashes\": {\n"
    "    \"sums/é\": "
    "\"c456b50efb321456f5eb463e60259fa4145261e736ca5abe33bafd78c0bd69ed\"\n"
    "  },\n"
    "  \"model_source\": \"cemoe\",\n"
    "  \"model_name\": \"org/model\",\n"
    "  \"model_name_sanitized\": \"org__model\"\n"
    "}\n";

static void files_are_the_same_in_every_byte(void **state)
{
    struct fixture f;
    struct ce_error err;

    fixture_open(&f, state);
    struct ce_results_task results = results_of(&f);

    assert_int_equal(ce_results_write(&f.job, &results, 1, &err), CE_OK);
    assert_file(state, "samples_sums_é_" TIME ".jsonl", expected_samples);
    assert_file(state, "results_" TIME ".md", expected_table);
    assert_file(state, "results_" TIME ".json", expected_results);
    fixture_close(&f);
}

/* More than is collected before it is written: three lines of two megabytes. */
static void long_samples_are_written_in_pieces(void **state)
{
    struct fixture f;
    struct ce_filter filter[3];
    struct ce_error err;
    char *text = NULL;
    size_t bytes = 0;

    fixture_open(&f, state);
    ce_scores_free(&f.scores);
    for (size_t i = 0; i < 3; i++) {
        filter[i] = f.filter;
    }
    f.task.filter = filter;
    f.task.filters = 3;
    f.query.context = calloc(2000001, 1);
    assert_non_null(f.query.context);
    memset(f.query.context, 'x', 2000000);
    assert_int_equal(ce_scores_compute(&f.scores, &f.task, &f.outcome, 0, &err), CE_OK);
    struct ce_results_task results = results_of(&f);

    assert_int_equal(ce_results_write(&f.job, &results, 1, &err), CE_OK);
    assert_int_equal(
        ce_file_read(temporary_path(state, "samples_sums_é_" TIME ".jsonl"),
                     1 << 24,
                     &text,
                     &bytes,
                     &err),
        CE_OK);
    assert_int_equal(bytes % 3, 0);
    assert_memory_equal(text, text + bytes / 3, bytes / 3);
    assert_memory_equal(text, text + bytes / 3 * 2, bytes / 3);
    assert_true(text[bytes / 3 - 1] == '\n');
    assert_null(memchr(text, '\n', bytes / 3 - 1));
    free(text);
    free(f.query.context);
    fixture_close(&f);
}

static void sampling_is_part_of_the_settings(void **state)
{
    struct fixture f;
    struct ce_error err;
    char *text = NULL;
    size_t bytes = 0;

    fixture_open(&f, state);
    f.task.generate.temperature = 0.5;
    f.task.generate.seed = 7;
    struct ce_results_task results = results_of(&f);

    assert_int_equal(ce_results_write(&f.job, &results, 1, &err), CE_OK);
    assert_int_equal(
        ce_file_read(temporary_path(state, "samples_sums_é_" TIME ".jsonl"),
                     1 << 20,
                     &text,
                     &bytes,
                     &err),
        CE_OK);
    assert_non_null(strstr(text,
                           "\"do_sample\": true, \"temperature\": 0.5, "
                           "\"max_gen_toks\": 8, \"top_p\": 1.0, \"seed\": 7}"));
    free(text);
    fixture_close(&f);
}

static void times_are_utc(void **state)
{
    (void)state;
    char text[CE_RESULTS_TIME_BYTES];

    ce_results_time(START_NS, text);
    assert_string_equal(text, TIME);
    ce_results_time(0, text);
    assert_string_equal(text, "1970-01-01T00-00-00.000000");
}

static void comparison_and_run_have_files(void **state)
{
    const struct ce_results_job job = {.directory = temporary_path(state, ""),
                                       .start_ns = START_NS};
    const struct ce_comparison comparison = {.rows = 0};
    json_t *run = json_pack("{s:i}", "ranks", 4);
    struct ce_error err;

    assert_int_equal(ce_results_write_comparison(&job, &comparison, NULL, 0, &err),
                     CE_OK);
    assert_int_equal(ce_results_write_run(&job, run, &err), CE_OK);
    assert_file(state, "run_" TIME ".json", "{\n  \"ranks\": 4\n}\n");
    assert_file(state,
                "comparison_" TIME ".json",
                "{\n  \"rows\": [],\n  \"costs\": {\n    \"full\": {},\n    "
                "\"truncated\": {},\n    \"compressed\": {}\n  }\n}\n");
    assert_true(ce_file_exists(temporary_path(state, "comparison_" TIME ".md")));
    json_decref(run);
}

static void a_missing_folder_is_named(void **state)
{
    struct fixture f;
    struct ce_error err = {.text = ""};

    fixture_open(&f, state);
    f.job.directory = temporary_path(state, "missing");
    struct ce_results_task results = results_of(&f);

    assert_int_equal(ce_results_write(&f.job, &results, 1, &err), CE_ERR_IO);
    assert_non_null(strstr(err.text, "missing/samples_sums_"));
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            files_are_the_same_in_every_byte, temporary_setup, temporary_teardown),
        cmocka_unit_test_setup_teardown(
            long_samples_are_written_in_pieces, temporary_setup, temporary_teardown),
        cmocka_unit_test_setup_teardown(
            sampling_is_part_of_the_settings, temporary_setup, temporary_teardown),
        cmocka_unit_test(times_are_utc),
        cmocka_unit_test_setup_teardown(
            comparison_and_run_have_files, temporary_setup, temporary_teardown),
        cmocka_unit_test_setup_teardown(
            a_missing_folder_is_named, temporary_setup, temporary_teardown),
    };

    return cmocka_run_group_tests_name("eval.results", tests, NULL, NULL);
}
