#include "base/tensor.h"
#include "calibrate/compressed_file.h"
#include "fit_fixture.h"
#include "model/safetensors.h"
#include "temporary.h"

enum {
    HIDDEN = 6,
    RANK = 3,
};

/* A fit of any numbers; `rank` of it are valid. */
static void fit_any(struct fit_home *home, uint64_t key)
{
    fit_create(home, HIDDEN, RANK);
    home->fit.rank = RANK;
    for (size_t i = 0; i < (size_t)RANK * HIDDEN; i++) {
        home->fit.u[i] = (float)sample_random(key, i);
        home->fit.v[i] = (float)sample_random(key + 1, i);
    }
    for (size_t j = 0; j < HIDDEN; j++) {
        home->fit.mean_x[j] = (float)(5 * sample_random(key + 2, j));
        home->fit.mean_y[j] = (float)sample_random(key + 3, j);
    }
}

static void add(struct ce_compressed_file *file,
                size_t layer,
                size_t expert,
                size_t rank,
                uint64_t key)
{
    struct fit_home home;
    struct ce_error err;

    fit_any(&home, key);
    assert_int_equal(
        ce_compressed_file_add(file, layer, expert, &home.fit, rank, NULL, &err),
        CE_OK);
    fit_destroy(&home);
}

static const struct ce_safetensors_text provenance[] = {{"tokens", "12"},
                                                        {"ridge", "0.1"}};
static const struct ce_compressed_file_facts facts = {
    .n_ce = 2,
    .model = 0xabcdef0123,
    .provenance = provenance,
    .provenance_count = 2,
};

static void assert_shape(const struct ce_safetensors *file,
                         const char *name,
                         size_t rows,
                         size_t columns)
{
    const struct ce_tensor *tensor = ce_safetensors_find(file, name);

    assert_non_null(tensor);
    assert_int_equal(tensor->dtype, CE_DTYPE_BF16);
    assert_int_equal(tensor->dims, columns == 0 ? 1 : 2);
    assert_int_equal(tensor->shape[0], rows);
    if (columns > 0) {
        assert_int_equal(tensor->shape[1], columns);
    }
}

static float value_at(const struct ce_safetensors *file, const char *name, size_t at)
{
    float value = 0;

    ce_tensor_widen(&value,
                    (const unsigned char *)ce_safetensors_find(file, name)->data +
                        2 * at,
                    CE_DTYPE_BF16,
                    1);
    return value;
}

static void tensors_and_metadata_are_those_of_the_format(void **state)
{
    const char *path = temporary_path(state, "c.safetensors");
    struct ce_compressed_file *file = NULL;
    struct ce_safetensors found;
    struct ce_error err;

    assert_int_equal(ce_compressed_file_create(&file, HIDDEN, &err), CE_OK);
    add(file, 1, 10, 2, 30);
    add(file, 0, 3, 0, 40);
    assert_int_equal(ce_compressed_file_write(file, path, &facts, &err), CE_OK);
    ce_compressed_file_destroy(file);
    assert_int_equal(ce_safetensors_open(&found, path, &err), CE_OK);
    assert_int_equal(found.count, 4);
    assert_shape(&found, "model.layers.1.mlp.affine.10.u", HIDDEN, 2);
    assert_shape(&found, "model.layers.1.mlp.affine.10.v", 2, HIDDEN);
    assert_shape(&found, "model.layers.1.mlp.affine.10.b", HIDDEN, 0);
    assert_shape(&found, "model.layers.0.mlp.affine.3.b", HIDDEN, 0);
    assert_string_equal(ce_safetensors_metadata(&found, "format"),
                        "cemoe.compressed_experts");
    assert_string_equal(ce_safetensors_metadata(&found, "version"), "2");
    assert_string_equal(ce_safetensors_metadata(&found, "kind"), "affine");
    assert_string_equal(ce_safetensors_metadata(&found, "n_ce"), "2");
    assert_string_equal(ce_safetensors_metadata(&found, "model"), "000000abcdef0123");
    assert_string_equal(ce_safetensors_metadata(&found, "tokens"), "12");
    assert_string_equal(ce_safetensors_metadata(&found, "ridge"), "0.1");
    ce_safetensors_close(&found);
}

/* At the mean input the rounded map gives the mean output, to the rounding of b alone.
 */
static void the_constant_makes_up_for_rounding(void **state)
{
    const char *path = temporary_path(state, "c.safetensors");
    struct ce_compressed_file *file = NULL;
    struct ce_safetensors found;
    struct fit_home home;
    struct ce_error err;

    fit_any(&home, 50);
    assert_int_equal(ce_compressed_file_create(&file, HIDDEN, &err), CE_OK);
    assert_int_equal(ce_compressed_file_add(file, 0, 0, &home.fit, RANK, NULL, &err),
                     CE_OK);
    assert_int_equal(ce_compressed_file_write(file, path, &facts, &err), CE_OK);
    ce_compressed_file_destroy(file);
    assert_int_equal(ce_safetensors_open(&found, path, &err), CE_OK);
    for (size_t j = 0; j < HIDDEN; j++) {
        const double b = (double)value_at(&found, "model.layers.0.mlp.affine.0.b", j);
        double y = b;

        for (size_t k = 0; k < RANK; k++) {
            double inner = 0;

            for (size_t i = 0; i < HIDDEN; i++) {
                const float v =
                    value_at(&found, "model.layers.0.mlp.affine.0.v", k * HIDDEN + i);

                assert_near(v, home.fit.v[k * HIDDEN + i], 0x1p-8);
                inner += (double)v * (double)home.fit.mean_x[i];
            }
            const float u =
                value_at(&found, "model.layers.0.mlp.affine.0.u", j * RANK + k);

            assert_near(u, home.fit.u[k * HIDDEN + j], 0x1p-8);
            y += (double)u * inner;
        }
        assert_true(fabs(y - (double)home.fit.mean_y[j]) <= fabs(b) * 0x1p-8 + 1e-12);
    }
    ce_safetensors_close(&found);
    fit_destroy(&home);
}

