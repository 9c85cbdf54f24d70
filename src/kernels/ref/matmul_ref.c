/* matmul_ref.c - y = x W^T, one sum after the other in the order of the inputs
 *
 * A piece of a weight row is widened once for a block of rows; each sum still
 * runs over its inputs from first to last.
 */

#include "kernels/ref/ref.h"

enum { PIECE = 256, BLOCK_ROWS = 32 };

static double add_products(double sum, const float *x, const float *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)w[i];
    }
    return sum;
}

/* y[t * ldy] = dot(x[t], weights) for t < rows <= BLOCK_ROWS */
static void dot_rows(float *y,
                     size_t ldy,
                     const float *x,
                     size_t ldx,
                     size_t rows,
                     const struct ce_matrix *w,
                     size_t output)
{
    const size_t size = ce_dtype_size(w->dtype);
    const unsigned char *weights =
        (const unsigned char *)w->data + output * w->inputs * size;
    double sums[BLOCK_ROWS] = {0};
    float piece[PIECE];

    for (size_t i = 0; i < w->inputs; i += PIECE) {
        const size_t n = w->inputs - i < PIECE ? w->inputs - i : PIECE;

        ce_tensor_widen(piece, weights + i * size, w->dtype, n);
        for (size_t t = 0; t < rows; t++) {
            sums[t] = add_products(sums[t], x + t * ldx + i, piece, n);
        }
    }
    for (size_t t = 0; t < rows; t++) {
        y[t * ldy] = (float)sums[t];
    }
}

void ce_matmul_ref(float *y,
                   size_t ldy,
                   const float *x,
                   size_t ldx,
                   size_t rows,
                   const struct ce_matrix *w,
                   size_t first,
                   size_t count)
{
    for (size_t t = 0; t < rows; t += BLOCK_ROWS) {
        const size_t block = rows - t < BLOCK_ROWS ? rows - t : BLOCK_ROWS;

        for (size_t o = 0; o < count; o++) {
            dot_rows(y + t * ldy + o, ldy, x + t * ldx, ldx, block, w, first + o);
        }
    }
}
