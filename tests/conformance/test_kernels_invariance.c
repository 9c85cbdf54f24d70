/* The bits of an output do not depend on what else was in the call or on threads */

#include "test_kernels.h"

#include <omp.h>
#include <stdlib.h>

enum { MAX_ROWS = 300, MAX_OUTPUTS = 70, MAX_INPUTS = 150 };

struct case_data {
    float x[MAX_ROWS * (MAX_INPUTS + 5)];
    unsigned char weights[sizeof(float) * MAX_OUTPUTS * MAX_INPUTS + 1];
    float one_by_one[MAX_ROWS * MAX_OUTPUTS];
    float y[MAX_ROWS * (MAX_OUTPUTS + 3)];
};

static struct case_data *data; /* too large for a stack */

struct shape {
    size_t rows, ldx, ldy;
    struct ce_matrix w;
};

static struct shape draw_case(struct draws *d, size_t rows, size_t outputs)
{
    static const enum ce_dtype dtypes[] = {CE_DTYPE_F32, CE_DTYPE_BF16, CE_DTYPE_F16};
    const enum ce_dtype dtype = dtypes[draw_size(d, 0, 2)];
    const size_t inputs = draw_size(d, 1, MAX_INPUTS);
    unsigned char *weights = data->weights + draw_size(d, 0, 1);
    const struct shape s = {
        .rows = rows,
        .ldx = inputs + draw_size(d, 0, 5),
        .ldy = outputs + draw_size(d, 0, 3),
        .w = {dtype, outputs, inputs, weights},
    };

    draw_floats(d, data->x, rows * s.ldx);
    for (size_t i = 0; i < outputs * inputs; i++) {
        (void)store_weight(weights, dtype, i, draw_between(d, -1, 1));
    }
    return s;
}

static void compute_one_by_one(const struct ce_kernels *kernels, const struct shape *s)
{
    for (size_t t = 0; t < s->rows; t++) {
        for (size_t o = 0; o < s->w.outputs; o++) {
            float *y = data->one_by_one + t * s->w.outputs + o;

            kernels->matmul(y, 1, data->x + t * s->ldx, s->ldx, 1, &s->w, o, 1);
        }
    }
}

static void assert_as_one_by_one(const struct shape *s)
{
    const size_t outputs = s->w.outputs;

    for (size_t t = 0; t < s->rows; t++) {
        assert_true(
            same_bits(data->y + t * s->ldy, data->one_by_one + t * outputs, outputs));
    }
}

/* Computes everything in calls of random numbers of rows and outputs. */
static void compute_in_cuts(struct draws *d,
                            const struct ce_kernels *kernels,
                            const struct shape *s)
{
    size_t rows;
    size_t count;

    for (size_t t = 0; t < s->rows; t += rows) {
        rows = draw_size(d, 1, s->rows - t);
        for (size_t o = 0; o < s->w.outputs; o += count) {
            count = draw_size(d, 1, s->w.outputs - o);
            kernels->matmul(data->y + t * s->ldy + o,
                            s->ldy,
                            data->x + t * s->ldx,
                            s->ldx,
                            rows,
                            &s->w,
                            o,
                            count);
        }
    }
}

static void check_cuts(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 11};

    for (size_t i = 0; i < 20; i++) {
        const size_t rows = draw_size(&d, 1, i % 4 == 0 ? MAX_ROWS : 24);
        const struct shape s = draw_case(&d, rows, draw_size(&d, 1, MAX_OUTPUTS));

        compute_one_by_one(kernels, &s);
        kernels->matmul(data->y, s.ldy, data->x, s.ldx, s.rows, &s.w, 0, s.w.outputs);
        assert_as_one_by_one(&s);
        for (size_t cut = 0; cut < 3; cut++) {
            compute_in_cuts(&d, kernels, &s);
            assert_as_one_by_one(&s);
        }
    }
}

static void cuts_do_not_change_bits(void **state)
{
    (void)state;
    with_every_set(check_cuts);
}

/* What lies behind a row, here NaN, must not leak into its sums. */
static void check_surroundings(const struct ce_kernels *kernels)
{
    enum { INPUTS = 13, OUTPUTS = 5, WEIGHTS = INPUTS * OUTPUTS };
    float x[INPUTS + 8];
    float w[WEIGHTS + 8];
    float y[OUTPUTS];
    struct draws d = {.key = 12};
    const struct ce_matrix matrix = {CE_DTYPE_F32, OUTPUTS, INPUTS, w};

    draw_floats(&d, x, INPUTS);
    draw_floats(&d, w, WEIGHTS);
    for (size_t i = 0; i < 8; i++) {
        x[INPUTS + i] = NAN;
        w[WEIGHTS + i] = NAN;
    }
    kernels->matmul(y, OUTPUTS, x, INPUTS, 1, &matrix, 0, OUTPUTS);
    assert_true(kernels->all_finite(y, OUTPUTS));
}

static void surroundings_do_not_leak(void **state)
{
    (void)state;
    with_every_set(check_surroundings);
}

static void check_threads(const struct ce_kernels *kernels)
{
    static const size_t rows[] = {0, 1, 2, 15, 16, 17, 64, 191, 193, 300};
    static const size_t outputs[] = {0, 1, 15, 17, 33, 70};
    const int threads_before = omp_get_max_threads();
    struct draws d = {.key = 13};

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const struct shape s =
            draw_case(&d, rows[i], outputs[i % (sizeof(outputs) / sizeof(*outputs))]);

        compute_one_by_one(kernels, &s);
        for (int threads = 1; threads <= 3; threads++) {
            omp_set_num_threads(threads);
            memset(data->y, 0, sizeof(data->y));
            ce_matmul_parallel(kernels, data->y, s.ldy, data->x, s.ldx, s.rows, &s.w);
            assert_as_one_by_one(&s);
        }
    }
    omp_set_num_threads(threads_before);
}

static void threads_do_not_change_bits(void **state)
{
    (void)state;
    with_every_set(check_threads);
}

static int create_data(void **state)
{
    (void)state;
    data = malloc(sizeof(*data));
    return data == NULL ? -1 : 0;
}

static int destroy_data(void **state)
{
    (void)state;
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_do_not_change_bits),
        cmocka_unit_test(surroundings_do_not_leak),
        cmocka_unit_test(threads_do_not_change_bits),
    };

    return cmocka_run_group_tests_name(
        "kernels.invariance", tests, create_data, destroy_data);
}
