/* matmul of every set against sums in double, against OpenBLAS and at its edges */

#include "kernels/blas/sgemm.h"
#include "test_kernels.h"

#include <stdlib.h>

static const enum ce_dtype dtypes[] = {CE_DTYPE_F32, CE_DTYPE_BF16, CE_DTYPE_F16};

/* One product with room to get things wrong in: rows of x and y farther apart
 * than they are long, weights at odd addresses, forbidden pages behind. */
struct product {
    enum ce_dtype dtype;
    size_t rows, inputs, outputs, first, count;
    size_t ldx, ldy;
    struct guarded x, w, y;
    float *widened; /* the weights as stored */
};

#define UNTOUCHED 12345.0F

static struct product product_create(struct draws *d,
                                     enum ce_dtype dtype,
                                     size_t rows,
                                     size_t inputs,
                                     size_t outputs,
                                     size_t slack)
{
    struct product p = {.dtype = dtype, .rows = rows, .inputs = inputs};
    const size_t weights = outputs * inputs;

    p.outputs = outputs;
    p.count = outputs;
    p.ldx = inputs + 3;
    p.ldy = outputs + 2;
    p.x = guard_bytes(rows == 0 ? 0 : ((rows - 1) * p.ldx + inputs) * sizeof(float), 0);
    p.y =
        guard_bytes(rows == 0 ? 0 : ((rows - 1) * p.ldy + outputs) * sizeof(float), 0);
    p.w = guard_bytes(weights * ce_dtype_size(dtype), slack);
    p.widened = malloc((weights + 1) * sizeof(float));
    assert_non_null(p.widened);
    for (size_t t = 0; t < rows; t++) {
        draw_floats(d, (float *)p.x.data + t * p.ldx, inputs);
    }
    for (size_t i = 0; i < weights; i++) {
        p.widened[i] = store_weight(p.w.data, dtype, i, draw_between(d, -1, 1));
    }
    return p;
}

static void product_destroy(struct product *p)
{
    guard_free(&p->x);
    guard_free(&p->y);
    guard_free(&p->w);
    free(p->widened);
}

static void product_run(const struct product *p, const struct ce_kernels *kernels)
{
    const struct ce_matrix w = {p->dtype, p->outputs, p->inputs, p->w.data};
    float *y = p->y.data;
    const size_t last = p->rows == 0 ? 0 : (p->rows - 1) * p->ldy + p->outputs;

    for (size_t i = 0; i < last; i++) {
        y[i] = UNTOUCHED;
    }
    kernels->matmul(y, p->ldy, p->x.data, p->ldx, p->rows, &w, p->first, p->count);
}

static void check_output(const struct product *p, size_t t, size_t o)
{
    const float *x = (const float *)p->x.data + t * p->ldx;
    const float *w = p->widened + (p->first + o) * p->inputs;
    double sum = 0;
    double magnitude = 0;

    for (size_t i = 0; i < p->inputs; i++) {
        sum += (double)x[i] * (double)w[i];
        magnitude += fabs((double)x[i] * (double)w[i]);
    }

    const float actual = ((const float *)p->y.data)[t * p->ldy + o];
    const double relative = 4 * ROUNDING * sqrt((double)p->inputs);

    assert_near((double)actual, sum, relative * magnitude);
}

static void check_product(const struct product *p)
{
    for (size_t t = 0; t < p->rows; t++) {
        const float *row = (const float *)p->y.data + t * p->ldy;
        const size_t row_end = t + 1 < p->rows ? p->ldy : p->outputs;

        for (size_t o = 0; o < p->count; o++) {
            check_output(p, t, o);
        }
        for (size_t o = p->count; o < row_end; o++) {
            assert_true(same_value(row[o], UNTOUCHED));
        }
    }
}

static void check_sizes(const struct ce_kernels *kernels)
{
    static const size_t inputs[] = {
        0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 127, 255, 257, 300};
    static const size_t rows[] = {0, 1, 2, 3, 4, 5, 7, 33, 49};
    static const size_t outputs[] = {0, 1, 2, 3, 4, 5, 9};
    struct draws d = {.key = 1};

    for (size_t i = 0; i < sizeof(inputs) / sizeof(*inputs); i++) {
        for (size_t r = 0; r < sizeof(rows) / sizeof(*rows); r++) {
            for (size_t o = 0; o < sizeof(outputs) / sizeof(*outputs); o++) {
                const enum ce_dtype dtype = dtypes[(i + r + o) % 3];
                const size_t slack = (r + o) % 2;
                struct product p =
                    product_create(&d, dtype, rows[r], inputs[i], outputs[o], slack);

                product_run(&p, kernels);
                check_product(&p);
                product_destroy(&p);
            }
        }
    }
}

static void sums_are_right_for_all_sizes(void **state)
{
    (void)state;
    with_every_set(check_sizes);
}

static void check_long_sums(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 2};

    for (size_t k = 0; k < 3; k++) {
        struct product p = product_create(&d, dtypes[k], 4, 8195, 6, 1);

        product_run(&p, kernels);
        check_product(&p);
        product_destroy(&p);
    }
}

static void sums_are_right_for_long_rows(void **state)
{
    (void)state;
    with_every_set(check_long_sums);
}

static void check_window(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 3};

    for (size_t first = 0; first < 11; first++) {
        struct product p = product_create(&d, dtypes[first % 3], 5, 37, 11, 1);

        p.first = first;
        p.count = draw_size(&d, 0, 11 - first);
        product_run(&p, kernels);
        check_product(&p);
        product_destroy(&p);
    }
}

static void only_the_wanted_outputs_are_written(void **state)
{
    (void)state;
    with_every_set(check_window);
}

