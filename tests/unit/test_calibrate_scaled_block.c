/* The block as a linear map against its matrix, in double precision, and its least
 * squares against elimination. */

#include "base/random.h"
#include "calibrate/conjugate.h"
#include "calibrate/scaled_block.h"
#include "elimination.h"
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Neurons and tokens are no multiples of what kernels and tiles like. */
enum {
    HIDDEN = 24,
    NEURONS = 41,
    EXPERTS = 6,
    TOP_K = 4,
    COMPRESSED = 2,
    MAINS = TOP_K - COMPRESSED,
    TOKENS = 300,
    UNKNOWNS = EXPERTS * NEURONS,
    OUTPUTS = TOKENS * HIDDEN,
};

struct scene {
    struct ce_transport *transport;
    struct ce_placement placement;
    struct ce_arena arena;
    struct ce_scaled_block block;
    float router[EXPERTS * HIDDEN];
    float gate[EXPERTS][NEURONS * HIDDEN];
    float up[EXPERTS][NEURONS * HIDDEN];
    float down[EXPERTS][HIDDEN * NEURONS];
    float tables[EXPERTS * 3 * NEURONS];
    struct ce_expert_weights expert[EXPERTS];
    struct ce_layer_weights layer;
    float x[OUTPUTS];
    float y[OUTPUTS];
    float other[OUTPUTS];
    float table[UNKNOWNS];
    uint32_t step;
    struct ce_error err;
};

static struct scene *scene;
static double (*matrix)[UNKNOWNS]; /* [OUTPUTS] A */

static float draw(uint64_t series, size_t i)
{
    return (float)(2 * ce_random_unit(series, i, 0) - 1);
}

static void fill(float *values, size_t count, uint64_t series, float scale)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = scale * draw(series, i);
    }
}

static struct ce_matrix matrix_of(const float *data, size_t outputs, size_t inputs)
{
    return (struct ce_matrix){CE_DTYPE_F32, outputs, inputs, data};
}

static void make_weights(void)
{
    fill(scene->router, EXPERTS * HIDDEN, 1, 0.5F);
    for (size_t e = 0; e < EXPERTS; e++) {
        fill(scene->gate[e], NEURONS * HIDDEN, 10 + e, 0.4F);
        fill(scene->up[e], NEURONS * HIDDEN, 20 + e, 0.4F);
        fill(scene->down[e], HIDDEN * NEURONS, 30 + e, 0.4F);
        scene->expert[e] =
            (struct ce_expert_weights){matrix_of(scene->gate[e], NEURONS, HIDDEN),
                                       matrix_of(scene->up[e], NEURONS, HIDDEN),
                                       matrix_of(scene->down[e], HIDDEN, NEURONS)};
    }
    scene->layer = (struct ce_layer_weights){
        .router = matrix_of(scene->router, EXPERTS, HIDDEN), .experts = scene->expert};
    fill(scene->x, OUTPUTS, 2, 1.0F);
    fill(scene->table, UNKNOWNS, 3, 1.0F);
    scene->block.table = scene->table;
}

static struct ce_moe settings(void)
{
    return (struct ce_moe){.kernels = ce_kernels_get(ce_isa_detect()),
                           .transport = scene->transport,
                           .placement = &scene->placement,
                           .hidden = HIDDEN,
                           .intermediate = NEURONS,
                           .experts = EXPERTS,
                           .top_k = TOP_K,
                           .mains = TOP_K,
                           .wire = ce_wire_for(CE_WIRE_F32, HIDDEN),
                           .max_tokens = TOKENS};
}

static enum ce_status run(enum ce_scaled_theta theta, float *y)
{
    const struct ce_scaled_step at = {&scene->layer, 0, ++scene->step, TOKENS};

    scene->block.theta = theta;
    return ce_scaled_block_run(&scene->block, &at, CE_OK, scene->x, y, &scene->err);
}

