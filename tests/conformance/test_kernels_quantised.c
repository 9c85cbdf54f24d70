/* matmul_quantised of every set: against products in double, the reference's bits,
 * and itself in other cuts */

#include "test_kernels.h"

#include <stdlib.h>

enum { BLOCK = CE_QUANTISED_BLOCK, PANEL = CE_QUANTISED_PANEL };

static const enum ce_dtype dtypes[] = {CE_DTYPE_F32, CE_DTYPE_BF16, CE_DTYPE_F16};

#define UNTOUCHED 12345.0F

/* One product with strides longer than rows and a forbidden page behind everything. */
struct product {
    size_t rows, inputs, outputs, blocks;
    size_t ldx, ld_blocks, ldy;
    struct guarded x, quantised, packed, y;
    struct ce_quantised_matrix w;
};

static size_t strided(size_t rows, size_t ld, size_t row)
{
    return rows == 0 ? 0 : (rows - 1) * ld + row;
}

static struct product product_create(enum ce_quantisation quantisation,
                                     size_t rows,
                                     size_t inputs,
                                     size_t outputs)
{
    struct product p = {.rows = rows, .inputs = inputs, .outputs = outputs};

    p.blocks = ce_quantised_blocks(inputs);
    p.ldx = inputs + 3;
    p.ld_blocks = p.blocks + 1;
    p.ldy = outputs + 2;
    p.x = guard_bytes(strided(rows, p.ldx, inputs) * sizeof(float), 0);
    p.y = guard_bytes(strided(rows, p.ldy, outputs) * sizeof(float), 0);
    p.quantised = guard_bytes(
        strided(rows, p.ld_blocks, p.blocks) * sizeof(struct ce_quantised_block), 0);
    p.packed = guard_bytes(ce_quantised_bytes(quantisation, outputs, inputs), rows % 2);
    p.w = (struct ce_quantised_matrix){quantisation, outputs, inputs, p.packed.data};
    return p;
}

static void product_destroy(struct product *p)
{
    guard_free(&p->x);
    guard_free(&p->y);
    guard_free(&p->quantised);
    guard_free(&p->packed);
}

/* Weights are written as `dtype` and quantised; the page behind is forbidden too. */
static void set_weights(struct product *p, enum ce_dtype dtype, const float *weights)
{
    const size_t n = p->outputs * p->inputs;
    struct guarded stored = guard_bytes(n * ce_dtype_size(dtype), n % 2);
    const struct ce_matrix w = {dtype, p->outputs, p->inputs, stored.data};

    for (size_t i = 0; i < n; i++) {
        (void)store_weight(stored.data, dtype, i, weights[i]);
    }
    assert_int_equal(
        ce_quantise_panels(
            p->packed.data, p->w.quantisation, &w, 0, ce_quantised_panels(p->outputs)),
        p->outputs);
    guard_free(&stored);
}

static void fill(struct draws *d, struct product *p, enum ce_dtype dtype)
{
    float *weights = calloc(p->outputs * p->inputs + 1, sizeof(float));

    assert_non_null(weights);
    draw_floats(d, weights, p->outputs * p->inputs);
    set_weights(p, dtype, weights);
    free(weights);
    for (size_t t = 0; t < p->rows; t++) {
        draw_floats(d, (float *)p->x.data + t * p->ldx, p->inputs);
    }
}

static void product_run(const struct product *p, const struct ce_kernels *kernels)
{
    float *y = p->y.data;

    for (size_t i = 0; i < strided(p->rows, p->ldy, p->outputs); i++) {
        y[i] = UNTOUCHED;
    }
    kernels->quantise_rows(
        p->quantised.data, p->ld_blocks, p->x.data, p->ldx, p->rows, p->inputs);
    kernels->matmul_quantised(y,
                              p->ldy,
                              p->quantised.data,
                              p->ld_blocks,
                              p->rows,
                              &p->w,
                              0,
                              ce_quantised_panels(p->outputs));
}

/* The tolerance of kernels.h: that of the sum, and that of x in 16 bits. */
static void check_output(const struct product *p, size_t t, size_t o, const float *w)
{
    const float *x = (const float *)p->x.data + t * p->ldx;
    double sum = 0;
    double magnitude = 0;
    double rounding_of_x = 0x1p-148 * (double)p->blocks;

    for (size_t first = 0; first < p->inputs; first += BLOCK) {
        double weights = 0;
        double largest = 0;

        for (size_t i = first; i < first + BLOCK && i < p->inputs; i++) {
            sum += (double)x[i] * (double)w[i];
            magnitude += fabs((double)x[i] * (double)w[i]);
            weights += fabs((double)w[i]);
            largest = fmax(largest, fabs((double)x[i]));
        }
        rounding_of_x += weights * fmax(largest * 0x1.02p-16, 0x1.02p-127);
    }
    assert_near((double)((const float *)p->y.data)[t * p->ldy + o],
                sum,
                ROUNDING * (double)(p->blocks + 4) * magnitude + rounding_of_x);
}

