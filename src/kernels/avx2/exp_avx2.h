/* exp_avx2.h - e^x of eight lanes: the operations of ref/exp.h, so the same bits
 *
 * No fused multiply-add here, for that reason.
 */

#ifndef CE_KERNELS_AVX2_EXP_AVX2_H
#define CE_KERNELS_AVX2_EXP_AVX2_H

#include "kernels/ref/exp.h"

#include <immintrin.h>

static inline __m256 ce_exp2_int_avx2(__m256i n)
{
    const __m256i biased = _mm256_add_epi32(n, _mm256_set1_epi32(127));

    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}

/* p * r + c */
static inline __m256 ce_exp_term_avx2(__m256 p, __m256 r, float c)
{
    return _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(c));
}

static inline __m256 ce_exp_reduced_avx2(__m256 r)
{
    __m256 p = _mm256_set1_ps(1.0F / 5040);

    p = ce_exp_term_avx2(p, r, 1.0F / 720);
    p = ce_exp_term_avx2(p, r, 1.0F / 120);
    p = ce_exp_term_avx2(p, r, 1.0F / 24);
    p = ce_exp_term_avx2(p, r, 1.0F / 6);
    p = ce_exp_term_avx2(p, r, 0.5F);
    p = _mm256_add_ps(_mm256_mul_ps(p, _mm256_mul_ps(r, r)), r);
    return _mm256_add_ps(p, _mm256_set1_ps(1));
}

static inline __m256 ce_exp_avx2(__m256 x)
{
    const __m256 rounder = _mm256_set1_ps(CE_EXP_ROUNDER);

    /* min and max give their second operand when one is NaN: x stays NaN. */
    x = _mm256_max_ps(_mm256_set1_ps(CE_EXP_LOWEST), x);
    x = _mm256_min_ps(_mm256_set1_ps(CE_EXP_HIGHEST), x);

    const __m256 scaled = _mm256_mul_ps(x, _mm256_set1_ps(CE_EXP_LOG2E));
    const __m256 whole = _mm256_sub_ps(_mm256_add_ps(scaled, rounder), rounder);
    const __m256 high = _mm256_mul_ps(whole, _mm256_set1_ps(CE_EXP_LN2_HIGH));
    const __m256 low = _mm256_mul_ps(whole, _mm256_set1_ps(CE_EXP_LN2_LOW));
    const __m256 r = _mm256_sub_ps(_mm256_sub_ps(x, high), low);
    const __m256i n = _mm256_cvtps_epi32(whole);
    const __m256i half = _mm256_srai_epi32(n, 1);
    const __m256 partly = _mm256_mul_ps(ce_exp_reduced_avx2(r), ce_exp2_int_avx2(half));

    return _mm256_mul_ps(partly, ce_exp2_int_avx2(_mm256_sub_epi32(n, half)));
}

#endif