static void transpose(const float *q, double *product)
{
    const struct ce_scaled_step at = {&scene->layer, 0, ++scene->step, TOKENS};

    memset(scene->block.transposed, 0, UNKNOWNS * sizeof(struct ce_exact));
    assert_int_equal(ce_scaled_block_transpose(
                         &scene->block, &at, CE_OK, q, scene->other, &scene->err),
                     CE_OK);
    for (size_t i = 0; i < UNKNOWNS; i++) {
        product[i] = ce_exact_value(scene->block.transposed[i]);
    }
}

static double dot(const float *w, const float *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += (double)w[i] * (double)x[i];
    }
    return sum;
}

/* What main expert e with weight a gives token t for each neuron, in A. */
static void add_expert(size_t t, size_t e, double a, const double *share)
{
    const float *x = scene->x + t * HIDDEN;

    for (size_t q = 0; q < NEURONS; q++) {
        const double gate = dot(scene->gate[e] + q * HIDDEN, x, HIDDEN);
        const double up = dot(scene->up[e] + q * HIDDEN, x, HIDDEN);
        const double h = gate / (1 + exp(-gate)) * up;

        for (size_t o = 0; o < HIDDEN; o++) {
            const double value = a * h * (double)scene->down[e][o * NEURONS + q];

            for (size_t j = 0; j < EXPERTS; j++) {
                matrix[t * HIDDEN + o][j * NEURONS + q] += share[j] * value;
            }
        }
    }
}

/* A, from the routing of a run. */
static void make_matrix(void)
{
    const struct ce_routing *routing = &scene->block.moe.routing;

    for (size_t t = 0; t < TOKENS; t++) {
        const uint16_t *expert = routing->expert + t * TOP_K;
        const float *weight = routing->weight + t * TOP_K;
        double share[EXPERTS] = {0};
        double sum = 0;

        for (size_t j = MAINS; j < TOP_K; j++) {
            sum += (double)weight[j];
        }
        for (size_t j = MAINS; j < TOP_K; j++) {
            share[expert[j]] = (double)weight[j] / sum;
        }
        for (size_t i = 0; i < MAINS; i++) {
            add_expert(t, expert[i], (double)weight[i], share);
        }
    }
}

static int setup(void **state)
{
    struct ce_arena measure;

    (void)state;
    scene = calloc(1, sizeof(*scene));
    matrix = calloc(OUTPUTS, sizeof(*matrix));
    assert_non_null(scene);
    assert_non_null(matrix);
    assert_int_equal(ce_transport_create(&scene->transport, "self", 0, &scene->err),
                     CE_OK);
    assert_int_equal(
        ce_placement_contiguous(&scene->placement, 1, EXPERTS, 1, &scene->err), CE_OK);
    const struct ce_moe full = settings();

    ce_scaled_block_init(&scene->block, &full, COMPRESSED);
    ce_arena_measure(&measure);
    (void)ce_scaled_block_take(&scene->block, &measure);
    assert_int_equal(ce_arena_create(&scene->arena, measure.used, &scene->err), CE_OK);
    assert_true(ce_scaled_block_take(&scene->block, &scene->arena));
    make_weights();
    assert_int_equal(run(CE_SCALED_TABLE, scene->y), CE_OK);
    make_matrix();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ce_arena_destroy(&scene->arena);
    ce_placement_destroy(&scene->placement);
    ce_transport_destroy(scene->transport);
    free(matrix);
    free(scene);
    return 0;
}

static void assert_near(double value, double wanted, double scale)
{
    if (!(fabs(value - wanted) <= 1e-5 * scale)) {
        fail_msg("%g instead of %g", value, wanted);
    }
}

static void runs_as_its_matrix(void **state)
{
    (void)state;
    assert_int_equal(run(CE_SCALED_TABLE, scene->y), CE_OK);
    for (size_t i = 0; i < OUTPUTS; i++) {
        double wanted = 0;

        for (size_t j = 0; j < UNKNOWNS; j++) {
            wanted += matrix[i][j] * (double)scene->table[j];
        }
        assert_near(scene->y[i], wanted, 1.0);
    }
}

