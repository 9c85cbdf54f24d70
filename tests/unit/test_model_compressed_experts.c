/* Files of compressed experts: where values go, what is refused and how it is named. */

#include "model/compressed_experts.h"
#include "temporary.h"

#include <math.h>
#include <string.h>

enum { LAYERS = 2, EXPERTS = 2, D = 6, F = 4, MOST_TENSORS = 32 };

static const struct ce_config config = {.hidden_size = D,
                                        .intermediate_size = F,
                                        .layers = LAYERS,
                                        .experts = EXPERTS,
                                        .top_k = 3};

/* A file that is changed before it is written. */
struct draft {
    struct ce_safetensors_entry entry[MOST_TENSORS];
    char name[MOST_TENSORS][64];
    float value[MOST_TENSORS][D * D];
    size_t count;
};

static struct draft draft; /* large */

static struct ce_safetensors_entry *find_entry(const char *name)
{
    for (size_t i = 0; i < draft.count; i++) {
        if (strcmp(draft.name[i], name) == 0) {
            return &draft.entry[i];
        }
    }
    fail_msg("no tensor %s", name);
    return draft.entry;
}

static void set_shape(struct ce_safetensors_entry *entry,
                      unsigned dims,
                      size_t rows,
                      size_t columns)
{
    struct ce_tensor *tensor = &entry->tensor;

    tensor->dims = dims;
    tensor->shape[0] = rows;
    tensor->shape[1] = columns;
    tensor->bytes = rows * (dims == 2 ? columns : 1) * ce_dtype_size(tensor->dtype);
}

/* Values that tell tensor, row and column apart and are exact in BF16. */
static float value_of(size_t tensor, size_t i)
{
    return (float)((tensor * 7 + i * 3) % 101) - 50;
}

static void add_tensor(const char *name, unsigned dims, size_t rows, size_t columns)
{
    const size_t n = draft.count++;

    assert_true(n < MOST_TENSORS);
    (void)snprintf(draft.name[n], sizeof(draft.name[n]), "%s", name);
    for (size_t i = 0; i < (size_t)D * D; i++) {
        draft.value[n][i] = value_of(n, i);
    }
    draft.entry[n] = (struct ce_safetensors_entry){.name = draft.name[n]};
    draft.entry[n].tensor =
        (struct ce_tensor){.dtype = CE_DTYPE_F32, .data = draft.value[n]};
    set_shape(&draft.entry[n], dims, rows, columns);
}

static void
add_part(size_t layer, size_t expert, const char *part, size_t rows, size_t columns)
{
    char name[64];

    (void)snprintf(
        name, sizeof(name), "model.layers.%zu.mlp.affine.%zu.%s", layer, expert, part);
    add_tensor(name, columns == 0 ? 1 : 2, rows, columns);
}

/* Ranks 0 .. 3 and neurons 0 .. 2. */
static void start_affine(void)
{
    draft.count = 0;
    for (size_t i = 0; i < (size_t)LAYERS * EXPERTS; i++) {
        const size_t layer = i / EXPERTS;
        const size_t expert = i % EXPERTS;
        const size_t rank = i;
        const size_t neurons = i == 2 ? 0 : i % 3;

        add_part(layer, expert, "b", D, 0);
        if (rank > 0) {
            add_part(layer, expert, "u", D, rank);
            add_part(layer, expert, "v", rank, D);
        }
        if (neurons > 0) {
            add_part(layer, expert, "gate", neurons, D);
            add_part(layer, expert, "up", neurons, D);
            add_part(layer, expert, "down", D, neurons);
        }
    }
}

static void
open_draft(struct ce_safetensors *file, const char *path, struct ce_error *err)
{
    assert_int_equal(ce_safetensors_write(path, draft.entry, draft.count, err), CE_OK);
    assert_int_equal(ce_safetensors_open(file, path, err), CE_OK);
}

static float element(const struct ce_matrix *matrix, size_t row, size_t column)
{
    const uint16_t *bits = matrix->data;

    return ce_f32_from_bf16(bits[row * matrix->inputs + column]);
}

