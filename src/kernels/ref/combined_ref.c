/* combined_ref.c - y += scale * (factors W), one sum after the other in the order of
 * the rows of W */

#include "kernels/ref/ref.h"

enum { PIECE = 128 };

/* Columns first .. first + n - 1 of one sum, n <= PIECE. */
static void add_piece(float *y,
                      const float *factors,
                      float scale,
                      const struct ce_matrix *w,
                      size_t first,
                      size_t n)
{
    const size_t size = ce_dtype_size(w->dtype);
    const unsigned char *weights = (const unsigned char *)w->data + first * size;
    double sums[PIECE] = {0};
    float piece[PIECE];

    for (size_t i = 0; i < w->outputs; i++) {
        ce_tensor_widen(piece, weights + i * w->inputs * size, w->dtype, n);
        for (size_t j = 0; j < n; j++) {
            sums[j] += (double)factors[i] * (double)piece[j];
        }
    }
    for (size_t j = 0; j < n; j++) {
        y[j] = (float)((double)y[j] + (double)scale * sums[j]);
    }
}

void ce_add_combined_ref(float *y,
                         size_t ldy,
                         const struct ce_combination *c,
                         const struct ce_matrix *w,
                         size_t first,
                         size_t count)
{
    for (size_t t = 0; t < c->sums; t++) {
        for (size_t j = 0; j < count; j += PIECE) {
            const size_t n = count - j < PIECE ? count - j : PIECE;

            add_piece(y + c->row[t] * ldy + j,
                      c->factors + t * c->ld,
                      c->scale[t],
                      w,
                      first + j,
                      n);
        }
    }
}
