/* Into codes: activations by every set, weights and their bytes */

#include "test_kernels.h"

#include <stdlib.h>

enum { BLOCK = CE_QUANTISED_BLOCK, PANEL = CE_QUANTISED_PANEL };

/* ---- activations */

static float draw_special(struct draws *d)
{
    static const float specials[] = {
        0, -0.0F, FLT_MAX, -FLT_MAX, FLT_MIN, 0x1p-149F, -0x1p-149F, 0x1p-111F, 1};
    const size_t n = sizeof(specials) / sizeof(*specials);
    const size_t k = draw_size(d, 0, 3 * n - 1);

    return k < n ? specials[k] : draw_between(d, -1, 1) * (k % 2 == 0 ? 1 : 0x1p-120F);
}

static void check_block(const struct ce_quantised_block *b, const float *x, size_t n)
{
    float largest = 0;
    int32_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        largest = fmaxf(largest, fabsf(x[i]));
    }
    for (size_t i = 0; i < BLOCK; i++) {
        const double value = (double)b->values[i] * (double)b->scale;

        sum += b->values[i];
        assert_true(b->values[i] >= -INT16_MAX);
        assert_near(value,
                    i < n ? (double)x[i] : 0,
                    fmax((double)largest * 0x1.02p-16, 0x1.02p-127));
    }
    assert_int_equal(b->offset, -8 * sum);
}

static void check_rows(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 31};

    for (size_t k = 0; k < 200; k++) {
        const size_t rows = draw_size(&d, 0, 3);
        const size_t inputs = draw_size(&d, 1, 100);
        const size_t blocks = ce_quantised_blocks(inputs);
        const size_t bytes = rows * blocks * sizeof(struct ce_quantised_block);
        struct guarded x = guard_bytes(rows * inputs * sizeof(float), 0);
        struct guarded out = guard_bytes(bytes, 0);
        struct guarded expected = guard_bytes(bytes, 0);
        const struct ce_quantised_block *row = out.data;

        for (size_t i = 0; i < rows * inputs; i++) {
            ((float *)x.data)[i] =
                k % 2 == 0 ? draw_between(&d, -3, 3) : draw_special(&d);
        }
        kernels->quantise_rows(out.data, blocks, x.data, inputs, rows, inputs);
        ce_kernels_get(CE_ISA_REF)
            ->quantise_rows(expected.data, blocks, x.data, inputs, rows, inputs);
        assert_memory_equal(out.data, expected.data, bytes);
        for (size_t b = 0; b < rows * blocks; b++) {
            const size_t first = b % blocks * BLOCK;
            const size_t left = inputs - first;

            check_block(row + b,
                        (const float *)x.data + b / blocks * inputs + first,
                        left < BLOCK ? left : BLOCK);
        }
        guard_free(&x);
        guard_free(&out);
        guard_free(&expected);
    }
}

static void activations_are_close_and_have_one_value(void **state)
{
    (void)state;
    with_every_set(check_rows);
}

static void check_special_blocks(const struct ce_kernels *kernels)
{
    static const float specials[] = {NAN, -NAN, INFINITY, -INFINITY};
    struct ce_quantised_block blocks[3];
    float x[2 * BLOCK + 5];

    for (size_t i = 0; i < 4 * (sizeof(x) / sizeof(*x)); i++) {
        const size_t at = i / 4;

        memset(blocks, 0xff, sizeof(blocks));
        for (size_t k = 0; k < sizeof(x) / sizeof(*x); k++) {
            x[k] = k == at ? specials[i % 4] : 1;
        }
        kernels->quantise_rows(blocks, 3, x, 0, 1, sizeof(x) / sizeof(*x));
        for (size_t b = 0; b < 3; b++) {
            assert_int_equal(isnan(blocks[b].scale) != 0, b == at / BLOCK);
            for (size_t k = 0; k < BLOCK; k++) {
                const bool there = b < 2 || k < 5;

                assert_int_equal(blocks[b].values[k],
                                 b != at / BLOCK && there ? INT16_MAX : 0);
            }
        }
    }
}

static void blocks_that_are_not_finite_have_no_scale(void **state)
{
    (void)state;
    with_every_set(check_special_blocks);
}

/* ---- weights */

struct weights {
    struct ce_matrix matrix;
    struct ce_quantised_matrix quantised;
    struct guarded stored, packed;
};

static struct weights weights_create(enum ce_quantisation q,
                                     enum ce_dtype dtype,
                                     size_t outputs,
                                     size_t inputs)
{
    struct weights w = {
        .stored = guard_bytes(outputs * inputs * ce_dtype_size(dtype), outputs % 2),
        .packed = guard_bytes(ce_quantised_bytes(q, outputs, inputs), inputs % 2),
    };

    w.matrix = (struct ce_matrix){dtype, outputs, inputs, w.stored.data};
    w.quantised = (struct ce_quantised_matrix){q, outputs, inputs, w.packed.data};
    return w;
}