/* Of the draft. */
static float
stored(size_t layer, size_t expert, const char *part, size_t row, size_t column)
{
    const struct ce_safetensors_entry *entry = NULL;
    const float *values = NULL;
    char name[64];

    (void)snprintf(
        name, sizeof(name), "model.layers.%zu.mlp.affine.%zu.%s", layer, expert, part);
    entry = find_entry(name);
    values = entry->tensor.data;
    return values[entry->tensor.dims == 1 ? column
                                          : row * entry->tensor.shape[1] + column];
}

static void check_expert(const struct ce_compressed_experts *experts, size_t i)
{
    const struct ce_affine_expert *expert = &experts->affine[i];
    const size_t l = i / EXPERTS;
    const size_t e = i % EXPERTS;
    const size_t r = i;
    const size_t s = i == 2 ? 0 : i % 3;

    assert_int_equal(expert->rank, r);
    assert_int_equal(expert->neurons, s);
    assert_int_equal(expert->inputs.outputs, r + 2 * s);
    assert_int_equal(expert->outputs.outputs, 1 + r + s);
    for (size_t j = 0; j < D; j++) {
        assert_true(element(&expert->outputs, 0, j) == stored(l, e, "b", 0, j));
        for (size_t k = 0; k < r; k++) {
            assert_true(element(&expert->outputs, 1 + k, j) == stored(l, e, "u", j, k));
            assert_true(element(&expert->inputs, k, j) == stored(l, e, "v", k, j));
        }
        for (size_t k = 0; k < s; k++) {
            assert_true(element(&expert->outputs, 1 + r + k, j) ==
                        stored(l, e, "down", j, k));
            assert_true(element(&expert->inputs, r + k, j) ==
                        stored(l, e, "gate", k, j));
            assert_true(element(&expert->inputs, r + s + k, j) ==
                        stored(l, e, "up", k, j));
        }
    }
}

static void affine_values_are_in_their_places(void **state)
{
    struct ce_safetensors file;
    struct ce_compressed_experts plan;
    struct ce_compressed_experts experts;
    struct ce_error err = {.text = ""};

    start_affine();
    open_draft(&file, temporary_path(state, "a.safetensors"), &err);
    assert_int_equal(ce_compressed_experts_plan(&plan, &file, &config, &err), CE_OK);
    assert_int_equal(ce_compressed_experts_load(&experts, &file, &config, &err), CE_OK);
    ce_safetensors_close(&file);
    assert_int_equal(experts.kind, CE_COMPRESSED_AFFINE);
    assert_int_equal(plan.arena.used, experts.arena.used);
    assert_int_equal(plan.bytes, experts.bytes);
    /* Ranks 0, 1, 2, 3 and neurons 0, 1, 0, 0. */
    assert_int_equal(experts.parameters, D * (4 + 2 * 6 + 3 * 1));
    assert_int_equal(experts.bytes, 2 * experts.parameters);
    assert_int_equal(experts.most_inputs, 3);
    assert_int_equal(experts.n_ce, 0);
    for (size_t i = 0; i < (size_t)LAYERS * EXPERTS; i++) {
        check_expert(&experts, i);
    }
    ce_compressed_experts_destroy(&plan);
    ce_compressed_experts_destroy(&experts);
}

/* Other types become BF16, by rounding; large values of one that has them are not. */
static void affine_values_are_rounded(void **state)
{
    struct ce_safetensors file;
    struct ce_compressed_experts experts;
    struct ce_error err = {.text = ""};
    static uint16_t halves[D * 3];

    start_affine();
    draft.value[0][3] = 1.00390625F + 0x1p-10F; /* above the middle of two BF16 */
    for (size_t i = 0; i < (size_t)D * 3; i++) {
        halves[i] = ce_f16_from_f32((float)i + 0.5F);
    }
    find_entry("model.layers.1.mlp.affine.1.v")->tensor.dtype = CE_DTYPE_F16;
    find_entry("model.layers.1.mlp.affine.1.v")->tensor.data = halves;
    set_shape(find_entry("model.layers.1.mlp.affine.1.v"), 2, 3, D);
    open_draft(&file, temporary_path(state, "a.safetensors"), &err);
    assert_int_equal(ce_compressed_experts_load(&experts, &file, &config, &err), CE_OK);
    assert_true(element(&experts.affine[0].outputs, 0, 3) == 1.0078125F);
    for (size_t i = 0; i < (size_t)D * 3; i++) {
        assert_true(element(&experts.affine[3].inputs, i / D, i % D) ==
                    (float)i + 0.5F);
    }
    ce_safetensors_close(&file);
    ce_compressed_experts_destroy(&experts);
}

