/* means.c - sums over all ranks, in an order that does not depend on these */

#include "calibrate/means.h"

#include "comm/collective.h"

#include <math.h>
#include <string.h>

/* Of one expert; sum w y follows, [hidden]. */
struct entry {
    uint64_t expert;
    double weight;
};

size_t ce_means_bytes(size_t hidden)
{
    return sizeof(struct entry) + hidden * sizeof(double);
}

static void write_entries(const struct ce_harvest *harvest,
                          const size_t *own,
                          size_t count,
                          unsigned char *message)
{
    const size_t d = harvest->hidden;

    for (size_t i = 0; i < count; i++) {
        const struct entry entry = {own[i], harvest->output_weight[i]};
        unsigned char *to = message + i * ce_means_bytes(d);

        memcpy(to, &entry, sizeof(entry));
        memcpy(to + sizeof(entry), harvest->output_sum + i * d, d * sizeof(double));
    }
}

/* Where each expert's entry is. */
static enum ce_status find_entries(const struct ce_harvest *harvest,
                                   const struct ce_bytes *told,
                                   int rank,
                                   const unsigned char **place,
                                   struct ce_error *err)
{
    const size_t bytes = ce_means_bytes(harvest->hidden);
    const unsigned char *from = told->data;

    for (size_t at = 0; at < told->bytes; at += bytes) {
        struct entry entry = {.expert = UINT64_MAX};

        if (told->bytes - at >= bytes) {
            memcpy(&entry, from + at, sizeof(entry));
        }
        if (entry.expert >= harvest->experts || place[entry.expert] != NULL) {
            return ce_fail(
                err, CE_ERR_COMM, "rank %d sent sums of experts that cannot be", rank);
        }
        place[entry.expert] = from + at;
    }
    return CE_OK;
}

/* One value of the mean. */
static float add_value(const struct ce_harvest *harvest,
                       const unsigned char *const *place,
                       size_t j,
                       double weight)
{
    double sum = 0.0;

    for (size_t e = 0; e < harvest->experts; e++) {
        double value = 0.0;

        if (place[e] != NULL) {
            memcpy(&value,
                   place[e] + sizeof(struct entry) + j * sizeof(value),
                   sizeof(value));
        }
        sum += value;
    }
    return weight > 0.0 ? (float)(sum / weight) : 0.0F;
}

static void add_entries(const struct ce_harvest *harvest,
                        const unsigned char *const *place,
                        float *mean)
{
    double weight = 0.0;

    for (size_t e = 0; e < harvest->experts; e++) {
        struct entry entry = {.weight = 0.0};

        if (place[e] != NULL) {
            memcpy(&entry, place[e], sizeof(entry));
        }
        weight += entry.weight;
    }
    for (size_t j = 0; j < harvest->hidden; j++) {
        mean[j] = add_value(harvest, place, j, weight);
    }
}

enum ce_status ce_means_of_outputs(struct ce_transport *transport,
                                   const struct ce_harvest *harvest,
                                   const size_t *own,
                                   size_t count,
                                   unsigned char *message,
                                   const unsigned char **place,
                                   float *mean,
                                   struct ce_error *err)
{
    const struct ce_bytes mine = {message, count * ce_means_bytes(harvest->hidden)};
    const struct ce_bytes *all = NULL;
    enum ce_status status = CE_OK;

    write_entries(harvest, own, count, message);
    status = ce_allgather(transport, mine, &all, err);
    for (size_t e = 0; e < harvest->experts; e++) {
        place[e] = NULL;
    }
    for (int r = 0; status == CE_OK && r < transport->ranks; r++) {
        status = find_entries(harvest, &all[r], r, place, err);
    }
    if (status == CE_OK) {
        add_entries(harvest, place, mean);
    } else {
        ce_transport_fail(transport);
    }
    return status;
}

enum ce_status ce_means_sum(struct ce_transport *transport,
                            const double *values,
                            size_t count,
                            double *sum,
                            struct ce_error *err)
{
    const struct ce_bytes mine = {values, count * sizeof(*values)};
    const struct ce_bytes *all = NULL;
    enum ce_status status = ce_allgather(transport, mine, &all, err);

    for (int r = 0; status == CE_OK && r < transport->ranks; r++) {
        if (all[r].bytes != mine.bytes) {
            ce_transport_fail(transport);
            status = ce_fail(err, CE_ERR_COMM, "rank %d sent no sums of windows", r);
        }
    }
    *sum = 0.0;
    for (size_t i = 0; status == CE_OK && i < count; i++) {
        double whole = 0.0;

        for (int r = 0; r < transport->ranks; r++) {
            whole += ((const double *)all[r].data)[i];
        }
        *sum += whole;
    }
    return status;
}
