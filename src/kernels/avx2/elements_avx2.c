/* elements_avx2.c - members that work element by element
 *
 * They do the operations of the reference, one rounding each, so they give the
 * same bits; what is left over after the last eight goes to the reference.
 */

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/exp_avx2.h"
#include "kernels/avx2/lanes_avx2.h"
#include "kernels/ref/ref.h"

static inline __m256 silu(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1);
    const __m256 e = ce_exp_avx2(_mm256_or_ps(x, _mm256_set1_ps(-0.0F)));
    const __m256 factor = _mm256_blendv_ps(one, e, x); /* by the sign of x */

    return _mm256_div_ps(_mm256_mul_ps(x, factor), _mm256_add_ps(one, e));
}

void ce_silu_multiply_avx2(
    float *h, const float *gate, const float *up, const float *scale, size_t n)
{
    const size_t whole = n - n % CE_LANES_AVX2;

    for (size_t i = 0; i < whole; i += CE_LANES_AVX2) {
        const __m256 active = silu(_mm256_loadu_ps(gate + i));
        __m256 product = _mm256_mul_ps(active, _mm256_loadu_ps(up + i));

        if (scale != NULL) {
            product = _mm256_mul_ps(product, _mm256_loadu_ps(scale + i));
        }
        _mm256_storeu_ps(h + i, product);
    }
    ce_silu_multiply_ref(h + whole,
                         gate + whole,
                         up + whole,
                         scale == NULL ? NULL : scale + whole,
                         n - whole);
}

void ce_multiply_avx2(float *y, const float *x, const float *w, size_t n)
{
    const size_t whole = n - n % CE_LANES_AVX2;

    for (size_t i = 0; i < whole; i += CE_LANES_AVX2) {
        const __m256 product =
            _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(w + i));

        _mm256_storeu_ps(y + i, product);
    }
    ce_multiply_ref(y + whole, x + whole, w + whole, n - whole);
}

void ce_add_scaled_avx2(float *y, const float *x, float a, size_t n)
{
    const size_t whole = n - n % CE_LANES_AVX2;
    const __m256 factor = _mm256_set1_ps(a);

    for (size_t i = 0; i < whole; i += CE_LANES_AVX2) {
        const __m256 scaled = _mm256_mul_ps(factor, _mm256_loadu_ps(x + i));

        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(y + i), scaled));
    }
    ce_add_scaled_ref(y + whole, x + whole, a, n - whole);
}

void ce_rotate_avx2(float *x, const float *cosine, const float *sine, size_t n)
{
    const size_t pairs = n / 2;
    const size_t whole = pairs - pairs % CE_LANES_AVX2;
    float *low = x;
    float *high = x + pairs;

    for (size_t i = 0; i < whole; i += CE_LANES_AVX2) {
        const __m256 a = _mm256_loadu_ps(low + i);
        const __m256 b = _mm256_loadu_ps(high + i);
        const __m256 c = _mm256_loadu_ps(cosine + i);
        const __m256 s = _mm256_loadu_ps(sine + i);

        _mm256_storeu_ps(low + i,
                         _mm256_sub_ps(_mm256_mul_ps(a, c), _mm256_mul_ps(b, s)));
        _mm256_storeu_ps(high + i,
                         _mm256_add_ps(_mm256_mul_ps(b, c), _mm256_mul_ps(a, s)));
    }
    ce_rotate_pairs_ref(
        low + whole, high + whole, cosine + whole, sine + whole, pairs - whole);
}
