/* rms_norm, softmax and all_finite of every set against double precision */

#include "test_kernels.h"

enum { MAX = 300 };

static const size_t sizes[] = {
    1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 255, 257, 300};

enum { SIZE_COUNT = sizeof(sizes) / sizeof(*sizes) };

static void check_rms_norm(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 21};

    for (size_t s = 0; s < SIZE_COUNT; s++) {
        const size_t n = sizes[s];
        struct guarded x = guard_bytes(n * sizeof(float), 0);
        struct guarded weight = guard_bytes(n * sizeof(float), 0);
        float *values = x.data;
        const float *weights = weight.data;
        double squares = 0;
        float y[MAX + 1];

        draw_floats(&d, values, n);
        draw_floats(&d, weight.data, n);
        for (size_t i = 0; i < n; i++) {
            squares += (double)values[i] * (double)values[i];
        }
        y[n] = -7;
        kernels->rms_norm(y, values, weights, n, 1e-5F);
        for (size_t i = 0; i < n; i++) {
            const double root = sqrt(squares / (double)n + (double)1e-5F);
            const double expected = (double)weights[i] * (double)values[i] / root;

            assert_near((double)y[i], expected, 1e-6 * fabs(expected));
        }
        assert_near((double)y[n], -7, 0);
        kernels->rms_norm(values, values, weights, n, 1e-5F);
        assert_true(same_bits(values, y, n));
        guard_free(&x);
        guard_free(&weight);
    }
}

static void rms_norm_is_right_also_in_place(void **state)
{
    (void)state;
    with_every_set(check_rms_norm);
}

static void check_rms_norm_range(const struct ce_kernels *kernels)
{
    static const float magnitudes[] = {1e30F, 1e-30F, 0x1p-140F};
    float x[19];
    float weight[19];
    float y[19];

    for (size_t m = 0; m < 3; m++) {
        for (size_t i = 0; i < 19; i++) {
            x[i] = i % 2 == 0 ? magnitudes[m] : -magnitudes[m];
            weight[i] = 1;
        }
        kernels->rms_norm(y, x, weight, 19, 0x1p-149F);

        const double square = (double)magnitudes[m] * (double)magnitudes[m];
        const double expected = (double)magnitudes[m] / sqrt(square + 0x1p-149);

        assert_near((double)y[0], expected, 1e-6 * expected);
        assert_near((double)y[17], -expected, 1e-6 * expected);
    }
    x[18] = NAN;
    kernels->rms_norm(y, x, weight, 19, 1e-5F);
    for (size_t i = 0; i < 19; i++) {
        assert_true(isnan(y[i]));
    }
}

static void rms_norm_neither_overflows_nor_hides_nan(void **state)
{
    (void)state;
    with_every_set(check_rms_norm_range);
}

/* Compares with the same softmax in double; x holds the inputs. */
static void check_softmax_of(const struct ce_kernels *kernels, const float *x, size_t n)
{
    struct guarded p = guard_bytes(n * sizeof(float), 0);
    const float *actual = p.data;
    double largest = -INFINITY;
    double sum = 0;

    memcpy(p.data, x, n * sizeof(float));
    kernels->softmax(p.data, n);
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, (double)x[i]);
    }
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)x[i] - largest);
    }
    for (size_t i = 0; i < n; i++) {
        const double expected = exp((double)x[i] - largest) / sum;
        /* x - max has been rounded, which e^x magnifies. */
        const double distance = expected > 0 ? largest - (double)x[i] : 0;
        const double relative = 2e-6 + ROUNDING * distance;

        assert_near((double)actual[i], expected, relative * expected + 1e-44);
    }
    guard_free(&p);
}

static void check_softmax(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 22};
    float x[MAX];

    for (size_t s = 0; s < SIZE_COUNT; s++) {
        for (size_t i = 0; i < sizes[s]; i++) {
            x[i] = draw_between(&d, -30, 30);
        }
        check_softmax_of(kernels, x, sizes[s]);
        for (size_t i = 0; i < sizes[s]; i++) {
            x[i] = 3.25F;
        }
        check_softmax_of(kernels, x, sizes[s]);
        x[0] = 1e30F;
        check_softmax_of(kernels, x, sizes[s]);
        x[sizes[s] - 1] = -INFINITY;
        x[0] = -1e30F;
        x[sizes[s] / 2] = 90;
        check_softmax_of(kernels, x, sizes[s]);
    }
}

static void softmax_is_right(void **state)
{
    (void)state;
    with_every_set(check_softmax);
}

static void check_long_softmax(const struct ce_kernels *kernels)
{
    enum { VOCABULARY = 50304 };
    static float x[VOCABULARY];
    struct draws d = {.key = 23};

    for (size_t i = 0; i < VOCABULARY; i++) {
        x[i] = draw_between(&d, -2, 2);
    }
    check_softmax_of(kernels, x, VOCABULARY);
}

static void softmax_is_right_for_a_vocabulary(void **state)
{
    (void)state;
    with_every_set(check_long_softmax);
}

static void
check_softmax_is_nan(const struct ce_kernels *kernels, float usual, float special)
{
    for (size_t n = 1; n < 20; n++) {
        for (size_t at = 0; at < n; at++) {
            float x[20];

            for (size_t i = 0; i < n; i++) {
                x[i] = i == at ? special : usual;
            }
            kernels->softmax(x, n);
            for (size_t i = 0; i < n; i++) {
                assert_true(isnan(x[i]));
            }
        }
    }
}

static void check_softmax_specials(const struct ce_kernels *kernels)
{
    check_softmax_is_nan(kernels, 1, NAN);
    check_softmax_is_nan(kernels, -INFINITY, NAN);
    check_softmax_is_nan(kernels, -INFINITY, -INFINITY);

    float x[] = {1, INFINITY, 2};

    kernels->softmax(x, 3);
    assert_true(isnan(x[1]));
}

static void softmax_does_not_hide_nan(void **state)
{
    (void)state;
    with_every_set(check_softmax_specials);
}

static void check_all_finite(const struct ce_kernels *kernels)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};

    assert_true(kernels->all_finite(NULL, 0));
    for (size_t n = 1; n <= 40; n++) {
        struct guarded g = guard_bytes(n * sizeof(float), 0);
        float *x = g.data;

        for (size_t i = 0; i < n; i++) {
            x[i] = i % 3 == 0 ? FLT_MAX : (i % 3 == 1 ? -FLT_MAX : 0x1p-149F);
        }
        assert_true(kernels->all_finite(x, n));
        for (size_t i = 0; i < n; i++) {
            const float before = x[i];

            x[i] = bad[i % 3];
            assert_false(kernels->all_finite(x, n));
            x[i] = before;
        }
        guard_free(&g);
    }
}

static void all_finite_sees_every_element(void **state)
{
    (void)state;
    with_every_set(check_all_finite);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rms_norm_is_right_also_in_place),
        cmocka_unit_test(rms_norm_neither_overflows_nor_hides_nan),
        cmocka_unit_test(softmax_is_right),
        cmocka_unit_test(softmax_is_right_for_a_vocabulary),
        cmocka_unit_test(softmax_does_not_hide_nan),
        cmocka_unit_test(all_finite_sees_every_element),
    };

    return cmocka_run_group_tests_name("kernels.rows", tests, NULL, NULL);
}
