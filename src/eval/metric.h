/* metric.h - what the outcomes of a task say about each document, and about all
 *
 * The conventions are those of lm-evaluation-harness 0.4.13 (ConfigurableTask.
 * process_results), which also decide which metrics exist for which kind of task:
 *
 *   multiple choice  acc acc_norm acc_bytes exact_match acc_mutual_info
 *   log-likelihood   perplexity acc
 *   rolling          word_perplexity byte_perplexity bits_per_byte
 *   generation       exact_match
 *
 * Where two choices are equally likely, the first counts.
 */

#ifndef CE_EVAL_METRIC_H
#define CE_EVAL_METRIC_H

#include "base/status.h"
#include "eval/aggregate.h"
#include "eval/eval.h"

#include <stdbool.h>
#include <stddef.h>

/* How lm-eval has a document's value, and so prints it. */
enum ce_value_form {
    CE_VALUE_REAL = 0,
    CE_VALUE_INTEGER,
    CE_VALUE_WEIGHTED, /* a real and its weight, an integer */
};

/* One metric under one filter. */
struct ce_score {
    const char *metric; /* belongs to the task, as do the others */
    const char *filter;
    size_t filter_index;
    bool higher_is_better;
    enum ce_aggregation aggregation;
    enum ce_value_form form;
    double *value;  /* [documents] */
    double *weight; /* [documents] words or bytes; NULL for other forms */
    double aggregate;
    struct ce_maybe error; /* standard error */
};

/* Of one task and one set of outcomes. Scores are in lm-eval's order: filter by filter,
 * and for choices and log-likelihoods in the order of the list above. */
struct ce_scores {
    struct ce_score *score;
    size_t count;
    size_t documents;
    size_t filters;
    char **answer; /* [filters][documents] of a generation: the text after the filter;
                      else NULL */
};

/* Names, patterns and kinds are such that scores can be computed: to be called before
 * work is spent on outcomes. */
CE_MUST_CHECK enum ce_status ce_scores_check(const struct ce_task *task,
                                             struct ce_error *err);

/* outcome [task->queries], all done. `draws` as in aggregate.h. A task without
 * documents has no scores. ce_scores_free frees, also after a failure. */
CE_MUST_CHECK enum ce_status ce_scores_compute(struct ce_scores *scores,
                                               const struct ce_task *task,
                                               const struct ce_outcome *outcome,
                                               size_t draws,
                                               struct ce_error *err);
void ce_scores_free(struct ce_scores *scores); /* accepts zeroed ones */

#endif