static void check_values(const struct product *p)
{
    float *weights = calloc(p->inputs + 1, sizeof(float));

    assert_non_null(weights);
    for (size_t o = 0; o < p->outputs; o++) {
        ce_dequantise_output(weights, &p->w, o);
        for (size_t t = 0; t < p->rows; t++) {
            check_output(p, t, o, weights);
        }
    }
    free(weights);
    for (size_t t = 0; t + 1 < p->rows; t++) {
        for (size_t o = p->outputs; o < p->ldy; o++) {
            assert_true(
                same_value(((const float *)p->y.data)[t * p->ldy + o], UNTOUCHED));
        }
    }
}

/* Right, and by the reference the same bits. */
static void check_product(const struct product *p, const struct ce_kernels *kernels)
{
    const size_t n = strided(p->rows, p->ldy, p->outputs);
    float *y = calloc(n + 1, sizeof(float));

    assert_non_null(y);
    product_run(p, kernels);
    check_values(p);
    memcpy(y, p->y.data, n * sizeof(float));
    product_run(p, ce_kernels_get(CE_ISA_REF));
    assert_true(same_bits(y, p->y.data, n));
    free(y);
}

static void check_sizes(const struct ce_kernels *kernels)
{
    static const size_t inputs[] = {0, 1, 2, 3, 8, 31, 32, 33, 63, 64, 65, 127, 300};
    static const size_t rows[] = {0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 97};
    static const size_t outputs[] = {0, 1, 7, 8, 9, 15, 16, 17, 33};
    struct draws d = {.key = 21};

    for (size_t i = 0; i < sizeof(inputs) / sizeof(*inputs); i++) {
        for (size_t r = 0; r < sizeof(rows) / sizeof(*rows); r++) {
            for (size_t o = 0; o < sizeof(outputs) / sizeof(*outputs); o++) {
                struct product p = product_create(
                    (i + r + o) % 2, rows[r], inputs[i], outputs[(o + r) % 9]);

                fill(&d, &p, dtypes[(i + o) % 3]);
                check_product(&p, kernels);
                product_destroy(&p);
            }
        }
    }
}

static void products_are_right_for_all_sizes(void **state)
{
    (void)state;
    with_every_set(check_sizes);
}

static void check_long(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 22};

    for (enum ce_quantisation q = CE_QUANTISATION_Q8; q <= CE_QUANTISATION_Q4; q++) {
        struct product p = product_create(q, 8, 8195, 20);

        fill(&d, &p, CE_DTYPE_BF16);
        check_product(&p, kernels);
        product_destroy(&p);
    }
}

static void products_are_right_for_long_rows(void **state)
{
    (void)state;
    with_every_set(check_long);
}

/* Constant rows and weights of `inputs` inputs, in the widest type; the first weight
 * of every output has the other sign where `mixed`. */
static struct product constant_product(
    enum ce_quantisation q, float x, float weight, size_t inputs, bool mixed)
{
    enum { ROWS = 7, OUTPUTS = 19 };
    struct product p = product_create(q, ROWS, inputs, OUTPUTS);
    float *weights = calloc(OUTPUTS * inputs, sizeof(float));

    assert_non_null(weights);
    for (size_t i = 0; i < OUTPUTS * inputs; i++) {
        weights[i] = mixed && i % inputs == 0 ? -weight : weight;
    }
    set_weights(&p, CE_DTYPE_F32, weights);
    free(weights);
    for (size_t i = 0; i < strided(ROWS, p.ldx, inputs); i++) {
        ((float *)p.x.data)[i] = x;
    }
    return p;
}

static void check_extremes(const struct ce_kernels *kernels)
{
    static const float weights[] = {
        0, 0x1p-149F, 0x1p-130F, 1e-38F, 1e-30F, 1, 1e4F, 0x1p+100F};
    static const float x[] = {0, 0x1p-149F, 0x1p-120F, 1e-30F, 1, 1e6F};

    for (size_t i = 0; i < sizeof(weights) / sizeof(*weights); i++) {
        for (size_t j = 0; j < sizeof(x) / sizeof(*x); j++) {
            for (size_t k = 0; k < 8; k++) {
                const float sign = k / 2 % 2 == 0 ? 1 : -1;
                struct product p =
                    constant_product(k % 2, x[j], sign * weights[i], 70, k / 4 == 1);

                check_product(&p, kernels);
                product_destroy(&p);
            }
        }
    }
}

