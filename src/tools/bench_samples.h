/* bench_samples.h - repeated measurements and what is said of them */

#ifndef CE_TOOLS_BENCH_SAMPLES_H
#define CE_TOOLS_BENCH_SAMPLES_H

#include <jansson.h>
#include <stddef.h>

struct ce_spread {
    double median; /* the mean of the middle two of an even number */
    double min;
    double max;
};

/* Sorts the samples, of which there is at least one. */
struct ce_spread ce_spread_of(double *samples, size_t count);

/* a / b; 0 where there is nothing to divide by. */
double ce_ratio(double a, double b);

/* {"median": .., "min": .., "max": ..} as a new object. */
json_t *ce_spread_json(struct ce_spread spread);

#endif
