/* test_metrics.c - values, filters, aggregates and JSON, against lm-evaluation-harness
 *
 * metrics.jsonl has what its own functions answer; made by
 * tests/oracle/make_metric_goldens.py. Numbers must be equal in every bit, those that
 * went through exp() or pow() where libm rounds as the one they were made with.
 */

#include "base/file.h"
#include "eval/exact_match.h"
#include "eval/filter.h"
#include "eval/metric.h"
#include "eval/python_json.h"
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST 128

static const char *string_of(const json_t *line, const char *key)
{
    const char *string = json_string_value(json_object_get(line, key));

    assert_non_null(string);
    return string;
}

/* jansson gives char const, the task's strings are not: nobody writes them. */
static char *name_of(const json_t *string)
{
    assert_true(json_is_string(string));
    return (char *)(uintptr_t)json_string_value(string);
}

static void assert_same_double(double value, const json_t *golden)
{
    double expected = json_number_value(golden);

    assert_true(json_is_number(golden));
    if (value != expected) {
        fail_msg("%.17g is not %.17g", value, expected);
    }
}

/* glibc has exp() and pow() with and without fused multiply-add, for the processor to
 * choose; one value in a thousand has another last bit. These are some of them, as
 * with: what the golden values were made with. */
static bool libm_is_fused(void)
{
    static const volatile double two = 2.0;
    static const struct {
        double x;
        double square;
    } squares[] = {{0x1.ad1516dbb5f92p+1, 0x1.6797d82c90fdbp+3},
                   {0x1.273422ff4dfc7p+0, 0x1.54693346a23c5p+0}};
    static const struct {
        double x;
        double power;
    } powers[] = {{0x1.b2f8416a04bbep+1, 0x1.de905ffe58999p+4},
                  {0x1.3258a1e816c4fp+2, 0x1.df99ccef60541p+6}};
    bool fused = true;

    for (size_t i = 0; i < 2; i++) {
        const volatile double base = squares[i].x;
        const volatile double exponent = powers[i].x;

        fused = fused && pow(base, two) == squares[i].square &&
                exp(exponent) == powers[i].power;
    }
    return fused;
}

/* Through exp() or pow(): without fused multiply-add each is within a unit in the last
 * place, and a deviation of exponentials, which are close to each other, within some
 * hundred. */
static void assert_libm_double(double value, const json_t *golden)
{
    const double expected = json_number_value(golden);

    if (libm_is_fused()) {
        assert_same_double(value, golden);
    } else if (!(fabs(value - expected) <= 1e-12 * fabs(expected))) {
        fail_msg("%.17g is not %.17g within 1e-12 of it", value, expected);
    }
}

/* ---- one document */

static void set_metrics(struct ce_metric *metric, const json_t *values)
{
    assert_true(json_array_size(values) <= 8);
    for (size_t i = 0; i < json_array_size(values); i++) {
        metric[i] = (struct ce_metric){
            .name = name_of(json_array_get(json_array_get(values, i), 0))};
    }
}

static void check_values(const struct ce_task *task,
                         const struct ce_outcome *outcome,
                         const json_t *values)
{
    struct ce_scores scores;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_scores_compute(&scores, task, outcome, 0, &err), CE_OK);
    assert_int_equal(scores.count, json_array_size(values));
    for (size_t i = 0; i < scores.count; i++) {
        const struct ce_score *score = &scores.score[i];
        const json_t *golden = json_array_get(values, i);
        const json_t *value = json_array_get(golden, 1);

        assert_string_equal(score->metric, name_of(json_array_get(golden, 0)));
        assert_same_double(score->value[0], value);
        assert_int_equal(score->form == CE_VALUE_INTEGER, json_is_integer(value));
        assert_int_equal(score->form == CE_VALUE_WEIGHTED,
                         json_array_size(golden) == 3);
        if (score->form == CE_VALUE_WEIGHTED) {
            assert_same_double(score->weight[0], json_array_get(golden, 2));
        }
    }
    ce_scores_free(&scores);
}

static char none[] = "none";
static struct ce_filter no_filter = {.name = none};

