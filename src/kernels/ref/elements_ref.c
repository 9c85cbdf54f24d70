/* elements_ref.c - members that work element by element */

#include "kernels/ref/exp.h"
#include "kernels/ref/ref.h"

#include <math.h>

/* x / (1 + e^-x), with the exponent never positive so that nothing overflows
 * while the result is still a normal number. */
static float silu(float x)
{
    const float e = ce_exp_ref(-fabsf(x));

    return x * (x < 0 ? e : 1) / (1 + e);
}

void ce_silu_multiply_ref(
    float *h, const float *gate, const float *up, const float *scale, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        h[i] = silu(gate[i]) * up[i];
    }
    if (scale != NULL) {
        ce_multiply_ref(h, h, scale, n);
    }
}

void ce_multiply_ref(float *y, const float *x, const float *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] * w[i];
    }
}

void ce_add_scaled_ref(float *y, const float *x, float a, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] += a * x[i];
    }
}

void ce_rotate_pairs_ref(
    float *low, float *high, const float *cosine, const float *sine, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float a = low[i];
        const float b = high[i];

        low[i] = a * cosine[i] - b * sine[i];
        high[i] = b * cosine[i] + a * sine[i];
    }
}

void ce_rotate_ref(float *x, const float *cosine, const float *sine, size_t n)
{
    ce_rotate_pairs_ref(x, x + n / 2, cosine, sine, n / 2);
}
