/* exp.h - e^x in plain arithmetic: the same bits on every machine
 *
 * libm picks its expf by CPU, so it cannot be part of a result whose bits are
 * promised. Here x = n ln 2 + r with |r| <= ln 2 / 2, and e^r is its Taylor
 * series to r^7 (remainder under a tenth of a rounding). The error is at most 1.03
 * units in the last place (all floats tried); subnormal results are rounded once, NaN
 * stays NaN. The vector sets do the same operations in the same order: the same bits.
 *
 * Needs round to nearest and no flushing of subnormals, as a process starts.
 */

#ifndef CE_KERNELS_REF_EXP_H
#define CE_KERNELS_REF_EXP_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

_Static_assert(FLT_EVAL_METHOD == 0, "float arithmetic has to round to float");

/* Beyond these every float gives 0 and infinity. */
#define CE_EXP_LOWEST  (-104.0F)
#define CE_EXP_HIGHEST (89.0F)

#define CE_EXP_LOG2E (0x1.715476p+0F)
/* ln 2 in two parts; the first has 15 bits, so its product with n is exact. */
#define CE_EXP_LN2_HIGH (0x1.62e4p-1F)
#define CE_EXP_LN2_LOW  (0x1.7f7d1cp-20F)
/* Adding and subtracting 1.5 * 2^23 rounds to an integer. */
#define CE_EXP_ROUNDER (0x1.8p+23F)

/* 2^n, -126 <= n <= 127 */
static inline float ce_exp2_int_ref(int n)
{
    const uint32_t bits = (uint32_t)(n + 127) << 23;
    float power;

    memcpy(&power, &bits, sizeof(power));
    return power;
}

/* e^r, |r| <= 0.35 */
static inline float ce_exp_reduced_ref(float r)
{
    float p = 1.0F / 5040;

    p = p * r + 1.0F / 720;
    p = p * r + 1.0F / 120;
    p = p * r + 1.0F / 24;
    p = p * r + 1.0F / 6;
    p = p * r + 0.5F;
    return (p * (r * r) + r) + 1.0F;
}

static inline float ce_exp_ref(float x)
{
    if (isnan(x)) {
        return x;
    }
    x = x < CE_EXP_LOWEST ? CE_EXP_LOWEST : x;
    x = x > CE_EXP_HIGHEST ? CE_EXP_HIGHEST : x;

    const float whole = (x * CE_EXP_LOG2E + CE_EXP_ROUNDER) - CE_EXP_ROUNDER;
    const float r = (x - whole * CE_EXP_LN2_HIGH) - whole * CE_EXP_LN2_LOW;
    const int n = (int)whole;
    const int half = n / 2;

    /* Two factors, so that neither leaves the normal range. */
    return ce_exp_reduced_ref(r) * ce_exp2_int_ref(half) * ce_exp2_int_ref(n - half);
}

#endif
