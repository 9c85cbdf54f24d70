/* record.c - fits to bytes and back */

#include "calibrate/record.h"

#include <math.h>
#include <string.h>

struct head {
    uint64_t expert;
    uint64_t hidden;
    uint64_t most_rank;
    uint64_t neurons;
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

/* Where the arrays of a fit begin. */
struct layout {
    size_t error;
    size_t heldout_error;
    size_t u;
    size_t v;
    size_t mean_x;
    size_t mean_y;
    size_t end;
};

static size_t whole_words(size_t bytes)
{
    return (bytes + 7) / 8 * 8;
}

static struct layout find_layout(struct ce_record_shape shape)
{
    const size_t errors = (shape.most_rank + 1) * sizeof(double);
    const size_t maps = whole_words(shape.most_rank * shape.hidden * sizeof(float));
    const size_t means = whole_words(shape.hidden * sizeof(float));
    struct layout layout = {.error = sizeof(struct head)};

    layout.heldout_error = layout.error + errors;
    layout.u = layout.heldout_error + errors;
    layout.v = layout.u + maps;
    layout.mean_x = layout.v + maps;
    layout.mean_y = layout.mean_x + means;
    layout.end = layout.mean_y + means;
    return layout;
}

struct ce_record_fits ce_record_fits(struct ce_record_shape shape)
{
    const size_t neurons[CE_RECORD_MOST_FITS] = {
        0, shape.neurons / 4, shape.neurons / 2, shape.neurons};
    struct ce_record_fits fits = {.count = 0};

    for (size_t i = 0; i < CE_RECORD_MOST_FITS; i++) {
        if (i == 0 || neurons[i] > neurons[i - 1]) {
            fits.neurons[fits.count++] = neurons[i];
        }
    }
    return fits;
}

static size_t neurons_bytes(struct ce_record_shape shape)
{
    return whole_words(shape.neurons * shape.hidden * sizeof(float));
}

size_t ce_record_bytes(struct ce_record_shape shape)
{
    return ce_record_fits(shape).count * find_layout(shape).end +
           3 * neurons_bytes(shape);
}

struct ce_record_neurons ce_record_neurons(void *record, struct ce_record_shape shape)
{
    unsigned char *gate =
        (unsigned char *)record + ce_record_bytes(shape) - 3 * neurons_bytes(shape);
    unsigned char *up = gate + neurons_bytes(shape);
    unsigned char *down = up + neurons_bytes(shape);

    return (struct ce_record_neurons){.gate = (float *)(void *)gate,
                                      .up = (float *)(void *)up,
                                      .down = (float *)(void *)down};
}

static struct head head_of(const struct ce_fit *fit, size_t expert, size_t neurons)
{
    return (struct head){.expert = expert,
                         .hidden = fit->hidden,
                         .most_rank = fit->most_rank,
                         .neurons = neurons,
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
                     size_t index,
                     const struct ce_fit *fit)
{
    const struct head head = head_of(fit, expert, ce_record_fits(shape).neurons[index]);
    const struct layout at = find_layout(shape);
    const size_t errors = (fit->rank + 1) * sizeof(double);
    const size_t maps = fit->rank * shape.hidden * sizeof(float);
    const size_t means = shape.hidden * sizeof(float);
    unsigned char *bytes = (unsigned char *)record + index * at.end;

    memset(bytes, 0, at.end); /* what is not valid has no bits of its own */
    memcpy(bytes, &head, sizeof(head));
    memcpy(bytes + at.error, fit->error, errors);
    memcpy(bytes + at.heldout_error, fit->heldout_error, errors);
    memcpy(bytes + at.u, fit->u, maps);
    memcpy(bytes + at.v, fit->v, maps);
    memcpy(bytes + at.mean_x, fit->mean_x, means);
    memcpy(bytes + at.mean_y, fit->mean_y, means);
}

static bool head_is_good(const struct head *head,
                         struct ce_record_shape shape,
                         size_t expert,
                         size_t neurons)
{
    return head->expert == expert && head->hidden == shape.hidden &&
           head->most_rank == shape.most_rank && head->neurons == neurons &&
           head->status <= CE_FIT_UNSEEN && head->rank <= shape.most_rank &&
           isfinite(head->ridge) && isfinite(head->weight) && isfinite(head->total) &&
           isfinite(head->effective_rows) && isfinite(head->heldout_weight) &&
           isfinite(head->heldout_effective_rows) && isfinite(head->heldout_total);
}

static bool errors_are_good(const struct ce_fit *fit)
{
    for (size_t r = 0; r <= fit->rank; r++) {
        if (!isfinite(fit->error[r]) || !isfinite(fit->heldout_error[r])) {
            return false;
        }
    }
    return true;
}

enum ce_status ce_record_read(struct ce_fit *fit,
                              void *record,
                              struct ce_record_shape shape,
                              size_t expert,
                              size_t index,
                              struct ce_error *err)
{
    const struct layout at = find_layout(shape);
    unsigned char *bytes = (unsigned char *)record + index * at.end;
    struct head head;

    memcpy(&head, bytes, sizeof(head));
    if (!head_is_good(&head, shape, expert, ce_record_fits(shape).neurons[index])) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "the fit of expert %zu is none, or of another shape",
                       expert);
    }
    *fit =
        (struct ce_fit){.hidden = shape.hidden,
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
                        .u = (float *)(void *)(bytes + at.u),
                        .v = (float *)(void *)(bytes + at.v),
                        .mean_x = (float *)(void *)(bytes + at.mean_x),
                        .mean_y = (float *)(void *)(bytes + at.mean_y),
                        .error = (double *)(void *)(bytes + at.error),
                        .heldout_error = (double *)(void *)(bytes + at.heldout_error)};
    if (!errors_are_good(fit)) {
        return ce_fail(
            err, CE_ERR_FORMAT, "an error of expert %zu is not finite", expert);
    }
    return CE_OK;
}
