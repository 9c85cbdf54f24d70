/* add_combined of every set against sums in double, in cuts, and at its edges */

#include "test_kernels.h"

#include <stdlib.h>

static const enum ce_dtype dtypes[] = {CE_DTYPE_F32, CE_DTYPE_BF16, CE_DTYPE_F16};

enum { MAX_SUMS = 12, MAX_ROWS = 40, MAX_COLUMNS = 140, LANDS = 2 * MAX_SUMS };

/* Sums that land in every second row of y or thereabouts, rows farther apart than they
 * are long, weights at odd addresses, forbidden pages behind all arrays. */
struct scene {
    enum ce_dtype dtype;
    size_t sums, rows, columns, ldy;
    struct ce_combination c;
    struct ce_matrix w;
    struct guarded factors, weights, y;
    uint32_t row[MAX_SUMS];
    float scale[MAX_SUMS];
    float widened[MAX_ROWS][MAX_COLUMNS];
    float before[LANDS * (MAX_COLUMNS + 3)];
};

static struct scene scene; /* too large for a stack */

static size_t y_values(void)
{
    return (LANDS - 1) * scene.ldy + scene.columns;
}

static void open_scene(
    struct draws *d, enum ce_dtype dtype, size_t sums, size_t rows, size_t columns)
{
    scene.dtype = dtype;
    scene.sums = sums;
    scene.rows = rows;
    scene.columns = columns;
    scene.ldy = columns + 3;
    scene.c = (struct ce_combination){
        .sums = sums, .row = scene.row, .scale = scene.scale, .ld = rows + 2};
    scene.factors = guard_bytes(
        sums == 0 ? 0 : ((sums - 1) * scene.c.ld + rows) * sizeof(float), 0);
    scene.weights =
        guard_bytes(rows * columns * ce_dtype_size(dtype), draw_size(d, 0, 1));
    scene.y = guard_bytes(y_values() * sizeof(float), 0);
    scene.c.factors = scene.factors.data;
    scene.w = (struct ce_matrix){dtype, rows, columns, scene.weights.data};
    for (size_t t = 0; t < sums; t++) {
        scene.row[t] = (uint32_t)(2 * t + draw_size(d, 0, 1));
        scene.scale[t] = draw_between(d, -1, 1);
        draw_floats(d, (float *)scene.factors.data + t * scene.c.ld, rows);
    }
    for (size_t i = 0; i < rows * columns; i++) {
        scene.widened[i / columns][i % columns] =
            store_weight(scene.weights.data, dtype, i, draw_between(d, -1, 1));
    }
    draw_floats(d, scene.before, y_values());
}

static void close_scene(void)
{
    guard_free(&scene.factors);
    guard_free(&scene.weights);
    guard_free(&scene.y);
}

static void reset_y(void)
{
    memcpy(scene.y.data, scene.before, y_values() * sizeof(float));
}

/* The sum that lands in this row of y, or SIZE_MAX. */
static size_t sum_of(size_t land)
{
    const size_t t = land / 2;

    return t < scene.sums && scene.row[t] == land ? t : SIZE_MAX;
}

static void check_value(size_t land, size_t j)
{
    const float actual = ((const float *)scene.y.data)[land * scene.ldy + j];
    const double old = (double)scene.before[land * scene.ldy + j];
    const size_t t = sum_of(land);
    double sum = 0;
    double magnitude = 0;

    if (t == SIZE_MAX) {
        assert_near((double)actual, old, 0);
        return;
    }
    for (size_t i = 0; i < scene.rows; i++) {
        const double product =
            (double)scene.c.factors[t * scene.c.ld + i] * (double)scene.widened[i][j];

        sum += product;
        magnitude += fabs(product);
    }
    assert_near((double)actual,
                old + (double)scene.scale[t] * sum,
                ROUNDING * (double)(scene.rows + 2) *
                    (fabs(old) + fabs((double)scene.scale[t]) * magnitude));
}

static void check_sizes(const struct ce_kernels *kernels)
{
    static const size_t sums[] = {0, 1, 2, 3, 4, 5, 6, 7, 12};
    static const size_t rows[] = {0, 1, 2, 3, 8, 17, 40};
    static const size_t columns[] = {0, 1, 7, 8, 9, 31, 32, 33, 64, 71, 129};
    struct draws d = {.key = 21};

    for (size_t s = 0; s < sizeof(sums) / sizeof(*sums); s++) {
        for (size_t r = 0; r < sizeof(rows) / sizeof(*rows); r++) {
            for (size_t c = 0; c < sizeof(columns) / sizeof(*columns); c++) {
                open_scene(&d, dtypes[(s + r + c) % 3], sums[s], rows[r], columns[c]);
                reset_y();
                kernels->add_combined(
                    scene.y.data, scene.ldy, &scene.c, &scene.w, 0, columns[c]);
                for (size_t i = 0; i < LANDS * columns[c]; i++) {
                    check_value(i / columns[c], i % columns[c]);
                }
                close_scene();
            }
        }
    }
}

static void sums_are_right_for_all_sizes(void **state)
{
    (void)state;
    with_every_set(check_sizes);
}

