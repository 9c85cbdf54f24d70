/* metric_value.h - the metrics there are: what each is of one document */

#ifndef CE_EVAL_METRIC_VALUE_H
#define CE_EVAL_METRIC_VALUE_H

#include "base/status.h"
#include "eval/aggregate.h"
#include "eval/eval.h"
#include "eval/exact_match.h"
#include "eval/metric.h"

#include <stddef.h>

/* A document with what the model said about it. */
struct ce_answer {
    const struct ce_document *document;
    const struct ce_outcome *outcome; /* [document->queries] */
    size_t choices;                   /* of its queries; the rest have no context */
    const char *text;                 /* of a generation, after the filter */
    const struct ce_exact_match *match;
};

struct ce_value {
    double value;
    double weight; /* set by CE_VALUE_WEIGHTED ones */
};

typedef enum ce_status ce_metric_function(const struct ce_answer *answer,
                                          struct ce_value *value,
                                          struct ce_error *err);

struct ce_metric_definition {
    const char *name;
    enum ce_output_type output;
    enum ce_aggregation aggregation;
    enum ce_value_form form;
    ce_metric_function *function;
};

/* In the order in which lm-eval reports them; *count of them. */
const struct ce_metric_definition *ce_metric_definitions(size_t *count);

#endif