/* The block that other commands run, with theta1 = theta3 = 1. */
static void runs_as_the_compressed_block(void **state)
{
    struct ce_moe moe = settings();
    struct ce_layer_weights layer = scene->layer;
    struct ce_arena measure;
    struct ce_arena arena;

    (void)state;
    for (size_t e = 0; e < EXPERTS; e++) {
        for (size_t i = 0; i < 3 * NEURONS; i++) {
            const size_t q = i - NEURONS;

            scene->tables[e * 3 * NEURONS + i] =
                q < NEURONS ? scene->table[e * NEURONS + q] : 1.0F;
        }
    }
    layer.compressed = scene->tables;
    layer.compressed_width = NEURONS;
    moe.mains = MAINS;
    moe.auxiliary = COMPRESSED;
    ce_arena_measure(&measure);
    ce_moe_take(&moe, &measure);
    assert_int_equal(ce_arena_create(&arena, measure.used, &scene->err), CE_OK);
    ce_moe_take(&moe, &arena);
    assert_int_equal(ce_moe_run(&moe,
                                &layer,
                                0,
                                ++scene->step,
                                CE_OK,
                                scene->x,
                                scene->other,
                                TOKENS,
                                &scene->err),
                     CE_OK);
    assert_int_equal(run(CE_SCALED_TABLE, scene->y), CE_OK);
    for (size_t i = 0; i < OUTPUTS; i++) {
        assert_near(scene->y[i], scene->other[i], 1.0);
    }
    ce_arena_destroy(&arena);
}

static void ones_are_a_table_of_ones(void **state)
{
    float ones[UNKNOWNS];

    (void)state;
    for (size_t i = 0; i < UNKNOWNS; i++) {
        ones[i] = 1.0F;
    }
    scene->block.table = ones;
    assert_int_equal(run(CE_SCALED_TABLE, scene->y), CE_OK);
    scene->block.table = scene->table;
    assert_int_equal(run(CE_SCALED_ONES, scene->other), CE_OK);
    for (size_t i = 0; i < OUTPUTS; i++) {
        assert_near(scene->y[i], scene->other[i], 1.0);
    }
}

static void the_transpose_is_that_of_the_matrix(void **state)
{
    static float q[OUTPUTS];
    double product[UNKNOWNS];
    double left = 0;
    double right = 0;
    double size = 0;

    (void)state;
    fill(q, OUTPUTS, 4, 1.0F);
    assert_int_equal(run(CE_SCALED_TABLE, scene->y), CE_OK);
    transpose(q, product);
    for (size_t j = 0; j < UNKNOWNS; j++) {
        double wanted = 0;

        for (size_t i = 0; i < OUTPUTS; i++) {
            wanted += matrix[i][j] * (double)q[i];
        }
        assert_near(product[j], wanted, 10.0);
        right += product[j] * (double)scene->table[j];
        size += fabs(product[j] * (double)scene->table[j]);
    }
    for (size_t i = 0; i < OUTPUTS; i++) {
        left += (double)scene->y[i] * (double)q[i];
    }
    assert_near(left, right, size); /* <A p, q> = <p, A^T q> */
}

static void a_transpose_does_not_depend_on_threads(void **state)
{
    double alone[UNKNOWNS];
    double together[UNKNOWNS];

    (void)state;
    assert_int_equal(run(CE_SCALED_TABLE, scene->y), CE_OK);
    transpose(scene->y, together);
#pragma omp parallel num_threads(1)
    transpose(scene->y, alone); /* a nested region has one thread */
    assert_memory_equal(alone, together, sizeof(alone));
}

static void signs_estimate_the_trace(void **state)
{
    double trace = 0;
    double estimate = 0;

    (void)state;
    assert_int_equal(run(CE_SCALED_SIGNS, scene->y), CE_OK);
    for (size_t i = 0; i < OUTPUTS; i++) {
        estimate += (double)scene->y[i] * (double)scene->y[i];
        for (size_t j = 0; j < UNKNOWNS; j++) {
            trace += matrix[i][j] * matrix[i][j];
        }
    }
    assert_true(fabs(estimate / trace - 1) < 0.1);
}

static void a_transpose_needs_its_run(void **state)
{
    const struct ce_scaled_step at = {&scene->layer, 0, ++scene->step, TOKENS};

    (void)state;
    scene->block.kept_rows = 7;
    assert_int_equal(
        ce_scaled_block_transpose(
            &scene->block, &at, CE_OK, scene->x, scene->other, &scene->err),
        CE_ERR_COMM);
    assert_non_null(strstr(scene->err.text, "rows of a transposed product"));
}

