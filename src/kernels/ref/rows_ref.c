/* rows_ref.c - members that reduce one row: norm, softmax, the finite check */

#include "kernels/ref/exp.h"
#include "kernels/ref/ref.h"

#include <math.h>

void ce_rms_norm_ref(float *y, const float *x, const float *weight, size_t n, float eps)
{
    double squares = 0;

    for (size_t i = 0; i < n; i++) {
        squares += (double)x[i] * (double)x[i];
    }

    const float inverse = (float)(1.0 / sqrt(squares / (double)n + (double)eps));

    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] * inverse * weight[i];
    }
}

void ce_softmax_ref(float *x, size_t n)
{
    float largest = -INFINITY;
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        largest = x[i] > largest ? x[i] : largest;
    }
    for (size_t i = 0; i < n; i++) {
        x[i] = ce_exp_ref(x[i] - largest);
        sum += (double)x[i];
    }
    for (size_t i = 0; i < n; i++) {
        x[i] /= (float)sum;
    }
}

bool ce_all_finite_ref(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return false;
        }
    }
    return true;
}