/* Subnormal, huge and zero values, and sums of a block as large as they can be. */
static void extreme_values_are_right(void **state)
{
    (void)state;
    with_every_set(check_extremes);
}

static void check_overflow(const struct ce_kernels *kernels)
{
    struct product p = constant_product(CE_QUANTISATION_Q8, FLT_MAX, -2, 33, false);

    product_run(&p, kernels);
    for (size_t o = 0; o < p.outputs; o++) {
        assert_true(((const float *)p.y.data)[o] < -FLT_MAX);
    }
    product_destroy(&p);
}

static void too_large_results_are_infinite(void **state)
{
    (void)state;
    with_every_set(check_overflow);
}

static void check_not_finite(const struct ce_kernels *kernels)
{
    static const float specials[] = {NAN, INFINITY, -INFINITY};
    struct draws d = {.key = 23};

    for (size_t i = 0; i < 60; i++) {
        struct product p = product_create(i % 2, 9, draw_size(&d, 1, 100), 20);
        const size_t row = draw_size(&d, 0, 8);
        const size_t at = row * p.ldx + draw_size(&d, 0, p.inputs - 1);

        fill(&d, &p, CE_DTYPE_F32);
        ((float *)p.x.data)[at] = specials[i % 3];
        product_run(&p, kernels);
        for (size_t t = 0; t < p.rows; t++) {
            for (size_t o = 0; o < p.outputs; o++) {
                const float y = ((const float *)p.y.data)[t * p.ldy + o];

                assert_int_equal(isnan(y) != 0, t == row);
            }
        }
        product_destroy(&p);
    }
}

static void rows_that_are_not_finite_give_nan(void **state)
{
    (void)state;
    with_every_set(check_not_finite);
}

/* y of panels `first` .. of some rows, into their place. */
static void compute_part(const struct product *p,
                         const struct ce_kernels *kernels,
                         size_t row,
                         size_t rows,
                         size_t first,
                         size_t count)
{
    const struct ce_quantised_block *x = p->quantised.data;

    kernels->matmul_quantised((float *)p->y.data + row * p->ldy + first * PANEL,
                              p->ldy,
                              x + row * p->ld_blocks,
                              p->ld_blocks,
                              rows,
                              &p->w,
                              first,
                              count);
}

static void compute_in_cuts(struct draws *d,
                            const struct product *p,
                            const struct ce_kernels *kernels,
                            size_t most_rows)
{
    const size_t panels = ce_quantised_panels(p->outputs);
    size_t rows;
    size_t count;

    memset(p->y.data, 0, strided(p->rows, p->ldy, p->outputs) * sizeof(float));
    for (size_t t = 0; t < p->rows; t += rows) {
        const size_t left = p->rows - t;

        rows = draw_size(d, 1, left < most_rows ? left : most_rows);
        for (size_t panel = 0; panel < panels; panel += count) {
            count = draw_size(d, 1, panels - panel);
            compute_part(p, kernels, t, rows, panel, count);
        }
    }
}

static void check_cuts(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 24};

    for (size_t i = 0; i < 24; i++) {
        const size_t rows = draw_size(&d, 1, i % 3 == 0 ? 300 : 24);
        const size_t inputs = draw_size(&d, 1, 150);
        struct product p = product_create(i % 2, rows, inputs, draw_size(&d, 1, 70));
        float *whole = calloc(rows * p.ldy, sizeof(float));

        assert_non_null(whole);
        fill(&d, &p, dtypes[i % 3]);
        product_run(&p, kernels);
        for (size_t t = 0; t < rows; t++) {
            memcpy(whole + t * p.ldy,
                   (const float *)p.y.data + t * p.ldy,
                   p.outputs * sizeof(float));
        }
        for (size_t cut = 0; cut < 4; cut++) {
            compute_in_cuts(&d, &p, kernels, cut == 0 ? 1 : rows);
            for (size_t t = 0; t < rows; t++) {
                assert_true(same_bits(
                    whole + t * p.ldy, (const float *)p.y.data + t * p.ldy, p.outputs));
            }
        }
        free(whole);
        product_destroy(&p);
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
        cmocka_unit_test(products_are_right_for_all_sizes),
        cmocka_unit_test(products_are_right_for_long_rows),
        cmocka_unit_test(extreme_values_are_right),
        cmocka_unit_test(too_large_results_are_infinite),
        cmocka_unit_test(rows_that_are_not_finite_give_nan),
        cmocka_unit_test(cuts_do_not_change_bits),
    };

    return cmocka_run_group_tests_name("kernels.quantised", tests, NULL, NULL);
}
