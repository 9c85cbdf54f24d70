/* weights_format.c - types of matrices in memory, and how a stored one becomes one */

#include "model/weights_internal.h"

#include <string.h>

static const char *const names[CE_WEIGHT_FORMATS] = {"stored", "bf16", "q8", "q4"};

const char *ce_weight_format_name(enum ce_weight_format format)
{
    return names[format];
}

enum ce_status ce_weight_format_by_name(enum ce_weight_format *format,
                                        const char *name,
                                        const char *option,
                                        struct ce_error *err)
{
    for (int i = 0; i < CE_WEIGHT_FORMATS; i++) {
        if (name == NULL || strcmp(name, names[i]) == 0) {
            *format = (enum ce_weight_format)i;
            return CE_OK;
        }
    }
    return ce_fail(err,
                   CE_ERR_ARG,
                   "%s: there is no format \"%s\", only stored, bf16, q8, q4",
                   option,
                   name);
}

bool ce_weight_format_is_packed(enum ce_weight_format format)
{
    return format == CE_WEIGHTS_Q8 || format == CE_WEIGHTS_Q4;
}

enum ce_dtype ce_weights_dtype(struct ce_weight_formats formats,
                               const struct ce_tensor_slot *slot,
                               enum ce_dtype stored)
{
    enum ce_weight_format format = CE_WEIGHTS_STORED;

    if (slot->role == CE_TENSOR_EXPERT) {
        format = formats.experts;
    } else if (slot->role == CE_TENSOR_MATRIX) {
        format = formats.dense;
    }
    switch (format) {
    case CE_WEIGHTS_BF16:
        return CE_DTYPE_BF16;
    case CE_WEIGHTS_Q8:
        return CE_DTYPE_Q8;
    case CE_WEIGHTS_Q4:
        return CE_DTYPE_Q4;
    case CE_WEIGHTS_STORED:
    case CE_WEIGHT_FORMATS:
        break;
    }
    return stored;
}

static enum ce_quantisation quantisation_of(enum ce_dtype dtype)
{
    return dtype == CE_DTYPE_Q8 ? CE_QUANTISATION_Q8 : CE_QUANTISATION_Q4;
}

size_t ce_weights_matrix_bytes(enum ce_dtype dtype, size_t outputs, size_t inputs)
{
    if (ce_dtype_is_packed(dtype)) {
        return ce_quantised_bytes(quantisation_of(dtype), outputs, inputs);
    }
    return outputs * inputs * ce_dtype_size(dtype);
}

void ce_weights_output(float *weights, const struct ce_matrix *matrix, size_t output)
{
    if (ce_dtype_is_packed(matrix->dtype)) {
        const struct ce_quantised_matrix quantised = {quantisation_of(matrix->dtype),
                                                      matrix->outputs,
                                                      matrix->inputs,
                                                      matrix->data};

        ce_dequantise_output(weights, &quantised, output);
        return;
    }
    const size_t row = matrix->inputs * ce_dtype_size(matrix->dtype);

    ce_tensor_widen(weights,
                    (const unsigned char *)matrix->data + output * row,
                    matrix->dtype,
                    matrix->inputs);
}

enum ce_status ce_weights_fail_quantising(const char *name, struct ce_error *err)
{
    return ce_fail(err,
                   CE_ERR_NUMERIC,
                   "tensor %s cannot be quantised: a weight is not finite or too large",
                   name);
}

/* A row of F32 or F16, rounded. */
static void round_row(uint16_t *to, const struct ce_matrix *from, size_t output)
{
    const size_t size = ce_dtype_size(from->dtype);
    const unsigned char *row =
        (const unsigned char *)from->data + output * from->inputs * size;

    for (size_t i = 0; i < from->inputs; i++) {
        float value;

        ce_tensor_widen(&value, row + i * size, from->dtype, 1);
        to[i] = ce_bf16_from_f32(value);
    }
}

size_t ce_weights_convert(const struct ce_matrix *to,
                          const struct ce_matrix *from,
                          size_t first,
                          size_t count)
{
    void *data = (void *)(uintptr_t)to->data; /* being filled by us */

    if (ce_dtype_is_packed(to->dtype)) {
        return ce_quantise_panels(data, quantisation_of(to->dtype), from, first, count);
    }
    if (to->dtype == from->dtype) {
        const size_t row = from->inputs * ce_dtype_size(from->dtype);

        memcpy((unsigned char *)data + first * row,
               (const unsigned char *)from->data + first * row,
               count * row);
        return from->outputs;
    }
    for (size_t o = first; o < first + count; o++) {
        round_row((uint16_t *)data + o * from->inputs, from, o);
    }
    return from->outputs;
}
