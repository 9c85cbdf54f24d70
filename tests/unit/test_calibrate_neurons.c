/* Neurons that vary most; an expert of a map and a few of them, from rows to the run
 * time. */

#include "base/random.h"
#include "base/tensor.h"
#include "calibrate/outcome.h"
#include "calibrate/solver.h"
#include "model/compressed_experts.h"
#include "moe/affine.h"
#include "temporary.h"
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    HIDDEN = 16,
    INTERMEDIATE = 9,
    EXPERTS = 2,
    RANK = 2,
    KEPT = 2, /* of each expert, by `special` */
    FITTED = 1200,
    HELDOUT = 300,
};

static const uint32_t special[EXPERTS][KEPT] = {{6, 1}, {0, 8}};

static uint16_t gate[EXPERTS][INTERMEDIATE][HIDDEN];
static uint16_t up[EXPERTS][INTERMEDIATE][HIDDEN];
static uint16_t down[EXPERTS][HIDDEN][INTERMEDIATE];
static struct ce_expert_weights weights[EXPERTS];

static double draw(uint64_t key, size_t at)
{
    return 2 * ce_random_unit(key, at, 0) - 1;
}

/* Columns of down are long for the special neurons, the first of them the longest. */
static double down_scale(size_t expert, size_t neuron)
{
    return neuron == special[expert][0]   ? 2.0
           : neuron == special[expert][1] ? 1.0
                                          : 0.01;
}

static void make_weights(void)
{
    for (size_t e = 0; e < EXPERTS; e++) {
        for (size_t n = 0; n < INTERMEDIATE; n++) {
            for (size_t j = 0; j < HIDDEN; j++) {
                const size_t at = (e * INTERMEDIATE + n) * HIDDEN + j;

                gate[e][n][j] = ce_bf16_from_f32((float)draw(1, at));
                up[e][n][j] = ce_bf16_from_f32((float)draw(2, at));
                down[e][j][n] =
                    ce_bf16_from_f32((float)(down_scale(e, n) * draw(3, at)));
            }
        }
        weights[e] = (struct ce_expert_weights){
            .gate = {CE_DTYPE_BF16, INTERMEDIATE, HIDDEN, gate[e]},
            .up = {CE_DTYPE_BF16, INTERMEDIATE, HIDDEN, up[e]},
            .down = {CE_DTYPE_BF16, HIDDEN, INTERMEDIATE, down[e]}};
    }
}

static int setup(void **state)
{
    make_weights();
    return temporary_setup(state);
}

static double dot(const uint16_t *row, const float *x)
{
    double sum = 0;

    for (size_t j = 0; j < HIDDEN; j++) {
        sum += (double)ce_f32_from_bf16(row[j]) * (double)x[j];
    }
    return sum;
}

/* Rows of an expert: y = what its special neurons do + a map of rank 2 + a constant. */
struct rows {
    float x[FITTED][HIDDEN];
    float h[FITTED][INTERMEDIATE];
    float y[FITTED][HIDDEN];
    float a[FITTED];
    struct ce_assignment assignment[FITTED];
};
static struct rows rows;

static void make_row(size_t expert, uint64_t key, size_t row)
{
    float *x = rows.x[row];

    for (size_t j = 0; j < HIDDEN; j++) {
        x[j] = (float)(0.2 + draw(key, row * HIDDEN + j));
    }
    for (size_t n = 0; n < INTERMEDIATE; n++) {
        const double gated = dot(gate[expert][n], x);

        rows.h[row][n] = (float)(gated / (1 + exp(-gated)) * dot(up[expert][n], x));
    }
    for (size_t j = 0; j < HIDDEN; j++) {
        double y = 0.1 * (double)j;

        for (size_t k = 0; k < KEPT; k++) {
            y += (double)ce_f32_from_bf16(down[expert][j][special[expert][k]]) *
                 (double)rows.h[row][special[expert][k]];
        }
        for (size_t r = 0; r < RANK; r++) {
            y += draw(20 + expert, j * RANK + r) * (double)(x[r] - x[r + 3]);
        }
        rows.y[row][j] = (float)y;
    }
    rows.a[row] = (float)(0.1 + 0.4 * ce_random_unit(key + 1, row, 0));
    rows.assignment[row] = (struct ce_assignment){
        .weight = rows.a[row], .expert = (uint16_t)expert, .position = 3};
}

