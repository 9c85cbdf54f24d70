/* comparison_print.c - a comparison as JSON and as Markdown */

#include "eval/comparison.h"
#include "eval/estimate.h"
#include "eval/markdown.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *row_json(const struct ce_comparison_row *row)
{
    json_t *object = json_pack("{s:s, s:s, s:s, s:b, s:I}",
                               "task",
                               row->task,
                               "filter",
                               row->filter,
                               "metric",
                               row->metric,
                               "higher_is_better",
                               (int)row->higher_is_better,
                               "documents",
                               (json_int_t)row->documents);
    const struct {
        const char *key;
        const struct ce_estimate *value;
    } field[] = {
        {ce_variant_name[CE_VARIANT_FULL], &row->variant[CE_VARIANT_FULL]},
        {ce_variant_name[CE_VARIANT_TRUNCATED], &row->variant[CE_VARIANT_TRUNCATED]},
        {ce_variant_name[CE_VARIANT_COMPRESSED], &row->variant[CE_VARIANT_COMPRESSED]},
        {"truncated_minus_full", &row->truncated_full},
        {"compressed_minus_full", &row->compressed_full},
        {"compressed_minus_truncated", &row->compressed_truncated},
        {"recovered_fraction", &row->recovered},
    };

    for (size_t i = 0; i < sizeof(field) / sizeof(field[0]); i++) {
        if (json_object_set_new(
                object, field[i].key, ce_estimate_json(field[i].value)) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *rows_json(const struct ce_comparison *comparison)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < comparison->rows; i++) {
        if (json_array_append_new(rows, row_json(&comparison->row[i])) != 0) {
            json_decref(rows);
            return NULL;
        }
    }
    return rows;
}

static json_t *variant_json(const struct ce_comparison_cost *cost,
                            size_t costs,
                            bool varying,
                            size_t variant)
{
    json_t *object = json_object();

    for (size_t i = 0; i < costs; i++) {
        if ((varying || !cost[i].varies) &&
            json_object_set_new(
                object, cost[i].key, ce_maybe_json(cost[i].variant[variant])) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

json_t *ce_comparison_json(const struct ce_comparison *comparison,
                           const struct ce_comparison_cost *cost,
                           size_t costs,
                           bool varying)
{
    /* json_pack takes over what it is given and fails where that is NULL. */
    return json_pack("{s:o, s:{s:o, s:o, s:o}}",
                     "rows",
                     rows_json(comparison),
                     "costs",
                     ce_variant_name[0],
                     variant_json(cost, costs, varying, 0),
                     ce_variant_name[1],
                     variant_json(cost, costs, varying, 1),
                     ce_variant_name[2],
                     variant_json(cost, costs, varying, 2));
}

/* Differences have their sign. */
static const struct ce_estimate_style plain = {.scale = 1.0, .decimals = 4};
static const struct ce_estimate_style difference = {
    .scale = 1.0, .decimals = 4, .sign = true};

static char *rows_markdown(const struct ce_comparison *comparison)
{
    static const struct ce_markdown_column column[] = {{"Task", false},
                                                       {"Filter", false},
                                                       {"Metric", false},
                                                       {"", false},
                                                       {"Documents", true},
                                                       {"Full", true},
                                                       {"Truncated", true},
                                                       {"Compressed", true},
                                                       {"Truncated − full", true},
                                                       {"Compressed − full", true},
                                                       {"Compressed − truncated", true},
                                                       {"Recovered", true}};
    struct ce_markdown table = {.column = column,
                                .columns = sizeof(column) / sizeof(column[0])};
    char text[CE_ESTIMATE_BYTES];

    for (size_t i = 0; i < comparison->rows; i++) {
        const struct ce_comparison_row *row = &comparison->row[i];

        ce_markdown_add(&table, "%s", row->task);
        ce_markdown_add(&table, "%s", row->filter);
        ce_markdown_add(&table, "%s", row->metric);
        ce_markdown_add(&table, "%s", row->higher_is_better ? "↑" : "↓");
        ce_markdown_add(&table, "%zu", row->documents);
        for (size_t v = 0; v < CE_VARIANTS; v++) {
            ce_markdown_add(
                &table, "%s", ce_estimate_text(&row->variant[v], &plain, text));
        }
        ce_markdown_add(
            &table, "%s", ce_estimate_text(&row->truncated_full, &difference, text));
        ce_markdown_add(
            &table, "%s", ce_estimate_text(&row->compressed_full, &difference, text));
        ce_markdown_add(
            &table,
            "%s",
            ce_estimate_text(&row->compressed_truncated, &difference, text));
        ce_markdown_add(&table, "%s", ce_estimate_text(&row->recovered, &plain, text));
    }
    return ce_markdown_take(&table);
}

/* NULL also when there is nothing to show. */
static char *
costs_markdown(const struct ce_comparison_cost *cost, size_t costs, bool varying)
{
    struct ce_markdown_column *column = calloc(costs + 1, sizeof(*column));
    struct ce_markdown table = {.column = column, .columns = 1};
    char *text = NULL;

    if (column == NULL) {
        return NULL;
    }
    column[0] = (struct ce_markdown_column){.heading = "Variant"};
    for (size_t i = 0; i < costs; i++) {
        if (varying || !cost[i].varies) {
            column[table.columns++] =
                (struct ce_markdown_column){.heading = cost[i].name, .right = true};
        }
    }
    for (size_t v = 0; v < CE_VARIANTS; v++) {
        ce_markdown_add(&table, "%s", ce_variant_name[v]);
        for (size_t i = 0; i < costs; i++) {
            const struct ce_maybe *value = &cost[i].variant[v];

            if ((varying || !cost[i].varies) && value->known) {
                ce_markdown_add(&table, "%.*f", cost[i].decimals, value->value);
            } else if (varying || !cost[i].varies) {
                ce_markdown_add(&table, "N/A");
            }
        }
    }
    text = ce_markdown_take(&table);
    free(column);
    return text;
}

static bool has_costs(const struct ce_comparison_cost *cost, size_t costs, bool varying)
{
    for (size_t i = 0; i < costs; i++) {
        if (varying || !cost[i].varies) {
            return true;
        }
    }
    return false;
}

char *ce_comparison_markdown(const struct ce_comparison *comparison,
                             const struct ce_comparison_cost *cost,
                             size_t costs,
                             bool varying)
{
    char *rows = rows_markdown(comparison);
    char *below = NULL;
    char *text = NULL;

    if (rows == NULL || !has_costs(cost, costs, varying)) {
        return rows;
    }
    below = costs_markdown(cost, costs, varying);
    if (below != NULL && asprintf(&text, "%s\n%s", rows, below) < 0) {
        text = NULL;
    }
    free(rows);
    free(below);
    return text;
}
