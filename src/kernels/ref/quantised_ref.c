/* quantised_ref.c - the canonical sums of quantised weights, one after the other
 *
 * The sum of a block is an integer: exact, so it has no order. Blocks are added
 * from first to last, y = fma(sum * weight scale, activation scale, y), the sum
 * rounded to F32 first. Every set does these operations and so has these bits.
 * The scales are not multiplied with each other: their product may be below the
 * normal range where neither the sums nor the result is.
 */

#include "kernels/ref/ref.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { PANEL = CE_QUANTISED_PANEL, BLOCK = CE_QUANTISED_BLOCK };

/* The bits of a magnitude order as magnitudes do, infinity and NaN at the top. */
static uint32_t magnitude_bits(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    return bits & 0x7fffffff;
}

void ce_quantise_block_ref(struct ce_quantised_block *block, const float *x, size_t n)
{
    float largest = 0;
    bool finite = true;
    int32_t sum = 0;

    memset(block->values, 0, sizeof(block->values));
    for (size_t i = 0; i < n; i++) {
        finite = finite && magnitude_bits(x[i]) <= magnitude_bits(FLT_MAX);
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    }
    if (!finite) {
        block->scale = NAN;
        block->offset = 0;
        return;
    }
    block->scale = ce_quantised_scale_ref(largest);

    const float inverse = 1 / block->scale;

    for (size_t i = 0; i < n; i++) {
        block->values[i] = (int16_t)lrintf(x[i] * inverse);
        sum += block->values[i];
    }
    block->offset = -8 * sum;
}

void ce_quantise_rows_ref(struct ce_quantised_block *blocks,
                          size_t ld_blocks,
                          const float *x,
                          size_t ldx,
                          size_t rows,
                          size_t inputs)
{
    for (size_t t = 0; t < rows; t++) {
        for (size_t i = 0; i < inputs; i += BLOCK) {
            const size_t n = inputs - i < BLOCK ? inputs - i : BLOCK;

            ce_quantise_block_ref(
                blocks + t * ld_blocks + i / BLOCK, x + t * ldx + i, n);
        }
    }
}

static int32_t sum_block(const int8_t *codes, const int16_t *values)
{
    int32_t sum = 0;

    for (size_t i = 0; i < BLOCK; i++) {
        sum += codes[i] * values[i];
    }
    return sum;
}

/* y[t][o] += the products of one block, o < outputs <= PANEL */
static void add_block(float *y,
                      size_t ldy,
                      const struct ce_quantised_block *x,
                      size_t ldx,
                      size_t rows,
                      const struct ce_quantised_codes *w,
                      size_t outputs)
{
    for (size_t t = 0; t < rows; t++) {
        const struct ce_quantised_block *row = x + t * ldx;

        for (size_t o = 0; o < outputs; o++) {
            const float sum = (float)sum_block(w->codes[o], row->values);

            y[t * ldy + o] = fmaf(sum * w->scales[o], row->scale, y[t * ldy + o]);
        }
    }
}

void ce_matmul_quantised_ref(float *y,
                             size_t ldy,
                             const struct ce_quantised_block *x,
                             size_t ldx,
                             size_t rows,
                             const struct ce_quantised_matrix *w,
                             size_t first,
                             size_t count)
{
    for (size_t p = 0; p < count; p++) {
        const size_t output = (first + p) * PANEL;
        const size_t left = w->outputs - output;
        const size_t outputs = left < PANEL ? left : PANEL;
        struct ce_quantised_codes codes;

        for (size_t t = 0; t < rows; t++) {
            memset(y + t * ldy + p * PANEL, 0, outputs * sizeof(*y));
        }
        for (size_t block = 0; block < ce_quantised_blocks(w->inputs); block++) {
            ce_quantised_unpack(&codes, w, first + p, block);
            add_block(y + p * PANEL, ldy, x + block, ldx, rows, &codes, outputs);
        }
    }
}