static struct ce_expert_run make_rows(size_t expert, uint64_t key, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        make_row(expert, key, i);
    }
    return (struct ce_expert_run){.expert = expert,
                                  .rows = count,
                                  .x = &rows.x[0][0],
                                  .h = &rows.h[0][0],
                                  .y = &rows.y[0][0],
                                  .assignment = rows.assignment};
}

static void chosen_by_weighted_variance(void **state)
{
    (void)state;
    struct ce_neurons neurons = {.intermediate = 4, .most = 3, .own = 2};
    struct ce_arena arena;
    struct ce_error err;
    /* Columns of squared length 1, 4, 1 and 1. */
    static const float columns[2][4] = {{1, 2, 0, 1}, {0, 0, 1, 0}};
    static const float ones[4][2];
    const struct ce_expert_weights expert = {.gate = {CE_DTYPE_F32, 4, 2, ones},
                                             .up = {CE_DTYPE_F32, 4, 2, ones},
                                             .down = {CE_DTYPE_F32, 2, 4, columns}};

    ce_arena_measure(&arena);
    (void)ce_neurons_take(&neurons, &arena);
    assert_int_equal(ce_arena_create(&arena, arena.used, &err), CE_OK);
    assert_true(ce_neurons_take(&neurons, &arena));
    ce_neurons_clear(&neurons);
    /* Neuron 0 is large but constant; 3 varies by 2, 1 by 1.5 with a down twice as
     * long, 2 by 3 in a row whose weight hardly counts. */
    ce_neurons_add(&neurons, 1, (const float[]){9, 0, 0, 0}, 1);
    ce_neurons_add(&neurons, 1, (const float[]){9, 1.5F, 0, 2}, 1);
    ce_neurons_add(&neurons, 1, (const float[]){9, 0, 3, 0}, 0.1);
    ce_neurons_add(&neurons, 0, (const float[]){0, 0, 0, 50}, 1);
    ce_neurons_choose(&neurons, 1, &expert);
    assert_int_equal(neurons.chosen[3], 1);
    assert_int_equal(neurons.chosen[4], 3);
    assert_int_equal(neurons.chosen[5], 2);
    /* One row: nothing varies, so they come in their order. */
    ce_neurons_choose(&neurons, 0, &expert);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(neurons.chosen[i], i);
    }
    ce_arena_destroy(&arena);
}

static void weights_are_rounded(void **state)
{
    (void)state;
    static const float values[] = {1.0F, 1.00390625F + 0x1p-10F, -3.0F, 0x1p-9F};
    const struct ce_expert_weights expert = {.gate = {CE_DTYPE_F32, 2, 2, values},
                                             .up = {CE_DTYPE_F32, 2, 2, values},
                                             .down = {CE_DTYPE_F32, 2, 2, values}};
    const uint32_t chosen[] = {1, 0};
    float read[3][4];

    ce_neurons_read(read[0], read[1], read[2], &expert, chosen, 2);
    assert_true(read[0][0] == -3.0F && read[0][1] == 0x1p-9F);
    assert_true(read[1][2] == 1.0F && read[1][3] == 1.0078125F);
    assert_true(read[2][0] == 1.0078125F && read[2][1] == 0x1p-9F); /* a column */
    assert_true(read[2][2] == 1.0F && read[2][3] == -3.0F);
}

/* ---- rows to a file ---- */

static const struct ce_record_shape shape = {HIDDEN, (size_t)2 * RANK, KEPT};

static struct ce_harvest harvest = {
    .hidden = HIDDEN,
    .experts = EXPERTS,
    .first_auxiliary = 2,
    .slots = EXPERTS,
    .threads = 1,
    .own = EXPERTS,
    .neurons = {.intermediate = INTERMEDIATE, .most = KEPT, .own = EXPERTS},
};

