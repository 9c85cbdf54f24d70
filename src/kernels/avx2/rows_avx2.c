/* rows_avx2.c - members that reduce one row: norm, softmax, the finite check
 *
 * As in the reference, sums are kept in double, here in eight lanes; what is
 * left over after the last eight elements is added one by one behind them.
 */

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/exp_avx2.h"
#include "kernels/avx2/lanes_avx2.h"
#include "kernels/ref/ref.h"

#include <math.h>

struct sums {
    __m256d low;
    __m256d high;
};

static inline __m256d widen_low(__m256 x)
{
    return _mm256_cvtps_pd(_mm256_castps256_ps128(x));
}

static inline __m256d widen_high(__m256 x)
{
    return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
}

static inline double sum_lanes(const struct sums *sums)
{
    double lanes[4];

    _mm256_storeu_pd(lanes, _mm256_add_pd(sums->low, sums->high));
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

static double sum_squares(const float *x, size_t n)
{
    const size_t whole = n - n % CE_LANES_AVX2;
    struct sums sums = {_mm256_setzero_pd(), _mm256_setzero_pd()};

    for (size_t i = 0; i < whole; i += CE_LANES_AVX2) {
        const __m256 piece = _mm256_loadu_ps(x + i);
        const __m256d low = widen_low(piece);
        const __m256d high = widen_high(piece);

        sums.low = _mm256_fmadd_pd(low, low, sums.low);
        sums.high = _mm256_fmadd_pd(high, high, sums.high);
    }

    double sum = sum_lanes(&sums);

    for (size_t i = whole; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sum;
}

void ce_rms_norm_avx2(
    float *y, const float *x, const float *weight, size_t n, float eps)
{
    const size_t whole = n - n % CE_LANES_AVX2;
    const double mean = sum_squares(x, n) / (double)n;
    const float inverse = (float)(1.0 / sqrt(mean + (double)eps));
    const __m256 factor = _mm256_set1_ps(inverse);

    for (size_t i = 0; i < whole; i += CE_LANES_AVX2) {
        const __m256 unit = _mm256_mul_ps(_mm256_loadu_ps(x + i), factor);

        _mm256_storeu_ps(y + i, _mm256_mul_ps(unit, _mm256_loadu_ps(weight + i)));
    }
    for (size_t i = whole; i < n; i++) {
        y[i] = x[i] * inverse * weight[i];
    }
}

/* NaN is passed over. */
static float largest_of(const float *x, size_t n)
{
    const size_t whole = n - n % CE_LANES_AVX2;
    __m256 lanes = _mm256_set1_ps(-INFINITY);
    float candidates[2 * CE_LANES_AVX2];
    float largest = -INFINITY;

    for (size_t i = 0; i < whole; i += CE_LANES_AVX2) {
        lanes = _mm256_max_ps(_mm256_loadu_ps(x + i), lanes);
    }
    _mm256_storeu_ps(candidates, lanes);
    memcpy(candidates + CE_LANES_AVX2, x + whole, (n - whole) * sizeof(*x));
    for (size_t i = 0; i < CE_LANES_AVX2 + n - whole; i++) {
        largest = candidates[i] > largest ? candidates[i] : largest;
    }
    return largest;
}

/* x = exp(x - largest); returns the sum. */
static double exponentiate(float *x, size_t n, float largest)
{
    const size_t whole = n - n % CE_LANES_AVX2;
    const __m256 shift = _mm256_set1_ps(largest);
    struct sums sums = {_mm256_setzero_pd(), _mm256_setzero_pd()};

    for (size_t i = 0; i < whole; i += CE_LANES_AVX2) {
        const __m256 e = ce_exp_avx2(_mm256_sub_ps(_mm256_loadu_ps(x + i), shift));

        _mm256_storeu_ps(x + i, e);
        sums.low = _mm256_add_pd(sums.low, widen_low(e));
        sums.high = _mm256_add_pd(sums.high, widen_high(e));
    }

    double sum = sum_lanes(&sums);

    for (size_t i = whole; i < n; i++) {
        x[i] = ce_exp_ref(x[i] - largest);
        sum += (double)x[i];
    }
    return sum;
}

void ce_softmax_avx2(float *x, size_t n)
{
    const size_t whole = n - n % CE_LANES_AVX2;
    const float sum = (float)exponentiate(x, n, largest_of(x, n));
    const __m256 divisor = _mm256_set1_ps(sum);

    for (size_t i = 0; i < whole; i += CE_LANES_AVX2) {
        _mm256_storeu_ps(x + i, _mm256_div_ps(_mm256_loadu_ps(x + i), divisor));
    }
    for (size_t i = whole; i < n; i++) {
        x[i] /= sum;
    }
}

bool ce_all_finite_avx2(const float *x, size_t n)
{
    const size_t whole = n - n % CE_LANES_AVX2;
    const __m256 infinity = _mm256_set1_ps(INFINITY);
    const __m256 sign = _mm256_set1_ps(-0.0F);
    __m256 finite = _mm256_castsi256_ps(_mm256_set1_epi32(-1));

    for (size_t i = 0; i < whole; i += CE_LANES_AVX2) {
        const __m256 magnitude = _mm256_andnot_ps(sign, _mm256_loadu_ps(x + i));
        const __m256 below = _mm256_cmp_ps(magnitude, infinity, _CMP_LT_OQ);

        finite = _mm256_and_ps(finite, below);
    }
    return _mm256_movemask_ps(finite) == 0xff &&
           ce_all_finite_ref(x + whole, n - whole);
}
