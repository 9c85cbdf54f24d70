#include "eval/comparison.h"
#include "eval/python_json.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

#define DOCUMENTS 4

/* One task with acc under three variants; compression brings one of two losses back. */
struct fixture {
    double value[CE_VARIANTS][DOCUMENTS];
    struct ce_score score[CE_VARIANTS];
    struct ce_scores scores[CE_VARIANTS];
    struct ce_task task;
    struct ce_comparison comparison;
};

static char task_name[] = "sums";

static void fixture_open(struct fixture *f)
{
    static const double value[CE_VARIANTS][DOCUMENTS] = {
        {1, 1, 1, 0}, {1, 0, 0, 0}, {1, 1, 0, 0}};
    const struct ce_scores *scores[CE_VARIANTS];
    struct ce_error err;

    *f = (struct fixture){.task = {.name = task_name}};
    memcpy(f->value, value, sizeof(value));
    for (size_t v = 0; v < CE_VARIANTS; v++) {
        f->score[v] = (struct ce_score){
            .metric = "acc",
            .filter = "none",
            .higher_is_better = true,
            .value = f->value[v],
            .aggregate = ce_aggregate_mean(f->value[v], DOCUMENTS),
            .error = {.known = v != CE_VARIANT_TRUNCATED, .value = 0.25}};
        f->scores[v] = (struct ce_scores){
            .score = &f->score[v], .count = 1, .documents = DOCUMENTS};
        scores[v] = &f->scores[v];
    }
    assert_int_equal(ce_comparison_make(&f->comparison, &f->task, 1, scores, &err),
                     CE_OK);
}

static const struct ce_comparison_cost costs[] = {
    {.name = "tokens/s",
     .key = "tokens_per_second",
     .decimals = 1,
     .varies = true,
     .variant = {{true, 10.0}, {true, 12.25}, {.known = false}}},
    {.name = "MB moved",
     .key = "moved",
     .variant = {{true, 100.0}, {true, 50.0}, {true, 60.0}}},
};

static void rows_have_values_and_differences(void **state)
{
    (void)state;
    struct fixture f;
    const struct ce_comparison_row *row = NULL;

    fixture_open(&f);
    assert_int_equal(f.comparison.rows, 1);
    row = f.comparison.row;
    assert_string_equal(row->task, "sums");
    assert_true(row->variant[CE_VARIANT_FULL].value.value == 0.75);
    assert_false(row->variant[CE_VARIANT_TRUNCATED].error.known);
    assert_true(row->truncated_full.value.value == -0.5);
    assert_true(row->compressed_full.value.value == -0.25);
    assert_true(row->compressed_full.error.value == 0.25);
    assert_true(row->compressed_truncated.value.value == 0.25);
    assert_true(row->recovered.value.value == 0.5);
    ce_comparison_free(&f.comparison);
}

static void the_table_can_be_read(void **state)
{
    (void)state;
    struct fixture f;
    char *text = NULL;

    fixture_open(&f);
    text = ce_comparison_markdown(&f.comparison, costs, 2, true);
    assert_string_equal(
        text,
        "| Task | Filter | Metric |     | Documents |            Full | Truncated |  "
        "    Compressed | Truncated − full | Compressed − full | Compressed − "
        "truncated |       Recovered |\n"
        "| ---- | ------ | ------ | --- | --------: | --------------: | --------: | "
        "--------------: | ---------------: | ----------------: | "
        "---------------------: | --------------: |\n"
        "| sums | none   | acc    | ↑   |         4 | 0.7500 ± 0.2500 |    0.2500 | "
        "0.5000 ± 0.2500 | -0.5000 ± 0.2887 |  -0.2500 ± 0.2500 |       +0.2500 ± "
        "0.2500 | 0.5000 ± 0.4082 |\n"
        "\n"
        "| Variant    | tokens/s | MB moved |\n"
        "| ---------- | -------: | -------: |\n"
        "| full       |     10.0 |      100 |\n"
        "| truncated  |     12.2 |       50 |\n"
        "| compressed |      N/A |       60 |\n");
    free(text);
    ce_comparison_free(&f.comparison);
}

/* A final file must not depend on how fast the run was. */
static void costs_that_vary_are_left_out(void **state)
{
    (void)state;
    struct fixture f;
    char *table = NULL;
    char *without = NULL;
    json_t *value = NULL;
    struct ce_string text = {.data = NULL};

    fixture_open(&f);
    table = ce_comparison_markdown(&f.comparison, costs, 2, false);
    assert_null(strstr(table, "tokens/s"));
    assert_non_null(strstr(table, "MB moved"));
    free(table);
    table = ce_comparison_markdown(&f.comparison, costs, 1, false);
    without = ce_comparison_markdown(&f.comparison, NULL, 0, false);
    assert_string_equal(table, without);
    free(table);
    free(without);
    value = ce_comparison_json(&f.comparison, costs, 2, false);
    ce_python_json(&text, json_object_get(value, "costs"), 0);
    assert_string_equal(text.data,
                        "{\"full\": {\"moved\": 100.0}, \"truncated\": {\"moved\": "
                        "50.0}, \"compressed\": {\"moved\": 60.0}}");
    ce_string_free(&text);
    json_decref(value);
    ce_comparison_free(&f.comparison);
}

static void json_has_the_numbers_and_what_is_not_known(void **state)
{
    (void)state;
    struct fixture f;
    json_t *value = NULL;
    struct ce_string text = {.data = NULL};

    fixture_open(&f);
    f.comparison.row[0].recovered.value.known = false;
    f.comparison.row[0].recovered.error.known = false;
    f.comparison.row[0].truncated_full.error.known = false;
    f.comparison.row[0].compressed_truncated.error.known = false;
    value = ce_comparison_json(&f.comparison, costs, 2, true);
    ce_python_json(&text, value, 0);
    assert_string_equal(
        text.data,
        "{\"rows\": [{\"task\": \"sums\", \"filter\": \"none\", \"metric\": \"acc\", "
        "\"higher_is_better\": true, \"documents\": 4, "
        "\"full\": {\"value\": 0.75, \"stderr\": 0.25}, "
        "\"truncated\": {\"value\": 0.25, \"stderr\": \"N/A\"}, "
        "\"compressed\": {\"value\": 0.5, \"stderr\": 0.25}, "
        "\"truncated_minus_full\": {\"value\": -0.5, \"stderr\": \"N/A\"}, "
        "\"compressed_minus_full\": {\"value\": -0.25, \"stderr\": 0.25}, "
        "\"compressed_minus_truncated\": {\"value\": 0.25, \"stderr\": \"N/A\"}, "
        "\"recovered_fraction\": {\"value\": \"N/A\", \"stderr\": \"N/A\"}}], "
        "\"costs\": {\"full\": {\"tokens_per_second\": 10.0, \"moved\": 100.0}, "
        "\"truncated\": {\"tokens_per_second\": 12.25, \"moved\": 50.0}, "
        "\"compressed\": {\"tokens_per_second\": \"N/A\", \"moved\": 60.0}}}");
    ce_string_free(&text);
    json_decref(value);
    ce_comparison_free(&f.comparison);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_have_values_and_differences),
        cmocka_unit_test(the_table_can_be_read),
        cmocka_unit_test(costs_that_vary_are_left_out),
        cmocka_unit_test(json_has_the_numbers_and_what_is_not_known),
    };

    return cmocka_run_group_tests_name("eval.comparison", tests, NULL, NULL);
}