static void check_multiple_choice(const json_t *line)
{
    const json_t *choices = json_object_get(line, "choices");
    const json_t *logprobs = json_object_get(line, "logprobs");
    const json_t *greedy = json_object_get(line, "greedy");
    const json_t *values = json_object_get(line, "values");
    size_t queries = json_array_size(logprobs);
    struct ce_metric metric[8];
    char *choice[16] = {NULL};
    struct ce_outcome outcome[16] = {{.done = true}};
    struct ce_document document = {
        .line = 1,
        .queries = queries,
        .gold = (size_t)json_integer_value(json_object_get(line, "gold")),
        .choice = choice};
    const struct ce_task task = {.name = none,
                                 .output = CE_OUTPUT_MULTIPLE_CHOICE,
                                 .metric = metric,
                                 .metrics = json_array_size(values),
                                 .filter = &no_filter,
                                 .filters = 1,
                                 .document = &document,
                                 .documents = 1,
                                 .queries = queries};

    assert_true(queries > 0 && queries <= 16);
    for (size_t i = 0; i < queries; i++) {
        outcome[i] = (struct ce_outcome){
            .done = true,
            .logprob = json_number_value(json_array_get(logprobs, i)),
            .greedy = json_is_true(json_array_get(greedy, i))};
        choice[i] = name_of(json_array_get(choices, i % json_array_size(choices)));
    }
    set_metrics(metric, values);
    check_values(&task, outcome, values);
}

static void check_rolling(const json_t *line)
{
    const json_t *values = json_object_get(line, "values");
    struct ce_metric metric[8];
    const struct ce_outcome outcome = {
        .done = true, .logprob = json_number_value(json_object_get(line, "logprob"))};
    struct ce_document document = {
        .line = 1, .queries = 1, .measured = name_of(json_object_get(line, "text"))};
    const struct ce_task task = {.name = none,
                                 .output = CE_OUTPUT_ROLLING,
                                 .metric = metric,
                                 .metrics = json_array_size(values),
                                 .filter = &no_filter,
                                 .filters = 1,
                                 .document = &document,
                                 .documents = 1,
                                 .queries = 1};

    set_metrics(metric, values);
    check_values(&task, &outcome, values);
}

static void check_exact_match(const json_t *line)
{
    const json_t *ignore = json_object_get(line, "ignore");
    char *pattern[8] = {NULL};
    const struct ce_metric metric = {
        .name = none,
        .ignore = pattern,
        .ignores = json_array_size(ignore),
        .ignore_case = json_is_true(json_object_get(line, "ignore_case")),
        .ignore_punctuation = json_is_true(json_object_get(line, "ignore_punctuation")),
        .ignore_numbers = json_is_true(json_object_get(line, "ignore_numbers"))};
    struct ce_exact_match match;
    struct ce_error err = {.text = ""};
    bool equal = false;

    assert_true(metric.ignores <= 8);
    for (size_t i = 0; i < metric.ignores; i++) {
        pattern[i] = name_of(json_array_get(ignore, i));
    }
    assert_int_equal(ce_exact_match_open(&match, &metric, &err), CE_OK);
    assert_int_equal(
        ce_exact_match_test(
            &match, string_of(line, "answer"), string_of(line, "target"), &equal, &err),
        CE_OK);
    assert_same_double(equal ? 1.0 : 0.0, json_object_get(line, "value"));
    ce_exact_match_close(&match);
}

/* ---- filters */

static struct ce_filter_step step_of(const json_t *object)
{
    static const char *const name[] = {
        "regex", "take_first", "remove_whitespace", "lowercase"};
    struct ce_filter_step step = {.kind = CE_FILTER_REGEX};
    size_t kind = 0;

    while (strcmp(name[kind], string_of(object, "kind")) != 0) {
        kind++;
        assert_true(kind < sizeof(name) / sizeof(name[0]));
    }
    step.kind = (enum ce_filter_step_kind)kind;
    if (step.kind == CE_FILTER_REGEX) {
        step.pattern = name_of(json_object_get(object, "pattern"));
        step.fallback = name_of(json_object_get(object, "fallback"));
        step.select = (int)json_integer_value(json_object_get(object, "select"));
    }
    return step;
}

static void check_filter(const json_t *line)
{
    const json_t *texts = json_object_get(line, "texts");
    const json_t *answers = json_object_get(line, "answers");
    const json_t *steps = json_object_get(line, "steps");
    struct ce_filter_step step[8];
    const struct ce_filter filter = {
        .name = none, .step = step, .steps = json_array_size(steps)};
    struct ce_filter_program program;
    struct ce_error err = {.text = ""};

    assert_true(filter.steps <= 8);
    for (size_t i = 0; i < filter.steps; i++) {
        step[i] = step_of(json_array_get(steps, i));
    }
    assert_int_equal(ce_filter_open(&program, &filter, &err), CE_OK);
    for (size_t i = 0; i < json_array_size(texts); i++) {
        const char *text = name_of(json_array_get(texts, i));
        const char *golden = name_of(json_array_get(answers, i));
        char *answer = NULL;

        assert_int_equal(ce_filter_apply(&program, text, &answer, &err), CE_OK);
        if (strcmp(answer, golden) != 0) {
            fail_msg("%s of \"%s\" is \"%s\", not \"%s\"",
                     step[0].pattern != NULL ? step[0].pattern : "a step",
                     text,
                     answer,
                     golden);
        }
        free(answer);
    }
    ce_filter_close(&program);
}

