/* aggregate.c - one number for many documents, and how far it can be trusted */

#include "eval/aggregate.h"

#include "eval/python_random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_DRAWS ((size_t)1000)

/* Python squares with pow(), whose last bit is not always that of a product, which is
 * what a compiler makes of a constant exponent. */
static double square(double value)
{
    static const volatile double two = 2.0;

    return pow(value, two);
}

static double sum(const double *value, size_t count)
{
    double total = 0.0;

    for (size_t i = 0; i < count; i++) {
        total += value[i];
    }
    return total;
}

double ce_aggregate_mean(const double *value, size_t count)
{
    return sum(value, count) / (double)count;
}

double ce_aggregate_deviation(const double *value, size_t count)
{
    double mean = ce_aggregate_mean(value, count);
    double total = 0.0;

    for (size_t i = 0; i < count; i++) {
        total += square(value[i] - mean);
    }
    return sqrt(total / (double)(count - 1));
}

double ce_aggregate(enum ce_aggregation aggregation,
                    const double *value,
                    const double *weight,
                    size_t count)
{
    double result = 0.0;

    switch (aggregation) {
    case CE_AGGREGATE_MEAN:
        result = ce_aggregate_mean(value, count);
        break;
    case CE_AGGREGATE_PERPLEXITY:
        result = exp(-ce_aggregate_mean(value, count));
        break;
    case CE_AGGREGATE_WEIGHTED_PERPLEXITY:
        result = exp(-(sum(value, count) / sum(weight, count)));
        break;
    case CE_AGGREGATE_BITS_PER_BYTE:
        result = -(sum(value, count) / sum(weight, count)) / log(2.0);
        break;
    }
    return result;
}

/* One replicate: the perplexity of random.choices(value, k=count). */
static double draw(struct ce_python_random *random, const double *value, size_t count)
{
    double total = 0.0;

    for (size_t i = 0; i < count; i++) {
        total += value[(size_t)(ce_python_random_unit(random) * (double)count)];
    }
    return exp(-(total / (double)count));
}

/* As lm-eval: a last chunk that is not full is not drawn. */
static enum ce_status bootstrap(const double *value,
                                size_t count,
                                size_t draws,
                                struct ce_maybe *error,
                                struct ce_error *err)
{
    size_t size = draws < CHUNK_DRAWS ? draws : CHUNK_DRAWS;
    size_t chunks = draws / size;
    double *replicate = calloc(chunks, size * sizeof(*replicate));

    if (replicate == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for %zu bootstrap draws", draws);
    }
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < chunks; i++) {
        struct ce_python_random random;

        ce_python_random_seed(&random, i);
        for (size_t j = 0; j < size; j++) {
            replicate[i * size + j] = draw(&random, value, count);
        }
    }
    if (chunks * size > 1) {
        error->known = true;
        error->value = ce_aggregate_deviation(replicate, chunks * size);
    }
    free(replicate);
    return CE_OK;
}

enum ce_status ce_aggregate_error(enum ce_aggregation aggregation,
                                  const double *value,
                                  size_t count,
                                  size_t draws,
                                  struct ce_maybe *error,
                                  struct ce_error *err)
{
    *error = (struct ce_maybe){.known = false};
    if (draws == 0 || count < 2) {
        return CE_OK;
    }
    if (aggregation == CE_AGGREGATE_MEAN) {
        error->known = true;
        error->value = ce_aggregate_deviation(value, count) / sqrt((double)count);
    }
    return aggregation == CE_AGGREGATE_PERPLEXITY
               ? bootstrap(value, count, draws, error, err)
               : CE_OK;
}

void ce_aggregate_linearise(enum ce_aggregation aggregation,
                            const double *value,
                            const double *weight,
                            size_t count,
                            double *linear)
{
    bool weighted = aggregation == CE_AGGREGATE_WEIGHTED_PERPLEXITY ||
                    aggregation == CE_AGGREGATE_BITS_PER_BYTE;
    double all = weighted ? sum(weight, count) : (double)count;
    double rate = sum(value, count) / all;
    double aggregate = ce_aggregate(aggregation, value, weight, count);
    double slope =
        aggregation == CE_AGGREGATE_BITS_PER_BYTE ? -1.0 / log(2.0) : -aggregate;

    if (aggregation == CE_AGGREGATE_MEAN) {
        memcpy(linear, value, count * sizeof(*linear));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        double share = weighted ? weight[i] : 1.0;
        double change = (value[i] - rate * share) / (all / (double)count);

        linear[i] = aggregate + slope * change;
    }
}
