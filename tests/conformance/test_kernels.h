/* test_kernels.h - what the conformance tests of the kernel sets share
 *
 * Arrays are put before a page that may not be touched, so reading or writing
 * one byte behind their end stops the test.
 */

#ifndef CE_TESTS_CONFORMANCE_TEST_KERNELS_H
#define CE_TESTS_CONFORMANCE_TEST_KERNELS_H

#include "base/random.h"
#include "kernels/kernels.h"
#include "test.h"

#include <float.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROUNDING 0x1p-24

/* `bytes` bytes that end `slack` bytes before a forbidden page. */
struct guarded {
    unsigned char *mapping;
    size_t mapped;
    void *data;
};

static inline struct guarded guard_bytes(size_t bytes, size_t slack)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t usable = (bytes + slack + page - 1) / page * page;
    struct guarded g = {.mapped = usable + page};

    g.mapping = mmap(
        NULL, g.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(g.mapping, MAP_FAILED);
    assert_int_equal(mprotect(g.mapping + usable, page, PROT_NONE), 0);
    g.data = g.mapping + usable - bytes - slack;
    return g;
}

static inline void guard_free(struct guarded *g)
{
    assert_int_equal(munmap(g->mapping, g->mapped), 0);
}

/* Repeatable random numbers: every draw is one step of the counter. */
struct draws {
    uint64_t key;
    uint64_t counter;
};

static inline float draw_between(struct draws *d, float low, float high)
{
    const double unit = ce_random_unit(d->key, d->counter++, 0);

    return (float)((double)low + unit * ((double)high - (double)low));
}

static inline size_t draw_size(struct draws *d, size_t low, size_t high)
{
    return low +
           (size_t)(ce_random_unit(d->key, d->counter++, 0) * (double)(high - low + 1));
}

static inline void draw_floats(struct draws *d, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = draw_between(d, -1, 1);
    }
}

/* Writes value as element i of an array of `dtype`; returns what was stored. */
static inline float store_weight(void *data, enum ce_dtype dtype, size_t i, float value)
{
    const uint16_t half =
        dtype == CE_DTYPE_BF16 ? ce_bf16_from_f32(value) : ce_f16_from_f32(value);

    if (dtype == CE_DTYPE_F32) {
        memcpy((unsigned char *)data + 4 * i, &value, 4);
        return value;
    }
    memcpy((unsigned char *)data + 2 * i, &half, 2);
    return dtype == CE_DTYPE_BF16 ? ce_f32_from_bf16(half) : ce_f32_from_f16(half);
}

static inline uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static inline float float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static inline bool same_bits(const float *a, const float *b, size_t n)
{
    return n == 0 || memcmp(a, b, n * sizeof(*a)) == 0;
}

/* The same bits, or both NaN. */
static inline bool same_value(float a, float b)
{
    return bits_of(a) == bits_of(b) || (isnan(a) && isnan(b));
}

static inline void assert_near(double actual, double expected, double tolerance)
{
    if (!(fabs(actual - expected) <= tolerance)) {
        fail_msg("%.9g instead of %.9g: off by %.3g, allowed %.3g",
                 actual,
                 expected,
                 fabs(actual - expected),
                 tolerance);
    }
}

/* Runs one check with every set of this machine. */
static inline void with_every_set(void (*check)(const struct ce_kernels *kernels))
{
    for (enum ce_isa isa = CE_ISA_REF; isa <= ce_isa_detect(); isa++) {
        check(ce_kernels_get(isa));
    }
}

#endif
