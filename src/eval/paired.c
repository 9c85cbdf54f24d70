/* paired.c - two variants on the same documents: how much they differ */

#include "eval/paired.h"

#include <math.h>

/* A number that each document has: linear in its values under three variants. */
struct combination {
    const double *value[3];
    double factor[3];
};

static double at(const struct combination *combination, size_t index)
{
    double total = 0.0;

    for (size_t i = 0; i < 3; i++) {
        total += combination->value[i] == NULL
                     ? 0.0
                     : combination->factor[i] * combination->value[i][index];
    }
    return total;
}

static double mean(const struct combination *combination, size_t count)
{
    double total = 0.0;

    for (size_t i = 0; i < count; i++) {
        total += at(combination, i);
    }
    return total / (double)count;
}

/* Sample deviation over sqrt(count). */
static struct ce_maybe standard_error(const struct combination *combination,
                                      size_t count)
{
    double total = 0.0;
    double middle = 0.0;

    if (count < 2) {
        return (struct ce_maybe){.known = false};
    }
    middle = mean(combination, count);
    for (size_t i = 0; i < count; i++) {
        double difference = at(combination, i) - middle;

        total += difference * difference;
    }
    return (struct ce_maybe){.known = true,
                             .value = sqrt(total / (double)(count - 1)) /
                                      sqrt((double)count)};
}

struct ce_estimate ce_paired_difference(const double *a, const double *b, size_t count)
{
    struct combination difference = {.value = {a, b}, .factor = {1.0, -1.0}};

    if (count == 0) {
        return (struct ce_estimate){.value = {.known = false}};
    }
    return (struct ce_estimate){
        .value = {.known = true, .value = mean(&difference, count)},
        .error = standard_error(&difference, count)};
}

struct ce_estimate ce_paired_recovered(const double *full,
                                       const double *truncated,
                                       const double *compressed,
                                       size_t count)
{
    struct ce_estimate lost = ce_paired_difference(full, truncated, count);
    struct ce_estimate gained = ce_paired_difference(compressed, truncated, count);
    struct ce_estimate recovered = {.value = {.known = false}};

    if (!lost.value.known || lost.value.value == 0.0) {
        return recovered;
    }
    double fraction = gained.value.value / lost.value.value;
    double scale = 1.0 / lost.value.value;
    struct combination slope = {
        .value = {compressed, truncated, full},
        .factor = {scale, (fraction - 1.0) * scale, -fraction * scale}};

    recovered.value = (struct ce_maybe){.known = true, .value = fraction};
    recovered.error = standard_error(&slope, count);
    return recovered;
}
