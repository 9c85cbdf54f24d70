/* Fits to records and files and back, and what damaged ones do; memory that fits. */

#include "calibrate/needs.h"
#include "calibrate/outcome.h"
#include "calibrate/parts.h"
#include "temporary.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HIDDEN = 5, MOST_RANK = 3, EXPERTS = 2, LAYERS = 2 };

static const struct ce_record_shape shape = {HIDDEN, MOST_RANK, 0};

struct made {
    struct ce_fit fit;
    float u[MOST_RANK * HIDDEN];
    float v[MOST_RANK * HIDDEN];
    float mean_x[HIDDEN];
    float mean_y[HIDDEN];
    double error[MOST_RANK + 1];
    double heldout_error[MOST_RANK + 1];
};

/* A fit whose numbers all differ; its errors fall by half with every rank. */
static void make_fit(struct made *made, size_t rank, double scale)
{
    *made =
        (struct made){.fit = {.hidden = HIDDEN,
                              .most_rank = MOST_RANK,
                              .status = rank < MOST_RANK ? CE_FIT_SHRUNK : CE_FIT_FULL,
                              .rank = rank,
                              .ridge = 0.25,
                              .rows = 1000,
                              .weight = 7.0,
                              .effective_rows = 900.0,
                              .total = 4.0 * scale,
                              .heldout_rows = 500,
                              .heldout_weight = 3.5,
                              .heldout_effective_rows = 450.0,
                              .heldout_total = 2.0 * scale}};
    for (size_t i = 0; i < MOST_RANK * HIDDEN; i++) {
        made->u[i] = (float)i + 0.5F;
        made->v[i] = (float)i - 0.5F;
    }
    for (size_t i = 0; i < HIDDEN; i++) {
        made->mean_x[i] = (float)i;
        made->mean_y[i] = (float)i * 2.0F;
    }
    for (size_t r = 0; r <= MOST_RANK; r++) {
        made->error[r] = 2.0 * scale / (double)(1 << r);
        made->heldout_error[r] = scale / (double)(1 << r);
    }
    made->fit.u = made->u;
    made->fit.v = made->v;
    made->fit.mean_x = made->mean_x;
    made->fit.mean_y = made->mean_y;
    made->fit.error = made->error;
    made->fit.heldout_error = made->heldout_error;
}

static void records_keep_fits(void **state)
{
    (void)state;
    struct made made;
    struct ce_fit read;
    struct ce_error err = {.text = ""};
    void *record = malloc(ce_record_bytes(shape));

    assert_non_null(record);
    for (size_t rank = 0; rank <= MOST_RANK; rank++) {
        make_fit(&made, rank, 3.0);
        ce_record_write(record, shape, 7, 0, &made.fit);
        assert_int_equal(ce_record_read(&read, record, shape, 7, 0, &err), CE_OK);
        assert_int_equal(read.status, made.fit.status);
        assert_int_equal(read.rank, rank);
        assert_true(read.heldout_total == 6.0);
        assert_memory_equal(read.u, made.u, rank * HIDDEN * sizeof(float));
        assert_memory_equal(read.v, made.v, rank * HIDDEN * sizeof(float));
        assert_memory_equal(read.mean_y, made.mean_y, sizeof(made.mean_y));
        assert_memory_equal(
            read.heldout_error, made.heldout_error, (rank + 1) * sizeof(double));
    }
    assert_int_equal(ce_record_read(&read, record, shape, 6, 0, &err), CE_ERR_FORMAT);
    free(record);
}

static void records_keep_neurons(void **state)
{
    (void)state;
    const struct ce_record_shape kept = {HIDDEN, MOST_RANK, 7};
    const struct ce_record_fits fits = ce_record_fits(kept);
    static const size_t wanted[] = {0, 1, 3, 7};
    unsigned char *record = calloc(1, ce_record_bytes(kept));
    struct ce_record_neurons neurons;
    struct ce_error err = {.text = ""};

    assert_non_null(record);
    assert_int_equal(fits.count, 4);
    assert_memory_equal(fits.neurons, wanted, sizeof(wanted));
    assert_int_equal(ce_record_fits(shape).count, 1);
    assert_int_equal(ce_record_fits((struct ce_record_shape){1, 1, 1}).count, 2);
    assert_int_equal(ce_record_fits((struct ce_record_shape){1, 1, 2}).neurons[1], 1);
    neurons = ce_record_neurons(record, kept);
    for (size_t i = 0; i < (size_t)7 * HIDDEN; i++) {
        neurons.gate[i] = 1;
        neurons.up[i] = 2;
        neurons.down[i] = 3;
    }
    for (size_t i = 0; i < fits.count; i++) {
        struct made made;

        make_fit(&made, MOST_RANK, (double)(i + 1));
        ce_record_write(record, kept, 4, i, &made.fit);
    }
    for (size_t i = 0; i < fits.count; i++) {
        struct ce_fit read;

        assert_int_equal(ce_record_read(&read, record, kept, 4, i, &err), CE_OK);
        assert_true(read.total == 4.0 * (double)(i + 1));
    }
    for (size_t i = 0; i < (size_t)7 * HIDDEN; i++) {
        assert_true(neurons.gate[i] == 1 && neurons.up[i] == 2 && neurons.down[i] == 3);
    }
    free(record);
}