static void start_scaling(void)
{
    draft.count = 0;
    add_tensor("model.layers.1.mlp.ces", 1, EXPERTS * 3 * D, 0);
    draft.entry[0].tensor.dims = 3;
    draft.entry[0].tensor.shape[0] = EXPERTS;
    draft.entry[0].tensor.shape[1] = 3;
    draft.entry[0].tensor.shape[2] = D;
}

static void layers_use_them_until_detached(void **state)
{
    struct ce_safetensors file;
    struct ce_compressed_experts scaling;
    struct ce_compressed_experts affine;
    struct ce_layer_weights layer[LAYERS] = {{0}};
    struct ce_weights weights = {.layers = layer};
    const float own = 1;
    struct ce_error err = {.text = ""};

    start_scaling();
    open_draft(&file, temporary_path(state, "s.safetensors"), &err);
    assert_int_equal(ce_compressed_experts_load(&scaling, &file, &config, &err), CE_OK);
    ce_safetensors_close(&file);
    assert_int_equal(scaling.kind, CE_COMPRESSED_SCALING);
    assert_int_equal(scaling.missing_tables, 1);
    start_affine();
    open_draft(&file, temporary_path(state, "a.safetensors"), &err);
    assert_int_equal(ce_compressed_experts_load(&affine, &file, &config, &err), CE_OK);
    ce_safetensors_close(&file);

    layer[0].compressed = &own;
    ce_compressed_experts_detach(&scaling, &weights); /* is not attached */
    assert_ptr_equal(layer[0].compressed, &own);
    ce_compressed_experts_attach(&scaling, &weights);
    assert_null(layer[0].compressed);
    assert_true(layer[1].compressed[5] == value_of(0, 5));
    ce_compressed_experts_detach(&scaling, &weights);
    assert_ptr_equal(layer[0].compressed, &own);
    ce_compressed_experts_attach(&affine, &weights);
    assert_null(layer[0].compressed);
    assert_ptr_equal(layer[1].affine, affine.affine + EXPERTS);
    ce_compressed_experts_detach(&affine, &weights);
    assert_ptr_equal(layer[0].compressed, &own);
    assert_null(layer[1].affine);
    ce_compressed_experts_destroy(&scaling);
    ce_compressed_experts_destroy(&affine);
}

/* The draft is refused, when it is planned or, for values, loaded; the message names
 * the file and has these words. */
static void
assert_refused(void **state, bool planned, const char *words, const char *more)
{
    const char *path = temporary_path(state, "bad.safetensors");
    struct ce_safetensors file;
    struct ce_compressed_experts experts;
    struct ce_error err = {.text = ""};

    open_draft(&file, path, &err);
    assert_int_equal(ce_compressed_experts_plan(&experts, &file, &config, &err),
                     planned ? CE_OK : CE_ERR_FORMAT);
    ce_compressed_experts_destroy(&experts);
    err.text[0] = '\0';
    assert_int_equal(ce_compressed_experts_load(&experts, &file, &config, &err),
                     CE_ERR_FORMAT);
    ce_compressed_experts_destroy(&experts);
    ce_safetensors_close(&file);
    if (strstr(err.text, path) == NULL || strstr(err.text, words) == NULL ||
        strstr(err.text, more) == NULL) {
        fail_msg("\"%s\" does not say \"%s\" and \"%s\"", err.text, words, more);
    }
}

static void remove_tensor(const char *name)
{
    struct ce_safetensors_entry *entry = find_entry(name);
    const size_t at = (size_t)(entry - draft.entry);

    /* Names stay where they are: entries point to them. */
    memmove(entry, entry + 1, (draft.count - at - 1) * sizeof(*entry));
    draft.count--;
}

