/* read_avx2.c - reading memory as fast as a core can
 *
 * One sequential stream, 256 bytes a round: what the
 * hardware prefetcher likes best, and the way the matmul kernels read weights. One xor
 * a load keeps the compiler from dropping it and costs nothing beside DRAM.
 */

#include "kernels/avx2/avx2.h"

#include <immintrin.h>

enum { WORDS = 4, SUMS = 8, ROUND = SUMS * WORDS }; /* words of a vector, vectors */

uint64_t ce_xor_words_avx2(const uint64_t *words, size_t n)
{
    __m256i sum[SUMS];
    uint64_t lane[WORDS];
    size_t i = 0;

#pragma GCC unroll 8
    for (size_t s = 0; s < SUMS; s++) {
        sum[s] = _mm256_setzero_si256();
    }
    for (; i + ROUND <= n; i += ROUND) {
#pragma GCC unroll 8
        for (size_t s = 0; s < SUMS; s++) {
            const __m256i *from = (const void *)(words + i + s * WORDS);

            sum[s] = _mm256_xor_si256(sum[s], _mm256_loadu_si256(from));
        }
    }
    for (size_t s = 1; s < SUMS; s++) {
        sum[0] = _mm256_xor_si256(sum[0], sum[s]);
    }
    _mm256_storeu_si256((void *)lane, sum[0]);
    for (; i < n; i++) {
        lane[0] ^= words[i];
    }
    return lane[0] ^ lane[1] ^ lane[2] ^ lane[3];
}