/* Fits up to `rank` of each of a layer's experts, with errors by `scale`. */
static void write_layers(const struct ce_parts *parts,
                         const size_t rank[EXPERTS],
                         const double scale[LAYERS][EXPERTS])
{
    const size_t record = ce_record_bytes(shape);
    unsigned char *records = malloc(EXPERTS * record);
    const struct ce_part_facts facts = {.moe_out = {10.0, 5.0}};
    struct ce_error err = {.text = ""};

    assert_non_null(records);
    for (size_t layer = 0; layer < LAYERS; layer++) {
        for (size_t e = 0; e < EXPERTS; e++) {
            struct made made;

            make_fit(&made, rank[e], scale[layer][e]);
            ce_record_write(records + e * record, shape, e, 0, &made.fit);
        }
        assert_int_equal(ce_parts_write(parts, layer, &facts, records, &err), CE_OK);
    }
    free(records);
}

/* Expert 1 has but one rank; layer 1 has twice the errors. */
static void write_usual_layers(const struct ce_parts *parts)
{
    write_layers(parts,
                 (const size_t[EXPERTS]){MOST_RANK, 1},
                 (const double[LAYERS][EXPERTS]){{1, 1}, {2, 2}});
}

static struct ce_parts open_parts(void **state, const char *job)
{
    struct ce_parts parts = {.kernels = ce_kernels_get(CE_ISA_REF),
                             .layers = LAYERS,
                             .experts = EXPERTS,
                             .shape = shape};
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_parts_open(&parts, temporary_path(state, "parts"), job, &err),
                     CE_OK);
    return parts;
}

static void parts_are_whole_or_not_there(void **state)
{
    struct ce_parts parts = open_parts(state, "a=1\nb=2\n");
    const char *path = temporary_path(state, "parts/layer-1.part");
    struct ce_error err = {.text = ""};
    FILE *file = NULL;

    assert_false(ce_parts_has(&parts, 0));
    write_usual_layers(&parts);
    assert_true(ce_parts_has(&parts, 0));
    assert_true(ce_parts_has(&parts, 1));
    file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 200, SEEK_SET), 0);
    (void)fputc(0x5a, file);
    (void)fclose(file);
    assert_false(ce_parts_has(&parts, 1));
    ce_parts_close(&parts);
    parts = (struct ce_parts){.kernels = ce_kernels_get(CE_ISA_REF)};
    assert_int_equal(
        ce_parts_open(&parts, temporary_path(state, "parts"), "a=1\nb=3\n", &err),
        CE_ERR_ARG);
    assert_non_null(strstr(err.text, "\"b=2\" there, \"b=3\" here"));
    ce_parts_close(&parts);
    /* the layers of one job do not become those of another without its lines */
    assert_int_equal(unlink(temporary_path(state, "parts/job")), 0);
    parts = open_parts(state, "a=1\nb=3\n");
    assert_false(ce_parts_has(&parts, 0));
    ce_parts_close(&parts);
    assert_int_equal(unlink(temporary_path(state, "parts/job")), 0);
    parts = open_parts(state, "a=1\nb=2\n");
    assert_true(ce_parts_has(&parts, 0));
    ce_parts_remove(&parts);
    assert_int_not_equal(access(temporary_path(state, "parts"), F_OK), 0);
    ce_parts_close(&parts);
}

/* Sums of a layer, and ranks that fit. */
static void outcomes_add_up(void **state)
{
    struct ce_parts parts = open_parts(state, "a=1\n");
    struct ce_calibrate_outcome outcome;
    struct ce_error err = {.text = ""};
    const uint64_t constants = (uint64_t)LAYERS * EXPERTS * 2 * HIDDEN;

    write_usual_layers(&parts);
    assert_int_equal(ce_calibrate_outcome_read(&outcome, &parts, &err), CE_OK);
    assert_true(outcome.layer[1].moe_out[CE_TEXT_HELDOUT] == 5.0);
    assert_true(outcome.layer[1].dropped[CE_TEXT_HELDOUT] == 8.0);
    assert_int_equal(outcome.layer[0].statuses[CE_FIT_SHRUNK], 1);
    /* Rank 2 of the first and, for it has no more, rank 1 of the second expert. */
    assert_true(outcome.layer[0].error[CE_TEXT_HELDOUT][2] == 0.25 + 0.5);

    assert_int_equal(
        ce_calibrate_choose(&outcome, &(struct ce_calibrate_choice){.rank = 2}, &err),
        CE_OK);
    assert_int_equal(outcome.expert[0].chosen, 2);
    assert_int_equal(outcome.expert[1].chosen, 1);
    assert_true(outcome.layer[0].chosen[CE_TEXT_HELDOUT] == 0.75);
    assert_int_equal(outcome.bytes, constants + 2 * 3 * 4 * HIDDEN);

    /* Room for two ranks: layer 1 has twice the errors, but relative to the cost of
     * truncation all first ranks save as much, and the first experts get them. */
    assert_int_equal(ce_calibrate_choose(&outcome,
                                         &(struct ce_calibrate_choice){
                                             .budget = constants + 2 * 4 * HIDDEN},
                                         &err),
                     CE_OK);
    assert_int_equal(outcome.expert[0].chosen, 1);
    assert_int_equal(outcome.expert[1].chosen, 1);
    assert_int_equal(outcome.expert[2].chosen, 0);
    ce_calibrate_outcome_free(&outcome);
    ce_parts_remove(&parts);
    ce_parts_close(&parts);
}

