/* filter.h - from the text of an answer to the part of it that is judged
 *
 * The filters of lm-evaluation-harness (lm_eval/filters, version 0.4.13) on the one
 * answer a query has. There `take_first` takes the first of several answers, so here it
 * does nothing, and a filter without it is one with it.
 */

#ifndef CE_EVAL_FILTER_H
#define CE_EVAL_FILTER_H

#include "base/status.h"
#include "eval/eval.h"
#include "eval/pattern.h"

/* A filter ready to run; used by one thread at a time. */
struct ce_filter_program {
    const struct ce_filter *filter; /* must outlive this */
    struct ce_pattern **pattern;    /* [steps]; NULL where a step has none */
};

/* ce_filter_close frees it, also after a failure. */
CE_MUST_CHECK enum ce_status ce_filter_open(struct ce_filter_program *program,
                                            const struct ce_filter *filter,
                                            struct ce_error *err);
void ce_filter_close(struct ce_filter_program *program); /* accepts a zeroed one */

/* The caller frees *out. */
CE_MUST_CHECK enum ce_status ce_filter_apply(const struct ce_filter_program *program,
                                             const char *text,
                                             char **out,
                                             struct ce_error *err);

#endif
