/* Element-wise members of every set: right, in place, the bits of the reference */

#include "test_kernels.h"

enum { MAX = 100 };

static void draw_wide(struct draws *d, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = draw_between(d, -110, 110);
    }
}

static double exact_silu(double x)
{
    return x / (1 + exp(-x));
}

static void check_silu(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 31};

    for (size_t n = 0; n <= MAX; n++) {
        struct guarded h = guard_bytes(n * sizeof(float), 0);
        const float *actual = h.data;
        float gate[MAX];
        float up[MAX];
        float scale[MAX];

        draw_wide(&d, gate, n);
        draw_floats(&d, up, n);
        draw_floats(&d, scale, n);
        kernels->silu_multiply(h.data, gate, up, NULL, n);
        for (size_t i = 0; i < n; i++) {
            const double expected = exact_silu((double)gate[i]) * (double)up[i];

            assert_near((double)actual[i], expected, 2e-6 * fabs(expected) + 2e-43);
        }
        kernels->silu_multiply(h.data, gate, up, scale, n);
        for (size_t i = 0; i < n; i++) {
            const double expected =
                exact_silu((double)gate[i]) * (double)up[i] * (double)scale[i];

            assert_near((double)actual[i], expected, 2e-6 * fabs(expected) + 2e-43);
        }
        guard_free(&h);
    }
}

static void silu_multiply_is_right(void **state)
{
    (void)state;
    with_every_set(check_silu);
}

static void check_silu_in_place(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 32};
    float gate[MAX];
    float up[MAX];
    float scale[MAX];
    float h[MAX];
    float copy[MAX];

    draw_wide(&d, gate, MAX);
    draw_floats(&d, up, MAX);
    draw_floats(&d, scale, MAX);
    kernels->silu_multiply(h, gate, up, scale, MAX);
    memcpy(copy, gate, sizeof(copy));
    kernels->silu_multiply(copy, copy, up, scale, MAX);
    assert_true(same_bits(copy, h, MAX));
    memcpy(copy, up, sizeof(copy));
    kernels->silu_multiply(copy, gate, copy, scale, MAX);
    assert_true(same_bits(copy, h, MAX));
}

static void silu_multiply_works_in_place(void **state)
{
    (void)state;
    with_every_set(check_silu_in_place);
}

static void check_silu_specials(const struct ce_kernels *kernels)
{
    for (size_t at = 0; at < 11; at++) {
        float gate[11] = {0};
        float up[11];

        for (size_t i = 0; i < 11; i++) {
            up[i] = 1;
        }
        gate[at] = INFINITY;
        kernels->silu_multiply(up, gate, up, NULL, 11);
        for (size_t i = 0; i < 11; i++) {
            assert_true(same_value(up[i], i == at ? INFINITY : 0));
        }
        up[at] = 1;
        gate[at] = NAN;
        kernels->silu_multiply(up, gate, up, NULL, 11);
        assert_true(isnan(up[at]));
        up[at] = 1;
        gate[at] = -1e30F;
        kernels->silu_multiply(up, gate, up, NULL, 11);
        assert_near((double)up[at], 0, 0);
    }
}

static void silu_multiply_keeps_infinity_and_nan(void **state)
{
    (void)state;
    with_every_set(check_silu_specials);
}

/* Every 4099th float, NaN and infinities included, against the reference. */
static void check_silu_bits(const struct ce_kernels *kernels)
{
    const struct ce_kernels *ref = ce_kernels_get(CE_ISA_REF);
    float gate[64];
    float up[64];
    float expected[64];
    float actual[64];

    for (size_t i = 0; i < 64; i++) {
        up[i] = 1;
    }
    for (uint64_t start = 0; start < UINT64_C(1) << 32; start += UINT64_C(64) * 4099) {
        for (size_t i = 0; i < 64; i++) {
            gate[i] = float_of((uint32_t)(start + i * 4099));
        }
        ref->silu_multiply(expected, gate, up, NULL, 64);
        kernels->silu_multiply(actual, gate, up, NULL, 64);
        for (size_t i = 0; i < 64; i++) {
            assert_true(same_value(actual[i], expected[i]));
        }
    }
}

static void silu_multiply_has_the_bits_of_the_reference(void **state)
{
    (void)state;
    with_every_set(check_silu_bits);
}

/* Numbers of all magnitudes, subnormal, infinite and NaN among them. */
static void draw_any_bits(struct draws *d, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = float_of((uint32_t)draw_size(d, 0, UINT32_MAX));
    }
}