static void incomplete_experts_are_refused(void **state)
{
    static const struct {
        const char *removed;
        const char *words;
        const char *more;
    } cases[] = {
        {"model.layers.1.mlp.affine.0.b", "model.layers.1.mlp.affine.0.b", "missing"},
        {"model.layers.0.mlp.affine.0.b", "model.layers.0.mlp.affine.0.b", "missing"},
        {"model.layers.1.mlp.affine.1.u", "affine.1.u", "there is .v"},
        {"model.layers.1.mlp.affine.1.v", "affine.1.v", "there is .u"},
        {"model.layers.0.mlp.affine.1.up", "affine.1.up", "missing"},
        {"model.layers.0.mlp.affine.1.down", "affine.1.down", "missing"}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        start_affine();
        remove_tensor(cases[i].removed);
        assert_refused(state, false, cases[i].words, cases[i].more);
    }
}

static void other_shapes_are_refused(void **state)
{
    static const struct {
        const char *name;
        unsigned dims;
        size_t rows, columns;
        const char *more;
    } cases[] = {
        {"model.layers.0.mlp.affine.0.b", 1, D - 1, 0, "[5], expected"},
        {"model.layers.0.mlp.affine.0.b", 2, 1, D, "expected F32, BF16 or F16 [6]"},
        {"model.layers.1.mlp.affine.1.u", 2, 3, D, "expected F32, BF16 or F16 [6, 3]"},
        {"model.layers.1.mlp.affine.1.v", 2, 2, D, "expected F32, BF16 or F16 [6, 2]"},
        {"model.layers.1.mlp.affine.1.v", 2, 0, D, "has 0 rows, expected 1 to 6"},
        {"model.layers.1.mlp.affine.1.v", 1, D, 0, "has 0 rows, expected 1 to 6"},
        {"model.layers.1.mlp.affine.1.v", 2, 3, 5, "[3, 5], expected"},
        {"model.layers.0.mlp.affine.1.gate", 2, 5, D, "has 5 rows, expected 1 to 4"},
        {"model.layers.0.mlp.affine.1.down", 2, D, 2, "[6, 2], expected"}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        start_affine();
        set_shape(
            find_entry(cases[i].name), cases[i].dims, cases[i].rows, cases[i].columns);
        assert_refused(state, false, "affine.", cases[i].more);
    }
    start_affine();
    find_entry("model.layers.0.mlp.affine.0.b")->tensor.dtype = CE_DTYPE_I32;
    assert_refused(state, false, "affine.0.b", "is I32");
    start_scaling();
    draft.entry[0].tensor.shape[1] = 2;
    draft.entry[0].tensor.bytes = sizeof(float) * EXPERTS * 2 * D;
    assert_refused(state, false, "model.layers.1.mlp.ces", "[2, 2, 6]");
}

/* More than d directions say nothing that d do not. */
static void a_rank_above_the_width_is_refused(void **state)
{
    static float large[(D + 1) * D];

    start_affine();
    find_entry("model.layers.1.mlp.affine.1.u")->tensor.data = large;
    find_entry("model.layers.1.mlp.affine.1.v")->tensor.data = large;
    set_shape(find_entry("model.layers.1.mlp.affine.1.u"), 2, D, D + 1);
    set_shape(find_entry("model.layers.1.mlp.affine.1.v"), 2, D + 1, D);
    assert_refused(state, false, "affine.1.v", "has 7 rows, expected 1 to 6");
}

static void strangers_are_refused(void **state)
{
    static const char *const names[] = {"model.layers.2.mlp.affine.0.b",
                                        "model.layers.0.mlp.affine.2.b",
                                        "model.layers.0.mlp.affine.01.b",
                                        "model.layers.0.mlp.affine.0.c",
                                        "model.norm.weight"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        start_affine();
        add_tensor(names[i], 1, D, 0);
        assert_refused(state, false, names[i], "not part of");
    }
    start_scaling();
    add_tensor("model.layers.2.mlp.ces", 1, D, 0);
    assert_refused(state, false, "model.layers.2.mlp.ces", "not part of");
    start_affine();
    add_tensor("model.layers.0.mlp.ces", 1, D, 0);
    assert_refused(state, false, "model.layers.0.mlp.ces", "a file has one");
}

static void values_that_are_not_finite_are_refused(void **state)
{
    static const float values[] = {NAN, INFINITY, -INFINITY, 3.4e38F};

    for (size_t i = 0; i < 4; i++) { /* the last is too large for BF16 */
        start_affine();
        draft.value[draft.count - 1][4] = values[i];
        assert_refused(state, true, draft.name[draft.count - 1], "not finite");
    }
    start_scaling();
    draft.value[0][17] = NAN;
    assert_refused(state, true, draft.name[0], "not finite");
}