static void what_is_too_large_is_refused(void **state)
{
    const struct ce_scaled_step at = {&scene->layer, 0, ++scene->step, TOKENS};
    static float q[OUTPUTS];

    (void)state;
    assert_int_equal(run(CE_SCALED_ONES, scene->y), CE_OK);
    fill(q, OUTPUTS, 4, 1e30F);
    assert_int_equal(ce_scaled_block_transpose(
                         &scene->block, &at, CE_OK, q, scene->other, &scene->err),
                     CE_ERR_NUMERIC);
}

/* ---- least squares ---- */

/* x of (A^T A + lambda) x = A^T r by elimination. */
static void eliminate(const float *r, double lambda, double *x)
{
    double(*m)[UNKNOWNS + 1] = calloc(UNKNOWNS, sizeof(*m));

    assert_non_null(m);
    for (size_t t = 0; t < OUTPUTS; t++) {
        for (size_t i = 0; i < UNKNOWNS; i++) {
            const double factor = matrix[t][i];

            for (size_t j = 0; factor != 0 && j < UNKNOWNS; j++) {
                m[i][j] += factor * matrix[t][j];
            }
            m[i][UNKNOWNS] += factor * (double)r[t];
        }
    }
    for (size_t i = 0; i < UNKNOWNS; i++) {
        m[i][i] += lambda;
    }
    eliminate_rows(&m[0][0], UNKNOWNS, x);
    free(m);
}

static void open_conjugate(struct ce_conjugate *conjugate, struct ce_arena *arena)
{
    struct ce_arena measure;

    *conjugate = (struct ce_conjugate){.n = UNKNOWNS};
    ce_arena_measure(&measure);
    (void)ce_conjugate_take(conjugate, &measure);
    assert_int_equal(ce_arena_create(arena, measure.used, &scene->err), CE_OK);
    assert_true(ce_conjugate_take(conjugate, arena));
}

static void steps_end_where_elimination_does(void **state)
{
    static float r[OUTPUTS];
    static float table[UNKNOWNS];
    const double lambda = 0.5;
    struct ce_conjugate conjugate;
    struct ce_arena arena;
    double product[UNKNOWNS];
    double wanted[UNKNOWNS];
    double difference = 0;
    double size = 0;

    (void)state;
    fill(r, OUTPUTS, 5, 1.0F);
    eliminate(r, lambda, wanted);
    open_conjugate(&conjugate, &arena);
    scene->block.table = table;
    assert_int_equal(run(CE_SCALED_ONES, scene->y), CE_OK);
    transpose(r, product);
    ce_conjugate_begin(&conjugate, product, lambda);
    while (conjugate.steps < 150) {
        for (size_t i = 0; i < UNKNOWNS; i++) {
            table[i] = (float)conjugate.direction[i];
        }
        assert_int_equal(run(CE_SCALED_TABLE, scene->y), CE_OK);
        transpose(scene->y, product);
        if (!ce_conjugate_step(&conjugate, product)) {
            break;
        }
    }
    scene->block.table = scene->table;
    for (size_t i = 0; i < UNKNOWNS; i++) {
        difference += (conjugate.x[i] - wanted[i]) * (conjugate.x[i] - wanted[i]);
        size += wanted[i] * wanted[i];
    }
    assert_true(sqrt(difference / size) < 1e-4);
    ce_arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_as_its_matrix),
        cmocka_unit_test(runs_as_the_compressed_block),
        cmocka_unit_test(ones_are_a_table_of_ones),
        cmocka_unit_test(the_transpose_is_that_of_the_matrix),
        cmocka_unit_test(a_transpose_does_not_depend_on_threads),
        cmocka_unit_test(signs_estimate_the_trace),
        cmocka_unit_test(a_transpose_needs_its_run),
        cmocka_unit_test(what_is_too_large_is_refused),
        cmocka_unit_test(steps_end_where_elimination_does),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