static void harvest_rows(void)
{
    const size_t experts[EXPERTS] = {0, 1};
    const struct ce_expert_observer observer = ce_harvest_observer(&harvest);
    struct ce_error err = {.text = ""};

    ce_harvest_begin_layer(&harvest, experts, EXPERTS);
    ce_harvest_begin_group(&harvest, NULL, 0);
    harvest.sums_activations = true;
    for (size_t e = 0; e < EXPERTS; e++) {
        const struct ce_expert_run run = make_rows(e, 10 + 2 * e, FITTED);

        observer.see(observer.context, &run);
        ce_neurons_choose(&harvest.neurons, e, &weights[e]);
    }
    harvest.sums_activations = false;
    ce_harvest_begin_group(&harvest, experts, EXPERTS);
    for (int set = 0; set < CE_TEXT_SETS; set++) {
        harvest.set = (enum ce_text_set)set;
        for (size_t e = 0; e < EXPERTS; e++) {
            const struct ce_expert_run run =
                make_rows(e,
                          set == CE_TEXT_FIT ? 10 + 2 * e : 100 + 2 * e,
                          set == CE_TEXT_FIT ? FITTED : HELDOUT);

            observer.see(observer.context, &run);
        }
        assert_int_equal(ce_harvest_end_set(&harvest, 0, &err), CE_OK);
    }
}

static void fit_to_parts(const struct ce_parts *parts, struct ce_solver *solver)
{
    static const float layer_mean[HIDDEN];
    const struct ce_part_facts facts = {.moe_out = {1.0, 1.0}};
    const size_t record = ce_record_bytes(shape);
    unsigned char *records = calloc(EXPERTS, record);
    struct ce_error err = {.text = ""};

    assert_non_null(records);
    for (size_t e = 0; e < EXPERTS; e++) {
        assert_int_equal(ce_solver_fit(solver,
                                       &harvest,
                                       e,
                                       &weights[e],
                                       layer_mean,
                                       records + e * record,
                                       &err),
                         CE_OK);
    }
    assert_int_equal(ce_parts_write(parts, 0, &facts, records, &err), CE_OK);
    free(records);
}

/* Arena of harvest and solver. */
static void take_all(struct ce_arena *arena, struct ce_solver *solver)
{
    struct ce_error err = {.text = ""};

    ce_arena_measure(arena);
    (void)ce_harvest_take(&harvest, arena);
    (void)ce_solver_take(solver, shape, arena);
    assert_int_equal(ce_arena_create(arena, arena->used, &err), CE_OK);
    assert_true(ce_harvest_take(&harvest, arena));
    assert_true(ce_solver_take(solver, shape, arena));
}

/* sum a^2 |y - E(x)|^2 of the held-out rows, E as it is at run time. */
static double run_error(const struct ce_compressed_experts *loaded, size_t expert)
{
    static uint16_t chosen[HELDOUT];
    const struct ce_routing routing = {HELDOUT, 1, chosen, rows.a};
    struct ce_affine affine = {.kernels = ce_kernels_get(CE_ISA_REF),
                               .experts = EXPERTS,
                               .hidden = HIDDEN,
                               .auxiliary = 1,
                               .inputs = loaded->most_inputs,
                               .max_tokens = HELDOUT};
    struct ce_arena arena;
    struct ce_error err = {.text = ""};
    double sum = 0;

    (void)make_rows(expert, 100 + 2 * expert, HELDOUT);
    for (size_t i = 0; i < HELDOUT; i++) {
        chosen[i] = (uint16_t)expert;
    }
    ce_arena_measure(&arena);
    ce_affine_take(&affine, &arena);
    assert_int_equal(ce_arena_create(&arena, arena.used, &err), CE_OK);
    ce_affine_take(&affine, &arena);
    assert_int_equal(
        ce_affine_run(&affine, loaded->affine, 0, &routing, &rows.x[0][0], &err),
        CE_OK);
    for (size_t i = 0; i < (size_t)HELDOUT * HIDDEN; i++) {
        const double y = (double)rows.a[i / HIDDEN] * (double)(&rows.y[0][0])[i];
        const double left = y - (double)affine.z[i];

        sum += left * left;
    }
    ce_arena_destroy(&arena);
    return sum;
}

