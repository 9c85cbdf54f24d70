/* paired.h - two variants on the same documents: how much they differ
 *
 * The value of a document under one variant goes with its value under another, so the
 * error of a difference is that of the differences, which is much smaller than what the
 * two standard errors would give. Plain arrays in, nothing is allocated; sums go from
 * left to right.
 */

#ifndef CE_EVAL_PAIRED_H
#define CE_EVAL_PAIRED_H

#include "eval/aggregate.h"

#include <stddef.h>

/* Not known: there is no such number. The error may be missing alone. */
struct ce_estimate {
    struct ce_maybe value;
    struct ce_maybe error; /* standard error */
};

/* mean(a - b) and the sample deviation of a - b over sqrt(count). The value is not
 * known for no values, the error for fewer than two. */
struct ce_estimate ce_paired_difference(const double *a, const double *b, size_t count);

/* How much of what truncation loses comes back:
 *
 *   R = (mean compressed - mean truncated) / (mean full - mean truncated)
 *
 * Its error is by the delta method on the pairs: with f, t, c of one document,
 * d = ((c - t) - R (f - t)) / (mean full - mean truncated) has mean 0, and R's error is
 * its sample deviation over sqrt(count). It is no use where the denominator is not
 * clearly different from 0: look at the difference of full and truncated first. Not
 * known where that is exactly 0. */
struct ce_estimate ce_paired_recovered(const double *full,
                                       const double *truncated,
                                       const double *compressed,
                                       size_t count);

#endif
