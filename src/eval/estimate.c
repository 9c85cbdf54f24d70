/* estimate.c - a number and its standard error, as JSON and as text */

#include "eval/estimate.h"

#include <math.h>
#include <stdio.h>

/* JSON has no number for what is not known. */
json_t *ce_maybe_json(struct ce_maybe maybe)
{
    return maybe.known && isfinite(maybe.value) ? json_real(maybe.value)
                                                : json_string("N/A");
}

json_t *ce_estimate_json(const struct ce_estimate *estimate)
{
    return json_pack("{s:o, s:o}",
                     "value",
                     ce_maybe_json(estimate->value),
                     "stderr",
                     ce_maybe_json(estimate->error));
}

const char *ce_estimate_text(const struct ce_estimate *estimate,
                             const struct ce_estimate_style *style,
                             char text[CE_ESTIMATE_BYTES])
{
    const char *unit = style->unit != NULL ? style->unit : "";
    double value = style->scale * estimate->value.value;
    double error = style->scale * estimate->error.value;
    int length = 0;

    if (!estimate->value.known) {
        return "N/A";
    }
    length = style->sign
                 ? snprintf(text, CE_ESTIMATE_BYTES, "%+.*f", style->decimals, value)
                 : snprintf(text, CE_ESTIMATE_BYTES, "%.*f", style->decimals, value);
    if (length >= CE_ESTIMATE_BYTES) {
        return text;
    }
    if (estimate->error.known) {
        (void)snprintf(text + length,
                       CE_ESTIMATE_BYTES - (size_t)length,
                       " ± %.*f%s",
                       style->decimals,
                       error,
                       unit);
    } else {
        (void)snprintf(text + length, CE_ESTIMATE_BYTES - (size_t)length, "%s", unit);
    }
    return text;
}
