/* estimate.h - a number and its standard error, as JSON and as text */

#ifndef CE_EVAL_ESTIMATE_H
#define CE_EVAL_ESTIMATE_H

#include "eval/paired.h"

#include <jansson.h>
#include <stdbool.h>

/* What is not known, or not finite, is the string "N/A". NULL: out of memory. */
json_t *ce_maybe_json(struct ce_maybe maybe);
/* {"value", "stderr"} */
json_t *ce_estimate_json(const struct ce_estimate *estimate);

struct ce_estimate_style {
    double scale; /* what both numbers are multiplied by */
    int decimals;
    bool sign;        /* also a plus: it is a difference */
    const char *unit; /* put behind, or NULL */
};

/* Two doubles of any size. */
#define CE_ESTIMATE_BYTES 700

/* "1.25 ± 0.50", "1.25" without an error, "N/A". Returns `text`, or a constant. */
const char *ce_estimate_text(const struct ce_estimate *estimate,
                             const struct ce_estimate_style *style,
                             char text[CE_ESTIMATE_BYTES]);

#endif