/* Writes the file of the chosen and loads it. */
static double chosen_error(void **state,
                           const struct ce_calibrate_outcome *outcome,
                           const struct ce_parts *parts)
{
    const struct ce_config config = {.layers = 1,
                                     .experts = EXPERTS,
                                     .hidden_size = HIDDEN,
                                     .intermediate_size = INTERMEDIATE,
                                     .top_k = 2};
    const struct ce_compressed_file_facts facts = {.n_ce = 1, .model = 1};
    const char *path = temporary_path(state, "out.safetensors");
    struct ce_compressed_experts loaded;
    struct ce_safetensors file;
    struct ce_error err = {.text = ""};
    double sum = 0;

    assert_int_equal(ce_calibrate_write(outcome, parts, path, &facts, &err), CE_OK);
    assert_int_equal(ce_safetensors_open(&file, path, &err), CE_OK);
    assert_int_equal(ce_compressed_experts_load(&loaded, &file, &config, &err), CE_OK);
    for (size_t e = 0; e < EXPERTS; e++) {
        assert_int_equal(loaded.affine[e].neurons, outcome->expert[e].neurons);
        assert_int_equal(loaded.affine[e].rank, outcome->expert[e].chosen);
        sum += run_error(&loaded, e);
    }
    ce_compressed_experts_destroy(&loaded);
    ce_safetensors_close(&file);
    return sum;
}

static void check_outcome(void **state,
                          struct ce_calibrate_outcome *outcome,
                          const struct ce_parts *parts)
{
    const struct ce_outcome_layer *layer = &outcome->layer[0];
    const double dropped = layer->dropped[CE_TEXT_HELDOUT];
    struct ce_error err = {.text = ""};

    /* Neither the most rank nor one neuron does it; both neurons and rank 2 do. */
    assert_true(layer->error[CE_TEXT_HELDOUT][shape.most_rank] > 0.05 * dropped);
    assert_true(layer->error[CE_TEXT_HELDOUT][2 * (shape.most_rank + 1) - 1] >
                0.01 * dropped);
    assert_int_equal(
        ce_calibrate_choose(outcome, &(struct ce_calibrate_choice){.rank = 2}, &err),
        CE_OK);
    assert_int_equal(outcome->expert[1].neurons, KEPT);
    assert_int_equal(outcome->bytes,
                     2 * (size_t)EXPERTS * HIDDEN * (1 + 2 * RANK + 3 * KEPT));
    /* The ridge leaves a little, rounding to BF16 a little more. */
    assert_true(layer->chosen[CE_TEXT_HELDOUT] < 1e-4 * dropped);
    assert_true(chosen_error(state, outcome, parts) < 2e-4 * dropped);

    /* The same bytes by budget: nothing better fits. With fewer, what is measured is
     * what the file does. */
    const uint64_t bytes = outcome->bytes;

    assert_int_equal(ce_calibrate_choose(
                         outcome, &(struct ce_calibrate_choice){.budget = bytes}, &err),
                     CE_OK);
    assert_int_equal(outcome->expert[0].neurons, KEPT);
    assert_int_equal(outcome->expert[1].chosen, RANK);
    assert_int_equal(
        ce_calibrate_choose(
            outcome, &(struct ce_calibrate_choice){.budget = bytes / 2}, &err),
        CE_OK);
    assert_in_range(outcome->bytes, 1, bytes / 2);
    const double measured = chosen_error(state, outcome, parts);

    assert_true(fabs(measured - layer->chosen[CE_TEXT_HELDOUT]) < 0.01 * measured);
    assert_true(measured < dropped);
}

static void neurons_and_map_are_recovered(void **state)
{
    struct ce_parts parts = {.kernels = ce_kernels_get(CE_ISA_REF),
                             .layers = 1,
                             .experts = EXPERTS,
                             .shape = shape};
    struct ce_calibrate_outcome outcome;
    struct ce_solver solver;
    struct ce_arena arena;
    struct ce_error err = {.text = ""};

    take_all(&arena, &solver);
    harvest_rows();
    for (size_t e = 0; e < EXPERTS; e++) {
        assert_memory_equal(
            harvest.neurons.chosen + e * KEPT, special[e], sizeof(special[e]));
    }
    assert_int_equal(
        ce_parts_open(&parts, temporary_path(state, "parts"), "a=1\n", &err), CE_OK);
    fit_to_parts(&parts, &solver);
    assert_int_equal(ce_calibrate_outcome_read(&outcome, &parts, &err), CE_OK);
    check_outcome(state, &outcome, &parts);
    ce_calibrate_outcome_free(&outcome);
    ce_parts_remove(&parts);
    ce_parts_close(&parts);
    ce_arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chosen_by_weighted_variance),
        cmocka_unit_test(weights_are_rounded),
        cmocka_unit_test_setup_teardown(
            neurons_and_map_are_recovered, setup, temporary_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
