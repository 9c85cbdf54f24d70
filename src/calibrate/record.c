/* record.c - a fit to bytes and back */

#include "calibrate/record.h"

#include <math.h>
#include <string.h>

struct head {
    uint64_t expert;
    uint64_t hidden;
    uint64_t most_rank;
    uint64_t status;
    uint64_t rank;
    uint64_t regularised;
    uint64_t rows;
    uint64_t heldout_rows;
    double ridge;
    double weight;
    double effective_rows;
    double total;
    double heldout_weight;
    double heldout_effective_rows;
    double heldout_total;
};

/* The arrays of a record, wherever its memory is. */
struct arrays {
    unsigned char *error;
    unsigned char *heldout_error;
    unsigned char *u;
    unsigned char *v;
    unsigned char *mean_x;
    unsigned char *mean_y;
    unsigned char *end;
};

static size_t whole_words(size_t bytes)
{
    return (bytes + 7) / 8 * 8;
}

static struct arrays find_arrays(unsigned char *record, struct ce_record_shape shape)
{
    const size_t errors = (shape.most_rank + 1) * sizeof(double);
    const size_t maps = whole_words(shape.most_rank * shape.hidden * sizeof(float));
    const size_t means = whole_words(shape.hidden * sizeof(float));
    struct arrays arrays;

    arrays.error = record + sizeof(struct head);
    arrays.heldout_error = arrays.error + errors;
    arrays.u = arrays.heldout_error + errors;
    arrays.v = arrays.u + maps;
    arrays.mean_x = arrays.v + maps;
    arrays.mean_y = arrays.mean_x + means;
    arrays.end = arrays.mean_y + means;
    return arrays;
}

size_t ce_record_bytes(struct ce_record_shape shape)
{
    unsigned char *const nowhere = NULL;

    return (size_t)(find_arrays(nowhere, shape).end - nowhere);
}

static struct head head_of(const struct ce_fit *fit, size_t expert)
{
    return (struct head){.expert = expert,
                         .hidden = fit->hidden,
                         .most_rank = fit->most_rank,
                         .status = (uint64_t)fit->status,
                         .rank = fit->rank,
                         .regularised = fit->regularised,
                         .rows = fit->rows,
                         .heldout_rows = fit->heldout_rows,
                         .ridge = fit->ridge,
                         .weight = fit->weight,
                         .effective_rows = fit->effective_rows,
                         .total = fit->total,
                         .heldout_weight = fit->heldout_weight,
                         .heldout_effective_rows = fit->heldout_effective_rows,
                         .heldout_total = fit->heldout_total};
}

void ce_record_write(void *record,
                     struct ce_record_shape shape,
                     size_t expert,
                     const struct ce_fit *fit)
{
    const struct head head = head_of(fit, expert);
    const struct arrays arrays = find_arrays(record, shape);
    const size_t errors = (fit->rank + 1) * sizeof(double);
    const size_t maps = fit->rank * shape.hidden * sizeof(float);
    const size_t means = shape.hidden * sizeof(float);

    memset(record,
           0,
           ce_record_bytes(shape)); /* what is not valid has no bits of its own */
    memcpy(record, &head, sizeof(head));
    memcpy(arrays.error, fit->error, errors);
    memcpy(arrays.heldout_error, fit->heldout_error, errors);
    memcpy(arrays.u, fit->u, maps);
    memcpy(arrays.v, fit->v, maps);
    memcpy(arrays.mean_x, fit->mean_x, means);
    memcpy(arrays.mean_y, fit->mean_y, means);
}

static bool
head_is_good(const struct head *head, struct ce_record_shape shape, size_t expert)
{
    return head->expert == expert && head->hidden == shape.hidden &&
           head->most_rank == shape.most_rank && head->status <= CE_FIT_UNSEEN &&
           head->rank <= shape.most_rank && isfinite(head->ridge) &&
           isfinite(head->weight) && isfinite(head->total) &&
           isfinite(head->effective_rows) && isfinite(head->heldout_weight) &&
           isfinite(head->heldout_effective_rows) && isfinite(head->heldout_total);
}

enum ce_status ce_record_read(struct ce_fit *fit,
                              void *record,
                              struct ce_record_shape shape,
                              size_t expert,
                              struct ce_error *err)
{
    const struct arrays arrays = find_arrays(record, shape);
    struct head head;

    memcpy(&head, record, sizeof(head));
    if (!head_is_good(&head, shape, expert)) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "the fit of expert %zu is none, or of another shape",
                       expert);
    }
    *fit = (struct ce_fit){.hidden = shape.hidden,
                           .most_rank = shape.most_rank,
                           .status = (enum ce_fit_status)head.status,
                           .rank = (size_t)head.rank,
                           .ridge = head.ridge,
                           .regularised = head.regularised != 0,
                           .rows = (size_t)head.rows,
                           .weight = head.weight,
                           .effective_rows = head.effective_rows,
                           .total = head.total,
                           .heldout_rows = (size_t)head.heldout_rows,
                           .heldout_weight = head.heldout_weight,
                           .heldout_effective_rows = head.heldout_effective_rows,
                           .heldout_total = head.heldout_total,
                           .u = (float *)(void *)arrays.u,
                           .v = (float *)(void *)arrays.v,
                           .mean_x = (float *)(void *)arrays.mean_x,
                           .mean_y = (float *)(void *)arrays.mean_y,
                           .error = (double *)(void *)arrays.error,
                           .heldout_error = (double *)(void *)arrays.heldout_error};
    return CE_OK;
}
