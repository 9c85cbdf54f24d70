/* bench_samples.c - median and extremes */

#include "tools/bench_samples.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

struct ce_spread ce_spread_of(double *samples, size_t count)
{
    qsort(samples, count, sizeof(samples[0]), compare);
    return (struct ce_spread){.median =
                                  (samples[(count - 1) / 2] + samples[count / 2]) / 2.0,
                              .min = samples[0],
                              .max = samples[count - 1]};
}

json_t *ce_spread_json(struct ce_spread spread)
{
    return json_pack("{s:f, s:f, s:f}",
                     "median",
                     spread.median,
                     "min",
                     spread.min,
                     "max",
                     spread.max);
}

double ce_ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}
