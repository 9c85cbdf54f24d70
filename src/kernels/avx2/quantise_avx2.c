/* quantise_avx2.c - activations to 16 bits, by the operations of the reference
 *
 * Magnitudes are compared as integers, where infinity and NaN are the largest.
 * A block that is not whole or not finite is done by the reference.
 */

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/lanes_avx2.h"
#include "kernels/ref/ref.h"

enum { BLOCK = CE_QUANTISED_BLOCK, VECTORS = BLOCK / CE_LANES_AVX2 };

static inline float largest_magnitude(const __m256 *x)
{
    const __m256i mask = _mm256_set1_epi32(0x7fffffff);
    __m256i largest = _mm256_setzero_si256();

    for (size_t v = 0; v < VECTORS; v++) {
        const __m256i magnitude = _mm256_and_si256(_mm256_castps_si256(x[v]), mask);

        largest = _mm256_max_epi32(largest, magnitude);
    }

    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(largest),
                                 _mm256_extracti128_si256(largest, 1));

    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(four));
}

/* Sixteen integers in the order of the inputs. */
static inline __m256i round_pair(__m256 low, __m256 high, __m256 inverse)
{
    const __m256i packed =
        _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(low, inverse)),
                           _mm256_cvtps_epi32(_mm256_mul_ps(high, inverse)));

    return _mm256_permute4x64_epi64(packed, 0xd8);
}

static inline int32_t sum_lanes(__m256i x)
{
    __m128i four =
        _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));

    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1));
    return _mm_cvtsi128_si32(four);
}

static inline void quantise_block(struct ce_quantised_block *block, const float *x)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256 pieces[VECTORS];

    for (size_t v = 0; v < VECTORS; v++) {
        pieces[v] = _mm256_loadu_ps(x + v * CE_LANES_AVX2);
    }

    const float largest = largest_magnitude(pieces);

    if (!(largest <= FLT_MAX)) {
        ce_quantise_block_ref(block, x, BLOCK);
        return;
    }
    block->scale = ce_quantised_scale_ref(largest);

    const __m256 inverse = _mm256_set1_ps(1 / block->scale);
    const __m256i low = round_pair(pieces[0], pieces[1], inverse);
    const __m256i high = round_pair(pieces[2], pieces[3], inverse);

    _mm256_storeu_si256((void *)block->values, low);
    _mm256_storeu_si256((void *)(block->values + BLOCK / 2), high);
    block->offset = -8 * sum_lanes(_mm256_add_epi32(_mm256_madd_epi16(low, ones),
                                                    _mm256_madd_epi16(high, ones)));
}

void ce_quantise_rows_avx2(struct ce_quantised_block *blocks,
                           size_t ld_blocks,
                           const float *x,
                           size_t ldx,
                           size_t rows,
                           size_t inputs)
{
    const size_t whole = inputs / BLOCK;

    for (size_t t = 0; t < rows; t++) {
        struct ce_quantised_block *row = blocks + t * ld_blocks;

        for (size_t b = 0; b < whole; b++) {
            quantise_block(row + b, x + t * ldx + b * BLOCK);
        }
        if (inputs % BLOCK > 0) {
            ce_quantise_block_ref(
                row + whole, x + t * ldx + whole * BLOCK, inputs % BLOCK);
        }
    }
}
