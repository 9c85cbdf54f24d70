/* tensor.c - names and sizes of element types, 16-bit floats, shapes as text
 *
 * The conversions work on bits, so they are exact on every machine and do not
 * depend on the rounding mode.
 */

#include "base/tensor.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [CE_DTYPE_F32] = {"F32", 4},
    [CE_DTYPE_BF16] = {"BF16", 2},
    [CE_DTYPE_F16] = {"F16", 2},
    [CE_DTYPE_F64] = {"F64", 8},
    [CE_DTYPE_I64] = {"I64", 8},
    [CE_DTYPE_I32] = {"I32", 4},
    [CE_DTYPE_I16] = {"I16", 2},
    [CE_DTYPE_I8] = {"I8", 1},
    [CE_DTYPE_U64] = {"U64", 8},
    [CE_DTYPE_U32] = {"U32", 4},
    [CE_DTYPE_U16] = {"U16", 2},
    [CE_DTYPE_U8] = {"U8", 1},
    [CE_DTYPE_BOOL] = {"BOOL", 1},
    [CE_DTYPE_OTHER] = {"other", 0},
    [CE_DTYPE_Q8] = {"q8", 0},
    [CE_DTYPE_Q4] = {"q4", 0},
};

size_t ce_dtype_size(enum ce_dtype dtype)
{
    return dtypes[dtype].size;
}

const char *ce_dtype_name(enum ce_dtype dtype)
{
    return dtypes[dtype].name;
}

bool ce_dtype_is_float(enum ce_dtype dtype)
{
    return dtype == CE_DTYPE_F32 || dtype == CE_DTYPE_BF16 || dtype == CE_DTYPE_F16;
}

bool ce_dtype_is_packed(enum ce_dtype dtype)
{
    return dtype == CE_DTYPE_Q8 || dtype == CE_DTYPE_Q4;
}

const char *ce_tensor_shape_text(const struct ce_tensor *t, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (unsigned i = 0; i < t->dims && used < size; i++) {
        const char *separator = i == 0 ? "" : ", ";

        used +=
            (size_t)snprintf(text + used, size - used, "%s%zu", separator, t->shape[i]);
    }
    if (used < size) {
        (void)snprintf(text + used, size - used, "]");
    }
    return text;
}

static float float_from_bits(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint32_t bits_from_float(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* value >> shift, rounded to nearest, ties to even. */
static uint32_t shift_right_rounded(uint32_t value, unsigned shift)
{
    uint32_t half = UINT32_C(1) << (shift - 1);
    uint32_t kept = value >> shift;
    uint32_t rest = value & ((half << 1) - 1);
    uint32_t up = rest > half || (rest == half && (kept & 1) != 0);

    return kept + up;
}

uint16_t ce_bf16_from_f32(float value)
{
    uint32_t bits = bits_from_float(value);

    if ((bits & 0x7fffffff) > 0x7f800000) {
        return (uint16_t)((bits >> 16) | 0x40); /* the quiet bit: rounding could
                                                   carry a NaN to infinity */
    }
    return (uint16_t)shift_right_rounded(bits, 16);
}

float ce_f32_from_bf16(uint16_t bits)
{
    return float_from_bits((uint32_t)bits << 16);
}

uint16_t ce_f16_from_f32(float value)
{
    uint32_t bits = bits_from_float(value);
    uint32_t sign = (bits >> 16) & 0x8000;
    uint32_t magnitude = bits & 0x7fffffff;
    uint32_t half;

    if (magnitude > 0x7f800000) {
        half = 0x7e00 | ((magnitude >> 13) & 0x1ff);
    } else if (magnitude >= 0x477ff000) { /* 65520 and up round to infinity */
        half = 0x7c00;
    } else if (magnitude >= 0x38800000) { /* 2^-14: normal; a carry may raise
                                             the exponent, as it should */
        half = shift_right_rounded(magnitude - 0x38000000, 13);
    } else if (magnitude > 0x33000000) { /* above 2^-25: units of 2^-24 */
        uint32_t fraction = (magnitude & 0x7fffff) | 0x800000;

        half = shift_right_rounded(fraction, 126 - (magnitude >> 23));
    } else {
        half = 0;
    }
    return (uint16_t)(sign | half);
}

float ce_f32_from_f16(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    uint32_t exponent = (bits >> 10) & 0x1f;
    uint32_t fraction = bits & 0x3ff;

    if (exponent == 0x1f) {
        return float_from_bits(sign | 0x7f800000 | (fraction << 13));
    }
    if (exponent != 0) {
        return float_from_bits(sign | ((exponent + 112) << 23) | (fraction << 13));
    }
    float magnitude = (float)fraction * 0x1p-24F; /* exact: a subnormal or zero */

    return float_from_bits(sign | bits_from_float(magnitude));
}

static void widen_halves(float *out,
                         const unsigned char *bytes,
                         float (*widen)(uint16_t),
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;

        memcpy(&bits, bytes + 2 * i, sizeof(bits));
        out[i] = widen(bits);
    }
}

void ce_tensor_widen(float *out, const void *data, enum ce_dtype dtype, size_t count)
{
    if (count == 0) {
        return;
    }
    if (dtype == CE_DTYPE_F32) {
        memcpy(out, data, count * sizeof(*out));
    } else if (dtype == CE_DTYPE_BF16) {
        widen_halves(out, data, ce_f32_from_bf16, count);
    } else {
        widen_halves(out, data, ce_f32_from_f16, count);
    }
}