static void kept_neurons_are_written(void **state)
{
    const char *path = temporary_path(state, "c.safetensors");
    const float gate[2 * HIDDEN] = {[7] = 1};
    const float up[2 * HIDDEN] = {[8] = 2};
    const float down[2 * HIDDEN] = {[HIDDEN + 4] = 3};
    const struct ce_compressed_file_neurons neurons = {
        .count = 2, .gate = gate, .up = up, .down = down};
    struct ce_compressed_file *file = NULL;
    struct ce_safetensors found;
    struct fit_home home;
    struct ce_error err;

    fit_any(&home, 60);
    assert_int_equal(ce_compressed_file_create(&file, HIDDEN, &err), CE_OK);
    assert_int_equal(ce_compressed_file_add(file, 0, 0, &home.fit, 0, &neurons, &err),
                     CE_OK);
    assert_int_equal(ce_compressed_file_write(file, path, &facts, &err), CE_OK);
    ce_compressed_file_destroy(file);
    assert_int_equal(ce_safetensors_open(&found, path, &err), CE_OK);
    assert_int_equal(found.count, 4);
    assert_shape(&found, "model.layers.0.mlp.affine.0.gate", 2, HIDDEN);
    assert_shape(&found, "model.layers.0.mlp.affine.0.up", 2, HIDDEN);
    assert_shape(&found, "model.layers.0.mlp.affine.0.down", HIDDEN, 2);
    assert_true(value_at(&found, "model.layers.0.mlp.affine.0.gate", 7) == 1);
    assert_true(value_at(&found, "model.layers.0.mlp.affine.0.up", 8) == 2);
    assert_true(value_at(&found, "model.layers.0.mlp.affine.0.down", 4 * 2 + 1) == 3);
    ce_safetensors_close(&found);
    fit_destroy(&home);
}

/* The order in which experts are added is not in the file. */
static void the_file_does_not_depend_on_the_order(void **state)
{
    const char *paths[] = {temporary_path(state, "a"), temporary_path(state, "b")};
    char *text[2] = {NULL, NULL};
    size_t bytes[2] = {0, 0};
    struct ce_error err;

    for (size_t i = 0; i < 2; i++) {
        struct ce_compressed_file *file = NULL;

        assert_int_equal(ce_compressed_file_create(&file, HIDDEN, &err), CE_OK);
        for (size_t j = 0; j < 100; j++) {
            const size_t expert = i == 0 ? j : 99 - j;

            add(file, expert % 2, expert / 2, expert % 3, 100 + expert);
        }
        assert_int_equal(ce_compressed_file_write(file, paths[i], &facts, &err), CE_OK);
        ce_compressed_file_destroy(file);
        assert_int_equal(ce_file_read(paths[i], 1 << 20, &text[i], &bytes[i], &err),
                         CE_OK);
    }
    assert_int_equal(bytes[0], bytes[1]);
    assert_memory_equal(text[0], text[1], bytes[0]);
    free(text[0]);
    free(text[1]);
}

static void what_cannot_be_written_is_refused(void **state)
{
    const char *path = temporary_path(state, "c.safetensors");
    struct ce_compressed_file *file = NULL;
    struct fit_home home;
    struct ce_error err;

    fit_any(&home, 70);
    assert_int_equal(ce_compressed_file_create(&file, HIDDEN, &err), CE_OK);
    assert_int_equal(
        ce_compressed_file_add(file, 0, 0, &home.fit, RANK + 1, NULL, &err),
        CE_ERR_ARG);
    home.fit.v[2] = 3.4e38F; /* BF16 rounds it to infinity */
    assert_int_equal(ce_compressed_file_add(file, 4, 7, &home.fit, 1, NULL, &err),
                     CE_ERR_NUMERIC);
    assert_non_null(strstr(err.text, "expert 7 of layer 4"));
    assert_non_null(strstr(err.text, "'v'"));
    ce_compressed_file_destroy(file);

    assert_int_equal(ce_compressed_file_create(&file, HIDDEN, &err), CE_OK);
    add(file, 2, 2, 1, 80);
    add(file, 2, 2, 1, 80);
    assert_int_equal(ce_compressed_file_write(file, path, &facts, &err), CE_ERR_ARG);
    assert_non_null(strstr(err.text, "twice"));
    assert_false(ce_file_exists(path));
    ce_compressed_file_destroy(file);
    fit_destroy(&home);
}

#define IN_A_DIRECTORY(test)                                                           \
    cmocka_unit_test_setup_teardown(test, temporary_setup, temporary_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_DIRECTORY(tensors_and_metadata_are_those_of_the_format),
        IN_A_DIRECTORY(the_constant_makes_up_for_rounding),
        IN_A_DIRECTORY(kept_neurons_are_written),
        IN_A_DIRECTORY(the_file_does_not_depend_on_the_order),
        IN_A_DIRECTORY(what_cannot_be_written_is_refused),
    };

    return cmocka_run_group_tests_name("calibrate.compressed_file", tests, NULL, NULL);
}
