/* eval_values.h - the options of `cemoe eval` */

#ifndef CE_TOOLS_EVAL_VALUES_H
#define CE_TOOLS_EVAL_VALUES_H

#include "base/options.h"
#include "tools/common.h"

#include <stdbool.h>
#include <stddef.h>

struct ce_eval_values {
    struct ce_model_values model;
    struct ce_run_values run;
    struct ce_option_list tasks;
    struct ce_option_list requests;
    struct ce_option_list batches;
    const char *data;
    const char *out;
    size_t limit;
    int fewshot; /* -1: the description's */
    bool compare;
    size_t max_length; /* 0: the model's context */
    size_t max_sequences;
    double time_limit; /* seconds; 0: none */
    double grace;
    bool resume;
    bool status;
    bool share_prefixes;
    bool json;
};

#endif