static void check_multiply(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 33};

    for (size_t n = 0; n <= MAX; n++) {
        struct guarded y = guard_bytes(n * sizeof(float), 0);
        float *actual = y.data;
        float x[MAX];
        float w[MAX];

        draw_any_bits(&d, x, n);
        draw_any_bits(&d, w, n);
        kernels->multiply(actual, x, w, n);
        for (size_t i = 0; i < n; i++) {
            assert_true(same_value(actual[i], x[i] * w[i]));
        }
        memcpy(actual, x, n * sizeof(float));
        kernels->multiply(actual, actual, w, n);
        for (size_t i = 0; i < n; i++) {
            assert_true(same_value(actual[i], x[i] * w[i]));
        }
        guard_free(&y);
    }
}

static void multiply_is_right_also_in_place(void **state)
{
    (void)state;
    with_every_set(check_multiply);
}

static void check_add_scaled(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 34};

    for (size_t n = 0; n <= MAX; n++) {
        struct guarded y = guard_bytes(n * sizeof(float), 0);
        float *actual = y.data;
        float x[MAX];
        float before[MAX];
        float a = draw_between(&d, -3, 3);

        draw_floats(&d, x, n);
        draw_floats(&d, before, n);
        memcpy(actual, before, n * sizeof(float));
        kernels->add_scaled(actual, x, a, n);
        for (size_t i = 0; i < n; i++) {
            const double product = (double)a * (double)x[i];
            const double rounded = ROUNDING * (fabs(product) + 4);

            assert_near((double)actual[i], (double)before[i] + product, rounded);
        }
        guard_free(&y);
    }
}

static void add_scaled_is_right(void **state)
{
    (void)state;
    with_every_set(check_add_scaled);
}

static void check_rotate(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 35};

    for (size_t n = 0; n <= MAX; n += 2) {
        struct guarded x = guard_bytes(n * sizeof(float), 0);
        const float *actual = x.data;
        const size_t half = n / 2;
        float before[MAX];
        float cosine[MAX];
        float sine[MAX];

        draw_floats(&d, before, n);
        for (size_t i = 0; i < half; i++) {
            const double angle = (double)draw_between(&d, 0, 7);

            cosine[i] = (float)cos(angle);
            sine[i] = (float)sin(angle);
        }
        memcpy(x.data, before, n * sizeof(float));
        kernels->rotate(x.data, cosine, sine, n);
        for (size_t i = 0; i < half; i++) {
            const double a = (double)before[i];
            const double b = (double)before[half + i];
            const double c = (double)cosine[i];
            const double s = (double)sine[i];

            assert_near((double)actual[i], a * c - b * s, 4 * ROUNDING);
            assert_near((double)actual[half + i], b * c + a * s, 4 * ROUNDING);
        }
        guard_free(&x);
    }
}

static void rotate_is_right(void **state)
{
    (void)state;
    with_every_set(check_rotate);
}

/* The elements before and behind a cut have the bits of one call. */
static void check_cuts(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 36};
    float x[MAX];
    float w[MAX];
    float whole[MAX];
    float parts[MAX];

    draw_wide(&d, x, MAX);
    draw_floats(&d, w, MAX);
    for (size_t cut = 0; cut <= MAX; cut++) {
        kernels->silu_multiply(whole, x, w, NULL, MAX);
        kernels->silu_multiply(parts, x, w, NULL, cut);
        kernels->silu_multiply(parts + cut, x + cut, w + cut, NULL, MAX - cut);
        assert_true(same_bits(parts, whole, MAX));
        kernels->add_scaled(whole, x, 0.3F, MAX);
        kernels->add_scaled(parts, x, 0.3F, cut);
        kernels->add_scaled(parts + cut, x + cut, 0.3F, MAX - cut);
        assert_true(same_bits(parts, whole, MAX));
    }
}

static void cuts_do_not_change_bits(void **state)
{
    (void)state;
    with_every_set(check_cuts);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silu_multiply_is_right),
        cmocka_unit_test(silu_multiply_works_in_place),
        cmocka_unit_test(silu_multiply_keeps_infinity_and_nan),
        cmocka_unit_test(silu_multiply_has_the_bits_of_the_reference),
        cmocka_unit_test(multiply_is_right_also_in_place),
        cmocka_unit_test(add_scaled_is_right),
        cmocka_unit_test(rotate_is_right),
        cmocka_unit_test(cuts_do_not_change_bits),
    };

    return cmocka_run_group_tests_name("kernels.elements", tests, NULL, NULL);
}