/* Errors count by layer and by expert. A first rank saves half of an expert's error c,
 * relative to sqrt(c D), D what truncating its layer costs: c / D is 0.1 and 0.9 in
 * layer 0, 0.5 twice in layer 1, and every further rank saves half as much. The seventh
 * rank goes to the expert of 0.1. Were errors relative to the layer alone, it would
 * have none; to the expert alone, two; unweighted, none. */
static void budgets_weigh_layers_and_experts(void **state)
{
    struct ce_parts parts = open_parts(state, "a=1\n");
    struct ce_calibrate_outcome outcome;
    struct ce_error err = {.text = ""};
    const uint64_t constants = (uint64_t)LAYERS * EXPERTS * 2 * HIDDEN;
    const struct ce_calibrate_choice seven = {.budget = constants + 7 * 4 * HIDDEN};
    static const size_t wanted[] = {1, 2, 2, 2};

    write_layers(&parts,
                 (const size_t[EXPERTS]){MOST_RANK, MOST_RANK},
                 (const double[LAYERS][EXPERTS]){{1, 9}, {4, 4}});
    assert_int_equal(ce_calibrate_outcome_read(&outcome, &parts, &err), CE_OK);
    assert_int_equal(ce_calibrate_choose(&outcome, &seven, &err), CE_OK);
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        assert_int_equal(outcome.expert[i].chosen, wanted[i]);
    }
    ce_calibrate_outcome_free(&outcome);
    ce_parts_remove(&parts);
    ce_parts_close(&parts);
}

static void less_memory_takes_more_passes(void **state)
{
    (void)state;
    const struct ce_calibrate_sizes sizes = {.shape = {64, 8},
                                             .experts = 32,
                                             .own_experts = 10,
                                             .own_tokens = 1000,
                                             .all_tokens = 2000,
                                             .windows = 8,
                                             .threads = 4,
                                             .gathers = true};
    struct ce_calibrate_needs all;
    struct ce_error err = {.text = ""};
    size_t passes = 1;

    assert_int_equal(ce_calibrate_needs_find(&all, &sizes, SIZE_MAX, &err), CE_OK);
    assert_int_equal(all.passes, 1);
    assert_int_equal(all.slots, 10);
    assert_int_equal(all.solvers, 4);
    assert_int_equal(all.residual, 1000 * 64 * sizeof(float));
    for (size_t limit = all.total;; limit -= all.total / 50) {
        struct ce_calibrate_needs needs;

        err.text[0] = '\0';
        if (ce_calibrate_needs_find(&needs, &sizes, limit, &err) != CE_OK) {
            assert_non_null(strstr(err.text, "--tokens"));
            break;
        }
        assert_in_range(needs.total, 1, limit);
        assert_true(needs.slots * needs.passes >= 10);
        assert_true(needs.solvers >= 2);
        assert_true(needs.passes >= passes);
        passes = needs.passes;
    }
    assert_int_equal(passes, 10);

    struct ce_calibrate_sizes keeping = sizes;
    struct ce_calibrate_needs needs;

    keeping.intermediate = 40;
    keeping.shape.neurons = 4;
    assert_int_equal(ce_calibrate_needs_find(&needs, &keeping, SIZE_MAX, &err), CE_OK);
    /* The sums of activations and, for two sets, moments of four inputs more. */
    assert_true(needs.moments - all.moments >=
                10 * (2 * 40 * sizeof(double) + 2 * 4 * 2 * 64 * sizeof(float)));
    assert_true(needs.records > 3 * all.records && needs.solve > all.solve);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_keep_fits),
        cmocka_unit_test(records_keep_neurons),
        cmocka_unit_test_setup_teardown(
            parts_are_whole_or_not_there, temporary_setup, temporary_teardown),
        cmocka_unit_test_setup_teardown(
            outcomes_add_up, temporary_setup, temporary_teardown),
        cmocka_unit_test_setup_teardown(
            budgets_weigh_layers_and_experts, temporary_setup, temporary_teardown),
        cmocka_unit_test(less_memory_takes_more_passes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