/* Small integers leave nothing to round, so every order gives the same. */
static void check_exact(const struct ce_kernels *kernels)
{
    enum { ROWS = 7, INPUTS = 100, OUTPUTS = 13, X = ROWS * INPUTS };
    enum { WEIGHTS = OUTPUTS * INPUTS, Y = ROWS * OUTPUTS };
    float x[X];
    float weights[WEIGHTS]; /* room for the widest type */
    float y[Y];
    struct draws d = {.key = 4};

    for (size_t i = 0; i < X; i++) {
        x[i] = (float)draw_size(&d, 0, 16) - 8;
    }
    for (size_t k = 0; k < 3; k++) {
        const struct ce_matrix w = {dtypes[k], OUTPUTS, INPUTS, weights};

        for (size_t i = 0; i < WEIGHTS; i++) {
            (void)store_weight(weights, dtypes[k], i, (float)(i * 7 % 33) - 16);
        }
        kernels->matmul(y, OUTPUTS, x, INPUTS, ROWS, &w, 0, OUTPUTS);
        for (size_t j = 0; j < Y; j++) {
            float sum = 0;

            for (size_t i = 0; i < INPUTS; i++) {
                const size_t weight = j % OUTPUTS * INPUTS + i;

                sum += x[j / OUTPUTS * INPUTS + i] * ((float)(weight * 7 % 33) - 16);
            }
            assert_near((double)y[j], (double)sum, 0);
        }
    }
}

static void integers_are_exact(void **state)
{
    (void)state;
    with_every_set(check_exact);
}

static void check_against_blas(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 5};

    for (size_t i = 0; i < 6; i++) {
        const size_t rows = draw_size(&d, 1, 80);
        const size_t outputs = draw_size(&d, 1, 60);
        const size_t inputs = draw_size(&d, 1, 300);
        struct product p = product_create(&d, dtypes[i % 3], rows, inputs, outputs, 1);
        float *x = malloc(rows * inputs * sizeof(float));
        float *y = malloc(rows * outputs * sizeof(float));

        assert_non_null(x);
        assert_non_null(y);
        for (size_t t = 0; t < rows; t++) {
            const float *row = (const float *)p.x.data + t * p.ldx;

            memcpy(x + t * inputs, row, inputs * sizeof(float));
        }
        ce_sgemm_blas(y, x, p.widened, rows, outputs, inputs);
        product_run(&p, kernels);
        for (size_t k = 0; k < rows * outputs; k++) {
            const size_t at = k / outputs * p.ldy + k % outputs;

            /* All |products| are below 1. */
            assert_near((double)((const float *)p.y.data)[at],
                        (double)y[k],
                        8 * ROUNDING * (double)inputs);
        }
        free(x);
        free(y);
        product_destroy(&p);
    }
}

static void agrees_with_blas(void **state)
{
    (void)state;
    with_every_set(check_against_blas);
}

/* The product of constant rows of 19 inputs, one of them replaced by a special. */
static float constant_product(const struct ce_kernels *kernels,
                              enum ce_dtype dtype,
                              float x_value,
                              float w_value,
                              float special,
                              size_t at)
{
    enum { INPUTS = 19 };
    float x[INPUTS];
    unsigned char weights[INPUTS * sizeof(float)];
    const struct ce_matrix w = {dtype, 1, INPUTS, weights};
    float y = 0;

    for (size_t i = 0; i < INPUTS; i++) {
        x[i] = x_value;
        (void)store_weight(weights, dtype, i, i == at ? special : w_value);
    }
    kernels->matmul(&y, 1, x, INPUTS, 1, &w, 0, 1);
    return y;
}

static void check_specials(const struct ce_kernels *kernels)
{
    for (size_t k = 0; k < 3; k++) {
        const enum ce_dtype t = dtypes[k];

        for (size_t at = 0; at < 19; at++) {
            assert_true(isnan(constant_product(kernels, t, 1, 1, NAN, at)));
            assert_true(isnan(constant_product(kernels, t, 0, 1, INFINITY, at)));
            assert_true(constant_product(kernels, t, 2, 1, INFINITY, at) > FLT_MAX);
            assert_true(constant_product(kernels, t, 2, 1, -INFINITY, at) < -FLT_MAX);
        }
        /* Subnormal weights count in full. */
        const float tiny = t == CE_DTYPE_F16 ? 0x1p-24F : 0x1p-133F;

        assert_near((double)constant_product(kernels, t, 0x1p+20F, tiny, tiny, 0),
                    19 * (double)tiny * 0x1p+20,
                    0);
    }
}

static void specials_and_subnormals_propagate(void **state)
{
    (void)state;
    with_every_set(check_specials);
}

static void check_extremes(const struct ce_kernels *kernels)
{
    for (size_t k = 0; k < 2; k++) { /* F16 has no such values */
        const float y = constant_product(kernels, dtypes[k], 1e30F, 1e-30F, 1e-30F, 0);
        const float over = constant_product(kernels, dtypes[k], 1e30F, 1e30F, 1, 0);

        assert_near((double)y, 19, 19 * 0x1p-8); /* 1e-30 is inexact in BF16 */
        assert_true(over > FLT_MAX);
    }
}

static void extremes_cancel_or_overflow(void **state)
{
    (void)state;
    with_every_set(check_extremes);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_right_for_all_sizes),
        cmocka_unit_test(sums_are_right_for_long_rows),
        cmocka_unit_test(only_the_wanted_outputs_are_written),
        cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(agrees_with_blas),
        cmocka_unit_test(specials_and_subnormals_propagate),
        cmocka_unit_test(extremes_cancel_or_overflow),
    };

    return cmocka_run_group_tests_name("kernels.matmul", tests, NULL, NULL);
}