static void weights_destroy(struct weights *w)
{
    guard_free(&w->stored);
    guard_free(&w->packed);
}

static float set_weight(struct weights *w, size_t output, size_t input, float value)
{
    return store_weight(
        w->stored.data, w->matrix.dtype, output * w->matrix.inputs + input, value);
}

static size_t quantise(struct weights *w, size_t first, size_t count)
{
    return ce_quantise_panels(
        w->packed.data, w->quantised.quantisation, &w->matrix, first, count);
}

static size_t quantise_all(struct weights *w)
{
    return quantise(w, 0, ce_quantised_panels(w->matrix.outputs));
}

/* 8 bits: half a step of the largest weight. 4 bits: no block is worse than with the
 * scale that gives its extreme the code -8. */
static void check_weights(enum ce_quantisation q, const float *exact, const float *got)
{
    float extreme = 0;
    double error = 0;
    double simple = 0;

    for (size_t i = 0; i < BLOCK; i++) {
        extreme = fabsf(exact[i]) > fabsf(extreme) ? exact[i] : extreme;
    }
    for (size_t i = 0; i < BLOCK; i++) {
        const float scale = ce_f32_from_bf16(ce_bf16_from_f32(extreme / -8));
        const float code = fminf(rintf(exact[i] / scale), 7);
        const double off = (double)exact[i] - (double)got[i];

        if (q == CE_QUANTISATION_Q8) {
            assert_near(off, 0, (double)fabsf(extreme) / 254 * (1 + 0x1p-7));
        }
        error += off * off;
        simple += pow((double)exact[i] - (double)(code * scale), 2);
    }
    if (q == CE_QUANTISATION_Q4) {
        assert_near(0, error, simple * (1 + 1e-5));
    }
}

static void weights_are_close(void **state)
{
    enum { OUTPUTS = 21, INPUTS = 77, PADDED = 96 };
    static const enum ce_dtype dtypes[] = {CE_DTYPE_F32, CE_DTYPE_BF16, CE_DTYPE_F16};
    struct draws d = {.key = 32};

    (void)state;
    for (size_t k = 0; k < 60; k++) {
        const enum ce_quantisation q = k % 2;
        struct weights w = weights_create(q, dtypes[k % 3], OUTPUTS, INPUTS);
        float exact[OUTPUTS][PADDED] = {{0}};
        float got[PADDED] = {0};

        for (size_t i = 0; i < (size_t)OUTPUTS * INPUTS; i++) {
            exact[i / INPUTS][i % INPUTS] =
                set_weight(&w, i / INPUTS, i % INPUTS, draw_between(&d, -1, 1));
        }
        assert_int_equal(quantise_all(&w), OUTPUTS);
        for (size_t o = 0; o < OUTPUTS; o++) {
            ce_dequantise_output(got, &w.quantised, o);
            for (size_t i = 0; i < PADDED; i += BLOCK) {
                check_weights(q, exact[o] + i, got + i);
            }
        }
        weights_destroy(&w);
    }
}

/* Codes that are there are found again, whatever the scale. */
static void weights_of_few_bits_are_exact(void **state)
{
    enum { OUTPUTS = 17, INPUTS = 50 };
    static const float units[] = {0x1p-130F, 0x1p-20F, 1, -0x1.8p+3F, 0x1p+90F};

    (void)state;
    for (size_t k = 0; k < 10; k++) {
        const enum ce_quantisation q = k % 2;
        const int codes = q == CE_QUANTISATION_Q8 ? 255 : 16;
        const int lowest = q == CE_QUANTISATION_Q8 ? -127 : -8;
        struct weights w = weights_create(q, CE_DTYPE_F32, OUTPUTS, INPUTS);
        float exact[OUTPUTS][INPUTS];
        float got[INPUTS];

        for (size_t i = 0; i < (size_t)OUTPUTS * INPUTS; i++) {
            const bool extreme = i % INPUTS % BLOCK == 3;
            const int code = extreme ? lowest : (int)(i * 7 % (size_t)codes) + lowest;

            exact[i / INPUTS][i % INPUTS] =
                set_weight(&w, i / INPUTS, i % INPUTS, units[k / 2] * (float)code);
        }
        assert_int_equal(quantise_all(&w), OUTPUTS);
        for (size_t o = 0; o < OUTPUTS; o++) {
            ce_dequantise_output(got, &w.quantised, o);
            for (size_t i = 0; i < INPUTS; i++) {
                assert_near((double)got[i], (double)exact[o][i], 0);
            }
        }
        weights_destroy(&w);
    }
}

