/* comparison.c - full, truncated and compressed experts side by side */

#include "eval/comparison.h"

#include <stdlib.h>

const char *const ce_variant_name[CE_VARIANTS] = {"full", "truncated", "compressed"};

/* The same score under each variant. */
struct trio {
    const struct ce_score *score[CE_VARIANTS];
    size_t documents;
};

static enum ce_status
compare(struct ce_comparison_row *row, const struct trio *trio, struct ce_error *err)
{
    size_t count = trio->documents;
    double *memory = calloc(CE_VARIANTS * count + 1, sizeof(*memory));
    double *linear[CE_VARIANTS];

    if (memory == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory to compare variants");
    }
    for (size_t v = 0; v < CE_VARIANTS; v++) {
        const struct ce_score *score = trio->score[v];

        linear[v] = memory + v * count;
        ce_aggregate_linearise(
            score->aggregation, score->value, score->weight, count, linear[v]);
        row->variant[v].value =
            (struct ce_maybe){.known = true, .value = score->aggregate};
        row->variant[v].error = score->error;
    }
    const double *full = linear[CE_VARIANT_FULL];
    const double *truncated = linear[CE_VARIANT_TRUNCATED];
    const double *compressed = linear[CE_VARIANT_COMPRESSED];

    row->truncated_full = ce_paired_difference(truncated, full, count);
    row->compressed_full = ce_paired_difference(compressed, full, count);
    row->compressed_truncated = ce_paired_difference(compressed, truncated, count);
    row->recovered = ce_paired_recovered(full, truncated, compressed, count);
    free(memory);
    return CE_OK;
}

enum ce_status ce_comparison_make(struct ce_comparison *comparison,
                                  const struct ce_task *task,
                                  size_t tasks,
                                  const struct ce_scores *const scores[CE_VARIANTS],
                                  struct ce_error *err)
{
    enum ce_status status = CE_OK;
    size_t rows = 0;

    for (size_t t = 0; t < tasks; t++) {
        rows += scores[CE_VARIANT_FULL][t].count;
    }
    *comparison = (struct ce_comparison){
        .row = calloc(rows + 1, sizeof(struct ce_comparison_row))};
    if (comparison->row == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory to compare variants");
    }
    for (size_t t = 0; t < tasks; t++) {
        const struct ce_scores *full = &scores[CE_VARIANT_FULL][t];

        for (size_t i = 0; status == CE_OK && i < full->count; i++) {
            struct ce_comparison_row *row = &comparison->row[comparison->rows++];
            struct trio trio = {.documents = full->documents};

            for (size_t v = 0; v < CE_VARIANTS; v++) {
                trio.score[v] = &scores[v][t].score[i];
            }
            row->task = task[t].name;
            row->metric = full->score[i].metric;
            row->filter = full->score[i].filter;
            row->higher_is_better = full->score[i].higher_is_better;
            row->documents = full->documents;
            status = compare(row, &trio, err);
        }
    }
    return status;
}

void ce_comparison_free(struct ce_comparison *comparison)
{
    free(comparison->row);
    *comparison = (struct ce_comparison){.rows = 0};
}