/* Plans the draft with one pair of metadata more. */
static enum ce_status plan_with(void **state,
                                const char *key,
                                const char *value,
                                struct ce_compressed_experts *plan,
                                struct ce_error *err)
{
    struct ce_safetensors file;
    enum ce_status status = CE_OK;

    open_draft(&file, temporary_path(state, "m.safetensors"), err);
    file.metadata =
        realloc(file.metadata, (file.metadata_count + 1) * sizeof(file.metadata[0]));
    assert_non_null(file.metadata);
    if (strcmp(key, "format") == 0) { /* the writer's own */
        free(file.metadata[0].value);
        file.metadata[0].value = strdup(value);
    } else {
        file.metadata[file.metadata_count].key = strdup(key);
        file.metadata[file.metadata_count].value = strdup(value);
        file.metadata_count++;
    }
    status = ce_compressed_experts_plan(plan, &file, &config, err);
    ce_safetensors_close(&file);
    return status;
}

static void metadata_are_read(void **state)
{
    static const struct {
        const char *key, *value, *words; /* NULL: accepted */
    } cases[] = {{"kind", "affine", NULL},
                 {"kind", "scaling", "metadata kind is \"scaling\", not affine"},
                 {"n_ce", "2", NULL},
                 {"n_ce", "3", "metadata n_ce is \"3\", not a number from 1 to 2"},
                 {"n_ce", "0", "n_ce"},
                 {"n_ce", "1x", "n_ce"},
                 {"n_ce", "99999999999999999999", "n_ce"},
                 {"model", "0123456789abcdef", NULL},
                 {"model", "0123456789ABCDEF", "metadata model"},
                 {"model", "123", "metadata model"},
                 {"format", "cemoe.compressed_experts", "metadata version is \"\""},
                 {"format", "another", NULL},
                 {"tokens", "1000", NULL}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ce_compressed_experts plan;
        struct ce_error err = {.text = ""};

        start_affine();
        assert_int_equal(plan_with(state, cases[i].key, cases[i].value, &plan, &err),
                         cases[i].words == NULL ? CE_OK : CE_ERR_FORMAT);
        if (cases[i].words != NULL && strstr(err.text, cases[i].words) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", err.text, cases[i].words);
        }
        assert_int_equal(plan.n_ce, i == 2 ? 2 : 0);
        ce_compressed_experts_destroy(&plan);
    }
}

static void a_file_of_another_model_is_refused(void **state)
{
    struct ce_compressed_experts plan;
    struct ce_error err = {.text = ""};

    start_affine();
    assert_int_equal(plan_with(state, "model", "00000000000000ff", &plan, &err), CE_OK);
    assert_int_equal(ce_compressed_experts_check_model(&plan, 255, "f", &err), CE_OK);
    assert_int_equal(ce_compressed_experts_check_model(&plan, 256, "f", &err),
                     CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "00000000000000ff"));
    assert_non_null(strstr(err.text, "0000000000000100"));
    plan.model_by_routers = true; /* a file of version 1 */
    assert_int_equal(ce_compressed_experts_check_model(&plan, 255, "f", &err),
                     CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "cemoe calibrate"));
    ce_compressed_experts_destroy(&plan);
    assert_int_equal(plan_with(state, "n_ce", "1", &plan, &err), CE_OK);
    assert_int_equal(ce_compressed_experts_check_model(&plan, 256, "f", &err), CE_OK);
    ce_compressed_experts_destroy(&plan);
}

#define TEST(name)                                                                     \
    cmocka_unit_test_setup_teardown(name, temporary_setup, temporary_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(affine_values_are_in_their_places),
        TEST(affine_values_are_rounded),
        TEST(layers_use_them_until_detached),
        TEST(incomplete_experts_are_refused),
        TEST(other_shapes_are_refused),
        TEST(a_rank_above_the_width_is_refused),
        TEST(strangers_are_refused),
        TEST(values_that_are_not_finite_are_refused),
        TEST(metadata_are_read),
        TEST(a_file_of_another_model_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