static void bad_weights_are_refused(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY, 0x1.0002p+100F, -FLT_MAX};
    enum { OUTPUTS = 40, INPUTS = 70 };
    struct draws d = {.key = 33};

    (void)state;
    for (size_t k = 0; k < 200; k++) {
        struct weights w = weights_create(k % 2, CE_DTYPE_F32, OUTPUTS, INPUTS);
        const size_t output = draw_size(&d, 0, OUTPUTS - 1);
        const size_t other = draw_size(&d, output, OUTPUTS - 1);
        const size_t panel = output / PANEL;

        (void)set_weight(&w, output, draw_size(&d, 0, INPUTS - 1), bad[k % 5]);
        (void)set_weight(&w, other, draw_size(&d, 0, INPUTS - 1), bad[k / 5 % 5]);
        assert_int_equal(quantise_all(&w), output);
        assert_int_equal(quantise(&w, 0, panel), OUTPUTS); /* those before are good */
        assert_int_equal(quantise(&w, panel, 1), output);
        weights_destroy(&w);
    }
}

/* Where README.md says they are; the codes are those of small integers. */
static void check_bytes(enum ce_quantisation q)
{
    enum { OUTPUTS = 32, INPUTS = 40 };
    struct weights w = weights_create(q, CE_DTYPE_F32, OUTPUTS, INPUTS);
    const size_t block_bytes = q == CE_QUANTISATION_Q8 ? 544 : 288;
    int codes[OUTPUTS][2 * BLOCK] = {{0}};

    assert_int_equal(ce_quantised_bytes(q, OUTPUTS, INPUTS), 4 * block_bytes);
    for (size_t i = 0; i < (size_t)OUTPUTS * INPUTS; i++) {
        const bool extreme = i % INPUTS % BLOCK == 5;
        const int lowest = q == CE_QUANTISATION_Q8 ? -127 : -8;
        const int code = extreme ? lowest : (int)(i * 5 % 16) - 8;

        codes[i / INPUTS][i % INPUTS] = code;
        (void)set_weight(
            &w, i / INPUTS, i % INPUTS, (float)code * (float)(1 + i / INPUTS));
    }
    assert_int_equal(quantise_all(&w), OUTPUTS);
    for (size_t k = 0; k < (size_t)OUTPUTS * 2 * BLOCK; k++) {
        const size_t o = k / (2 * BLOCK) % PANEL;
        const size_t i = k % BLOCK;
        const unsigned char *at =
            (const unsigned char *)w.packed.data +
            (k / (2 * BLOCK) / PANEL * 2 + k / BLOCK % 2) * block_bytes;
        const unsigned char *q8 = at + 32 + 32 * (i / 2) + 2 * o + i % 2;
        const unsigned char *q4 = at + 32 + 64 * (i / 8) + 4 * o + 2 * (i % 2);
        const unsigned nibbles = q4[0] | (unsigned)q4[1] << 8;
        const unsigned char *scale = at + 4 * (o % 8) + 2 * (o / 8);
        const uint16_t bits = (uint16_t)(scale[0] | scale[1] << 8);
        const int code = codes[k / (2 * BLOCK)][k % (2 * BLOCK)];

        assert_near((double)ce_f32_from_bf16(bits), (double)(1 + k / (2 * BLOCK)), 0);
        if (q == CE_QUANTISATION_Q8) {
            assert_int_equal((signed char)*q8, code);
        } else {
            assert_int_equal((int)(nibbles >> 4 * (i % 8 / 2) & 15) - 8, code);
        }
    }
    weights_destroy(&w);
}

static void bytes_are_where_they_should_be(void **state)
{
    (void)state;
    check_bytes(CE_QUANTISATION_Q8);
    check_bytes(CE_QUANTISATION_Q4);
}

static void panels_are_independent(void **state)
{
    enum { OUTPUTS = 40, INPUTS = 45 };
    struct draws d = {.key = 34};

    (void)state;
    for (enum ce_quantisation q = CE_QUANTISATION_Q8; q <= CE_QUANTISATION_Q4; q++) {
        struct weights w = weights_create(q, CE_DTYPE_F32, OUTPUTS, INPUTS);
        const size_t bytes = ce_quantised_bytes(q, OUTPUTS, INPUTS);
        unsigned char *whole = malloc(bytes);

        assert_non_null(whole);
        for (size_t i = 0; i < (size_t)OUTPUTS * INPUTS; i++) {
            (void)set_weight(&w, i / INPUTS, i % INPUTS, draw_between(&d, -1, 1));
        }
        assert_int_equal(quantise_all(&w), OUTPUTS);
        memcpy(whole, w.packed.data, bytes);
        memset(w.packed.data, 0xaa, bytes);
        for (size_t panel = 3; panel-- > 0;) {
            assert_int_equal(quantise(&w, panel, 1), OUTPUTS);
        }
        assert_memory_equal(w.packed.data, whole, bytes);
        free(whole);
        weights_destroy(&w);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_are_close_and_have_one_value),
        cmocka_unit_test(blocks_that_are_not_finite_have_no_scale),
        cmocka_unit_test(weights_are_close),
        cmocka_unit_test(weights_of_few_bits_are_exact),
        cmocka_unit_test(bad_weights_are_refused),
        cmocka_unit_test(bytes_are_where_they_should_be),
        cmocka_unit_test(panels_are_independent),
    };

    return cmocka_run_group_tests_name("kernels.quantise", tests, NULL, NULL);
}
