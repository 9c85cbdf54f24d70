/* exact.h - sums whose bits do not depend on the order of what is added
 *
 * A sum is a whole number of 2^-60 in 128 bits. Each value is rounded to such a number,
 * and these are added without rounding: on any number of ranks and threads, token by
 * token in any order, the same sum comes out. 2^34 values of up to 2^32 fit.
 */

#ifndef CE_CALIBRATE_EXACT_H
#define CE_CALIBRATE_EXACT_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#define CE_EXACT_STEPS 0x1p60 /* of one unit */
#define CE_EXACT_LIMIT 0x1p32 /* of the size of a value */

/* high * 2^64 + low, two's complement. */
struct ce_exact {
    uint64_t low;
    uint64_t high;
};

static inline void ce_exact_merge(struct ce_exact *sum, struct ce_exact other)
{
    sum->low += other.low;
    sum->high += other.high + (sum->low < other.low);
}

static inline struct ce_exact ce_exact_negate(struct ce_exact value)
{
    return (struct ce_exact){~value.low + 1, ~value.high + (value.low == 0)};
}

/* False, and the sum is as before, for a value that is too large or not a number. */
static inline bool ce_exact_add(struct ce_exact *sum, double value)
{
    const double size = rint(fabs(value) * CE_EXACT_STEPS);
    const double high = floor(size * 0x1p-64);

    if (!(fabs(value) < CE_EXACT_LIMIT)) {
        return false;
    }
    const struct ce_exact whole = {(uint64_t)(size - high * 0x1p64), (uint64_t)high};

    ce_exact_merge(sum, value < 0 ? ce_exact_negate(whole) : whole);
    return true;
}

static inline double ce_exact_value(struct ce_exact sum)
{
    const bool negative = sum.high >> 63 != 0;
    const struct ce_exact size = negative ? ce_exact_negate(sum) : sum;
    const double value =
        ((double)size.high * 0x1p64 + (double)size.low) / CE_EXACT_STEPS;

    return negative ? -value : value;
}

#endif
