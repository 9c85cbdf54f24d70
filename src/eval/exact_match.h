/* exact_match.h - whether an answer is the target, after what should not count is gone
 *
 * Source: exact_match_hf_evaluate() of lm_eval/api/metrics.py, version 0.4.13.
 */

#ifndef CE_EVAL_EXACT_MATCH_H
#define CE_EVAL_EXACT_MATCH_H

#include "base/status.h"
#include "eval/eval.h"
#include "eval/pattern.h"

#include <stdbool.h>

/* Used by one thread at a time. */
struct ce_exact_match {
    const struct ce_metric *metric; /* must outlive this */
    struct ce_pattern **pattern;    /* [ignores] */
};

/* ce_exact_match_close frees it, also after a failure. */
CE_MUST_CHECK enum ce_status ce_exact_match_open(struct ce_exact_match *match,
                                                 const struct ce_metric *metric,
                                                 struct ce_error *err);
void ce_exact_match_close(struct ce_exact_match *match); /* accepts a zeroed one */

CE_MUST_CHECK enum ce_status ce_exact_match_test(const struct ce_exact_match *match,
                                                 const char *answer,
                                                 const char *target,
                                                 bool *equal,
                                                 struct ce_error *err);

#endif
