/* aggregate.h - one number for many documents, and how far it can be trusted
 *
 * Source: lm_eval/api/metrics.py, version 0.4.13, as CPython 3.11 runs it: sums go from
 * left to right in double, so the results are the same in the last digit. (From 3.12 on
 * Python's sum() compensates rounding errors; its last digits may differ.)
 */

#ifndef CE_EVAL_AGGREGATE_H
#define CE_EVAL_AGGREGATE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

enum ce_aggregation {
    CE_AGGREGATE_MEAN = 0,
    CE_AGGREGATE_PERPLEXITY,          /* exp(-mean) */
    CE_AGGREGATE_WEIGHTED_PERPLEXITY, /* exp(-sum of values / sum of weights) */
    CE_AGGREGATE_BITS_PER_BYTE,       /* -sum of values / sum of weights / log 2 */
};

/* lm-evaluation-harness' default. */
#define CE_AGGREGATE_DRAWS ((size_t)100000)

/* `weight` is read only by the last two. count is not 0, neither is the sum of weights.
 */
double ce_aggregate(enum ce_aggregation aggregation,
                    const double *value,
                    const double *weight,
                    size_t count);

/* A number that may not exist: lm-evaluation-harness' "N/A". */
struct ce_maybe {
    bool known;
    double value;
};

/* The standard error of the above. Of a mean: sample deviation / sqrt(count). Of a
 * perplexity: the sample deviation of `draws` bootstrap replicates in chunks of 1000,
 * chunk i from random.Random(i).choices(); in parallel, with the bits of one thread.
 * Not known for the weighted ones, for one document, with draws 0, and for one
 * replicate. */
CE_MUST_CHECK enum ce_status ce_aggregate_error(enum ce_aggregation aggregation,
                                                const double *value,
                                                size_t count,
                                                size_t draws,
                                                struct ce_maybe *error,
                                                struct ce_error *err);

/* Numbers whose mean is the aggregate and whose spread is that of its linearisation:
 * aggregate + its derivative with respect to document i, times count. With them the
 * aggregates of two variants can be compared document by document (paired.h). For a
 * mean they are the values. */
void ce_aggregate_linearise(enum ce_aggregation aggregation,
                            const double *value,
                            const double *weight,
                            size_t count,
                            double *linear);

/* sum(values) / count and sqrt(sum((x - mean) ** 2) / (count - 1)), count above 1. */
double ce_aggregate_mean(const double *value, size_t count);
double ce_aggregate_deviation(const double *value, size_t count);

#endif
