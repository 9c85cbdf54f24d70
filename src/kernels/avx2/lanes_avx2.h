/* lanes_avx2.h - loads and sums of eight lanes that the members share */

#ifndef CE_KERNELS_AVX2_LANES_AVX2_H
#define CE_KERNELS_AVX2_LANES_AVX2_H

#include "base/tensor.h"

#include <immintrin.h>
#include <string.h>

/* For functions whose constant arguments choose the instructions. */
#define CE_INLINE_AVX2 static inline __attribute__((always_inline))

enum { CE_LANES_AVX2 = 8 };

/* A BF16 is the upper half of an F32, so widening moves bytes: one shuffle, while
 * zero-extend and shift would make the shifter the limit of one-row products. */
CE_INLINE_AVX2 __m256 ce_widen_bf16_avx2(__m128i bits)
{
    /* Byte numbers, highest first: element j goes to the upper half of lane j. */
    const __m256i upper = _mm256_setr_epi32(0x0100ffff,
                                            0x0302ffff,
                                            0x0504ffff,
                                            0x0706ffff,
                                            0x0908ffff,
                                            0x0b0affff,
                                            0x0d0cffff,
                                            0x0f0effff);

    return _mm256_castsi256_ps(
        _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(bits), upper));
}

/* Eight elements of F32, BF16 or F16 at any address, widened. */
CE_INLINE_AVX2 __m256 ce_load_avx2(enum ce_dtype dtype, const void *at)
{
    if (dtype == CE_DTYPE_BF16) {
        return ce_widen_bf16_avx2(_mm_loadu_si128(at));
    }
    if (dtype == CE_DTYPE_F16) {
        return _mm256_cvtph_ps(_mm_loadu_si128(at));
    }
    return _mm256_castsi256_ps(_mm256_loadu_si256(at));
}

CE_INLINE_AVX2 size_t ce_element_bytes_avx2(enum ce_dtype dtype)
{
    return dtype == CE_DTYPE_F32 ? sizeof(float) : sizeof(uint16_t);
}

/* The n < 8 elements at `at`, then zeros; reads nothing behind them. */
static inline __m256 ce_load_tail_avx2(enum ce_dtype dtype, const void *at, size_t n)
{
    unsigned char piece[sizeof(__m256)] = {0};

    memcpy(piece, at, n * ce_element_bytes_avx2(dtype));
    return ce_load_avx2(dtype, piece);
}

/* The n <= 8 elements at `at`; a constant 8 costs no more than ce_load_avx2. */
CE_INLINE_AVX2 __m256 ce_load_some_avx2(enum ce_dtype dtype, const void *at, size_t n)
{
    return n == CE_LANES_AVX2 ? ce_load_avx2(dtype, at)
                              : ce_load_tail_avx2(dtype, at, n);
}

/* The sums over the lanes of four vectors, all by the same tree:
 * ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)). */
CE_INLINE_AVX2 __m128 ce_sum_lanes_avx2(__m256 a, __m256 b, __m256 c, __m256 d)
{
    const __m256 halves = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));

    return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}

#endif