/* All in one call, then each value in a call of its own, then in random cuts. */
static void check_cuts(const struct ce_kernels *kernels)
{
    struct draws d = {.key = 22};
    static float whole[LANDS * (MAX_COLUMNS + 3)];

    for (size_t k = 0; k < 30; k++) {
        float *y = NULL;

        open_scene(&d,
                   dtypes[k % 3],
                   draw_size(&d, 1, MAX_SUMS),
                   draw_size(&d, 0, MAX_ROWS),
                   draw_size(&d, 1, MAX_COLUMNS));
        y = scene.y.data;
        reset_y();
        kernels->add_combined(y, scene.ldy, &scene.c, &scene.w, 0, scene.columns);
        memcpy(whole, y, y_values() * sizeof(float));
        reset_y();
        for (size_t t = 0, sums = 0; t < scene.sums; t += sums) {
            struct ce_combination some = scene.c;

            sums = k % 2 == 0 ? 1 : draw_size(&d, 1, scene.sums - t);
            some.sums = sums;
            some.row += t;
            some.scale += t;
            some.factors += t * some.ld;
            for (size_t j = 0, n = 0; j < scene.columns; j += n) {
                n = k % 2 == 0 ? 1 : draw_size(&d, 1, scene.columns - j);
                kernels->add_combined(y + j, scene.ldy, &some, &scene.w, j, n);
            }
        }
        assert_true(same_bits(y, whole, y_values()));
        close_scene();
    }
}

static void cuts_do_not_change_bits(void **state)
{
    (void)state;
    with_every_set(check_cuts);
}

/* Small integers leave nothing to round. */
static void check_exact(const struct ce_kernels *kernels)
{
    enum { ROWS = 19, COLUMNS = 45, WEIGHTS = ROWS * COLUMNS };
    const uint32_t row[] = {1, 0};
    const float scale[] = {2, -3};
    float factors[2][ROWS];
    float weights[WEIGHTS];
    float y[2][COLUMNS];
    struct draws d = {.key = 23};

    for (size_t k = 0; k < 3; k++) {
        const struct ce_matrix w = {dtypes[k], ROWS, COLUMNS, weights};
        const struct ce_combination c = {2, row, scale, factors[0], ROWS};

        for (size_t i = 0; i < WEIGHTS; i++) {
            (void)store_weight(weights, dtypes[k], i, (float)(i * 7 % 33) - 16);
        }
        for (size_t i = 0; i < (size_t)2 * ROWS; i++) {
            factors[i / ROWS][i % ROWS] = (float)draw_size(&d, 0, 16) - 8;
        }
        for (size_t j = 0; j < (size_t)2 * COLUMNS; j++) {
            y[j / COLUMNS][j % COLUMNS] = (float)j;
        }
        kernels->add_combined(y[0], COLUMNS, &c, &w, 0, COLUMNS);
        for (size_t i = 0; i < (size_t)2 * COLUMNS; i++) {
            const size_t t = i / COLUMNS;
            float sum = 0;

            for (size_t r = 0; r < ROWS; r++) {
                const size_t at = r * COLUMNS + i % COLUMNS;

                sum += factors[1 - t][r] * ((float)(at * 7 % 33) - 16);
            }
            assert_near(
                (double)y[t][i % COLUMNS], (double)i + (double)(scale[1 - t] * sum), 0);
        }
    }
}

static void integers_are_exact(void **state)
{
    (void)state;
    with_every_set(check_exact);
}

/* One factor or weight of sum 0 is replaced; sum 1 must not notice a factor. */
static void check_specials(const struct ce_kernels *kernels)
{
    enum { ROWS = 5, COLUMNS = 11 };
    const uint32_t row[] = {0, 1};
    const float scale[] = {1, 1};
    const float special[] = {NAN, INFINITY, -INFINITY};

    for (size_t k = 0; k < 3; k++) {
        float factors[2][ROWS] = {{1, 1, 1, 1, 1}, {1, 1, 1, 1, 1}};
        float weights[ROWS * COLUMNS];
        float y[2][COLUMNS] = {{0}};
        const struct ce_matrix w = {CE_DTYPE_F32, ROWS, COLUMNS, weights};
        const struct ce_combination c = {2, row, scale, factors[0], ROWS};

        for (size_t i = 0; i < (size_t)ROWS * COLUMNS; i++) {
            weights[i] = 1;
        }
        factors[0][3] = special[k];
        kernels->add_combined(y[0], COLUMNS, &c, &w, 0, COLUMNS);
        for (size_t j = 0; j < COLUMNS; j++) {
            assert_true(same_value(y[0][j], special[k]));
            assert_near((double)y[1][j], ROWS, 0);
        }
    }
}

static void specials_propagate_in_their_sum_only(void **state)
{
    (void)state;
    with_every_set(check_specials);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_right_for_all_sizes),
        cmocka_unit_test(cuts_do_not_change_bits),
        cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(specials_propagate_in_their_sum_only),
    };

    return cmocka_run_group_tests_name("kernels.combined", tests, NULL, NULL);
}
