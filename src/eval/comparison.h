/* comparison.h - full, truncated and compressed experts side by side
 *
 * One row for each score of each task: the three values with standard errors, paired
 * differences with theirs, and how much compression recovers of what truncation loses.
 * That is a function of tasks and outcomes. What a variant costs (tokens/s, active
 * parameters, bytes moved) the caller adds as columns, and says of each whether it
 * depends on the run: those that do are for the terminal and run_*.json, never for a
 * final file.
 */

#ifndef CE_EVAL_COMPARISON_H
#define CE_EVAL_COMPARISON_H

#include "base/status.h"
#include "eval/metric.h"
#include "eval/paired.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum ce_variant {
    CE_VARIANT_FULL = 0,
    CE_VARIANT_TRUNCATED,
    CE_VARIANT_COMPRESSED,
    CE_VARIANTS,
};

/* "full", "truncated", "compressed" */
extern const char *const ce_variant_name[CE_VARIANTS];

struct ce_comparison_row {
    const char *task; /* belongs to the task, as do the others */
    const char *metric;
    const char *filter;
    bool higher_is_better;
    size_t documents;
    struct ce_estimate variant[CE_VARIANTS];
    struct ce_estimate truncated_full;       /* truncated - full */
    struct ce_estimate compressed_full;      /* compressed - full */
    struct ce_estimate compressed_truncated; /* compressed - truncated */
    struct ce_estimate recovered;
};

struct ce_comparison {
    struct ce_comparison_row *row;
    size_t rows;
};

/* scores[variant] has one entry a task. ce_comparison_free frees, also after a failure.
 */
CE_MUST_CHECK enum ce_status
ce_comparison_make(struct ce_comparison *comparison,
                   const struct ce_task *task,
                   size_t tasks,
                   const struct ce_scores *const scores[CE_VARIANTS],
                   struct ce_error *err);
void ce_comparison_free(struct ce_comparison *comparison); /* accepts a zeroed one */

/* What a variant costs. */
struct ce_comparison_cost {
    const char *name; /* "tokens/s": heading of the column */
    const char *key;  /* "tokens_per_second": the same in JSON */
    int decimals;     /* in the table; JSON has all digits */
    bool varies;      /* from run to run */
    struct ce_maybe variant[CE_VARIANTS];
};

/* The comparison as JSON: {"rows": [...], "costs": {variant: {key: value}}}; costs that
 * vary only on request. NULL when out of memory. */
json_t *ce_comparison_json(const struct ce_comparison *comparison,
                           const struct ce_comparison_cost *cost,
                           size_t costs,
                           bool varying);
/* The same as Markdown, to be freed; NULL when out of memory. */
char *ce_comparison_markdown(const struct ce_comparison *comparison,
                             const struct ce_comparison_cost *cost,
                             size_t costs,
                             bool varying);

#endif
