/* ref.h - the reference set: plain C, the oracle of the other sets
 *
 * Sums are kept in double and rounded once, so a reference result is close to
 * the exact one whatever the order; the price is speed. Quantised products have
 * the order of all sets instead. Element-wise members round after every
 * operation, no fused multiply-add, so that vector sets can give the same bits.
 */

#ifndef CE_KERNELS_REF_REF_H
#define CE_KERNELS_REF_REF_H

#include "kernels/kernels.h"

#include <float.h>

void ce_kernels_fill_ref(struct ce_kernels *kernels);

void ce_matmul_ref(float *y,
                   size_t ldy,
                   const float *x,
                   size_t ldx,
                   size_t rows,
                   const struct ce_matrix *w,
                   size_t first,
                   size_t count);
void ce_rms_norm_ref(
    float *y, const float *x, const float *weight, size_t n, float eps);
void ce_softmax_ref(float *x, size_t n);
void ce_silu_multiply_ref(
    float *h, const float *gate, const float *up, const float *scale, size_t n);
void ce_multiply_ref(float *y, const float *x, const float *w, size_t n);
void ce_add_scaled_ref(float *y, const float *x, float a, size_t n);
void ce_add_combined_ref(float *y,
                         size_t ldy,
                         const struct ce_combination *c,
                         const struct ce_matrix *w,
                         size_t first,
                         size_t count);
/* The pairs (low[i], high[i]) of ce_kernels.rotate, i < n. */
void ce_rotate_pairs_ref(
    float *low, float *high, const float *cosine, const float *sine, size_t n);
void ce_rotate_ref(float *x, const float *cosine, const float *sine, size_t n);
void ce_attend_ref(const struct ce_attend *a);
/* The scale of a block whose largest magnitude is `largest`: normal, so that its
 * inverse is finite. */
static inline float ce_quantised_scale_ref(float largest)
{
    const float scale = largest / INT16_MAX;

    return scale > FLT_MIN ? scale : FLT_MIN;
}
/* One block of n <= 32 activations, missing ones zero. */
void ce_quantise_block_ref(struct ce_quantised_block *block, const float *x, size_t n);
void ce_quantise_rows_ref(struct ce_quantised_block *blocks,
                          size_t ld_blocks,
                          const float *x,
                          size_t ldx,
                          size_t rows,
                          size_t inputs);
void ce_matmul_quantised_ref(float *y,
                             size_t ldy,
                             const struct ce_quantised_block *x,
                             size_t ldx,
                             size_t rows,
                             const struct ce_quantised_matrix *w,
                             size_t first,
                             size_t count);
bool ce_all_finite_ref(const float *x, size_t n);
uint64_t ce_checksum_ref(const void *data, size_t bytes);
uint64_t ce_xor_words_ref(const uint64_t *words, size_t n);

#endif