/* ---- all documents */

static enum ce_aggregation aggregation_of(const json_t *line)
{
    static const char *const name[] = {
        "mean", "perplexity", "weighted_perplexity", "bits_per_byte"};
    size_t kind = 0;

    while (strcmp(name[kind], string_of(line, "aggregation")) != 0) {
        kind++;
        assert_true(kind < sizeof(name) / sizeof(name[0]));
    }
    return (enum ce_aggregation)kind;
}

static void check_aggregate(const json_t *line)
{
    const json_t *values = json_object_get(line, "values");
    const json_t *weights = json_object_get(line, "weights");
    const json_t *golden = json_object_get(line, "error");
    size_t count = json_array_size(values);
    double value[MOST];
    double weight[MOST];
    struct ce_maybe error;
    struct ce_error err;

    assert_true(count <= MOST);
    for (size_t i = 0; i < count; i++) {
        value[i] = json_number_value(json_array_get(values, i));
        weight[i] = json_number_value(json_array_get(weights, i));
    }
    const enum ce_aggregation kind = aggregation_of(line);
    const double result = ce_aggregate(kind, value, weight, count);

    if (kind == CE_AGGREGATE_MEAN || kind == CE_AGGREGATE_BITS_PER_BYTE) {
        assert_same_double(result, json_object_get(line, "value"));
    } else {
        assert_libm_double(result, json_object_get(line, "value"));
    }
    assert_int_equal(
        ce_aggregate_error(kind,
                           value,
                           count,
                           (size_t)json_integer_value(json_object_get(line, "draws")),
                           &error,
                           &err),
        CE_OK);
    assert_int_equal(error.known, !json_is_null(golden));
    if (error.known) {
        assert_libm_double(error.value, golden);
    }
}

/* ---- Python's JSON */

static void check_float(const json_t *line)
{
    const json_t *hex = json_object_get(line, "hex");
    const json_t *repr = json_object_get(line, "repr");

    assert_true(json_array_size(hex) > 1000);
    for (size_t i = 0; i < json_array_size(hex); i++) {
        char text[CE_PYTHON_FLOAT_BYTES];

        ce_python_float(strtod(name_of(json_array_get(hex, i)), NULL), text);
        assert_string_equal(text, name_of(json_array_get(repr, i)));
    }
}

static void check_json(const json_t *line)
{
    const json_t *value = json_object_get(line, "value");
    struct ce_string text = {.data = NULL};

    ce_python_json(&text, value, 0);
    assert_string_equal(text.data, string_of(line, "line"));
    ce_string_free(&text);
    ce_python_json(&text, value, 2);
    assert_string_equal(text.data, string_of(line, "indented"));
    ce_string_free(&text);
}

static const struct {
    const char *kind;
    void (*check)(const json_t *line);
} checks[] = {
    {"multiple_choice", check_multiple_choice},
    {"loglikelihood_rolling", check_rolling},
    {"exact_match", check_exact_match},
    {"filter", check_filter},
    {"aggregate", check_aggregate},
    {"float", check_float},
    {"json", check_json},
};

#define KINDS (sizeof(checks) / sizeof(checks[0]))

static void check_line(const json_t *line, size_t *checked)
{
    for (size_t i = 0; i < KINDS; i++) {
        if (strcmp(checks[i].kind, string_of(line, "kind")) == 0) {
            checks[i].check(line);
            checked[i]++;
            return;
        }
    }
    fail_msg("no check for %s", string_of(line, "kind"));
}

static void every_number_is_that_of_the_harness(void **state)
{
    (void)state;
    size_t checked[KINDS] = {0};
    char *text = NULL;
    size_t bytes = 0;
    struct ce_error err;

    assert_int_equal(
        ce_file_read(
            CE_TEST_SOURCE_DIR "/golden/metrics.jsonl", 1 << 24, &text, &bytes, &err),
        CE_OK);
    for (char *next = NULL, *line = strtok_r(text, "\n", &next); line != NULL;
         line = strtok_r(NULL, "\n", &next)) {
        json_error_t why;
        json_t *object = json_loads(line, 0, &why);

        assert_non_null(object);
        check_line(object, checked);
        json_decref(object);
    }
    free(text);
    for (size_t i = 0; i < KINDS; i++) {
        assert_true(checked[i] > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_is_that_of_the_harness),
    };

    return cmocka_run_group_tests_name("golden.metrics", tests, NULL, NULL);
}
