/* ce_matmul_parallel gives every output to exactly one call */

#include "kernels/kernels.h"
#include "test.h"

#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_size_t calls;
static atomic_int most_threads; /* that worked in one team */

/* Counts instead of multiplying: x[t] is the number of the row. */
static void count_outputs(float *y,
                          size_t ldy,
                          const float *x,
                          size_t ldx,
                          size_t rows,
                          const struct ce_matrix *w,
                          size_t first,
                          size_t count)
{
    assert_true(first + count <= w->outputs);
    atomic_fetch_add(&calls, 1);
    if (omp_get_num_threads() > atomic_load(&most_threads)) {
        atomic_store(&most_threads, omp_get_num_threads());
    }
    for (size_t t = 0; t < rows; t++) {
        for (size_t o = 0; o < count; o++) {
            y[t * ldy + o] += x[t * ldx] * 1000 + (float)(first + o);
        }
    }
}

static const struct ce_kernels counting = {.name = "counting", .matmul = count_outputs};

static void share(size_t rows, size_t outputs, size_t inputs, int threads)
{
    const size_t ldy = outputs + 1;
    const size_t ldx = 2;
    const struct ce_matrix w = {CE_DTYPE_BF16, outputs, inputs, NULL};
    float *x = calloc(rows * ldx + 1, sizeof(float));
    float *y = calloc(rows * ldy + 1, sizeof(float));

    assert_non_null(x);
    assert_non_null(y);
    for (size_t t = 0; t < rows; t++) {
        x[t * ldx] = (float)t;
    }
    omp_set_num_threads(threads);
    ce_matmul_parallel(&counting, y, ldy, x, ldx, rows, &w);
    for (size_t t = 0; t < rows; t++) {
        for (size_t o = 0; o < outputs; o++) {
            assert_true(y[t * ldy + o] == (float)(t * 1000 + o));
        }
        assert_true(y[t * ldy + outputs] == 0);
    }
    free(x);
    free(y);
}

static void every_output_is_computed_once(void **state)
{
    (void)state;
    static const size_t rows[] = {1, 2, 16, 17, 192, 193, 500};
    static const size_t outputs[] = {1, 15, 16, 17, 32, 33, 100};

    for (size_t r = 0; r < sizeof(rows) / sizeof(*rows); r++) {
        for (size_t o = 0; o < sizeof(outputs) / sizeof(*outputs); o++) {
            for (int threads = 1; threads <= 3; threads++) {
                share(rows[r], outputs[o], 4096, threads);
            }
        }
    }
}

static void nothing_to_do_is_no_call(void **state)
{
    (void)state;
    atomic_store(&calls, 0);
    share(0, 100, 4096, 2);
    share(500, 0, 4096, 2);
    share(0, 0, 0, 2);
    assert_int_equal(atomic_load(&calls), 0);
}

static void threads_work_only_where_it_pays(void **state)
{
    (void)state;
    atomic_store(&most_threads, 0);
    share(1, 64, 16, 2);
    share(20, 64, 16, 2);
    assert_int_equal(atomic_load(&most_threads), 1);
    share(1, 64, 4096, 2);
    assert_int_equal(atomic_load(&most_threads), 2);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_output_is_computed_once),
        cmocka_unit_test(nothing_to_do_is_no_call),
        cmocka_unit_test(threads_work_only_where_it_pays),
    };

    return cmocka_run_group_tests_name("kernels.parallel", tests, NULL, NULL);
}
