/* tensor.h - element types and a read-only view of a dense row-major array */

#ifndef CE_BASE_TENSOR_H
#define CE_BASE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CE_TENSOR_MAX_DIMS 8

/* Names and sizes as the safetensors format writes them; arithmetic is done
 * only on F32, F16 and BF16, the others can be described but not computed. */
enum ce_dtype {
    CE_DTYPE_F32 = 0,
    CE_DTYPE_BF16,
    CE_DTYPE_F16,
    CE_DTYPE_F64,
    CE_DTYPE_I64,
    CE_DTYPE_I32,
    CE_DTYPE_I16,
    CE_DTYPE_I8,
    CE_DTYPE_U64,
    CE_DTYPE_U32,
    CE_DTYPE_U16,
    CE_DTYPE_U8,
    CE_DTYPE_BOOL,
    CE_DTYPE_OTHER, /* a known safetensors type of whole bytes that we never read */
    /* In memory only, of a matrix in packed panels: see kernels/quantised.h. */
    CE_DTYPE_Q8,
    CE_DTYPE_Q4,
};

/* A view: owns nothing. `data` may be unaligned. */
struct ce_tensor {
    enum ce_dtype dtype;
    unsigned dims;
    size_t shape[CE_TENSOR_MAX_DIMS];
    size_t bytes;
    const void *data;
};

/* W of y = W x: row-major [outputs][inputs], any alignment; or packed panels. */
struct ce_matrix {
    enum ce_dtype dtype;
    size_t outputs;
    size_t inputs;
    const void *data;
};

/* Bytes of one element; 0 for CE_DTYPE_OTHER and packed types. */
size_t ce_dtype_size(enum ce_dtype dtype);
/* "F32", "BF16", ...; never NULL. */
const char *ce_dtype_name(enum ce_dtype dtype);
bool ce_dtype_is_float(enum ce_dtype dtype);  /* F32, BF16 or F16 */
bool ce_dtype_is_packed(enum ce_dtype dtype); /* Q8 or Q4 */

/* "[64, 2048]" into `text`, cut to fit; returns `text`. */
const char *ce_tensor_shape_text(const struct ce_tensor *t, char *text, size_t size);

/* Exact widening of `count` elements of F32, BF16 or F16 (any alignment). */
void ce_tensor_widen(float *out, const void *data, enum ce_dtype dtype, size_t count);

/* Round to nearest even; NaN stays NaN. */
uint16_t ce_bf16_from_f32(float value);
uint16_t ce_f16_from_f32(float value);
float ce_f32_from_bf16(uint16_t bits);
float ce_f32_from_f16(uint16_t bits);

#endif
