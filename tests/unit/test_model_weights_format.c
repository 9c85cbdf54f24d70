/* Matrices in memory: kept, rounded or quantised, and which of them. */

#include "kernels/kernels.h"
#include "model/weights_internal.h"
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OUTPUTS = 21, INPUTS = 70, WEIGHTS = OUTPUTS * INPUTS };

static float weight(size_t i)
{
    return sinf((float)i * 0.37F) / 50;
}

static void fill(float *w)
{
    for (size_t i = 0; i < WEIGHTS; i++) {
        w[i] = weight(i);
    }
}

static void names_are_those_of_the_options(void **state)
{
    (void)state;
    static const char *const names[] = {"stored", "bf16", "q8", "q4"};
    struct ce_error err = {.text = ""};
    enum ce_weight_format format = CE_WEIGHT_FORMATS;

    for (int i = 0; i < CE_WEIGHT_FORMATS; i++) {
        assert_int_equal(ce_weight_format_by_name(&format, names[i], "--weights", &err),
                         CE_OK);
        assert_int_equal(format, i);
        assert_string_equal(ce_weight_format_name(format), names[i]);
        assert_int_equal(ce_weight_format_is_packed(format), i >= CE_WEIGHTS_Q8);
    }
    assert_int_equal(ce_weight_format_by_name(&format, NULL, "--weights", &err), CE_OK);
    assert_int_equal(format, CE_WEIGHTS_STORED);
    assert_int_equal(ce_weight_format_by_name(&format, "q5", "--dense-weights", &err),
                     CE_ERR_ARG);
    assert_non_null(strstr(err.text, "--dense-weights"));
    assert_non_null(strstr(err.text, "\"q5\""));
}

static void router_and_embedding_stay_exact(void **state)
{
    (void)state;
    const struct ce_weight_formats formats = {CE_WEIGHTS_Q4, CE_WEIGHTS_Q8};
    struct ce_tensor_slot slot = {.role = CE_TENSOR_EXPERT};

    assert_int_equal(ce_weights_dtype(formats, &slot, CE_DTYPE_F16), CE_DTYPE_Q4);
    slot.role = CE_TENSOR_MATRIX;
    assert_int_equal(ce_weights_dtype(formats, &slot, CE_DTYPE_F16), CE_DTYPE_Q8);
    slot.role = CE_TENSOR_EXACT;
    assert_int_equal(ce_weights_dtype(formats, &slot, CE_DTYPE_F16), CE_DTYPE_F16);
}

/* In pieces, as loading may cut them: rows, or panels of 16. */
static void convert(const struct ce_matrix *to, const struct ce_matrix *from)
{
    size_t all = ce_dtype_is_packed(to->dtype) ? ce_quantised_panels(OUTPUTS) : OUTPUTS;

    assert_int_equal(ce_weights_convert(to, from, 0, 1), OUTPUTS);
    assert_int_equal(ce_weights_convert(to, from, 1, all - 1), OUTPUTS);
}

/* The product with the unit vector of an input is that column of the matrix. */
static float converted_weight(const struct ce_matrix *w, size_t output, size_t input)
{
    const struct ce_kernels *kernels = ce_kernels_get(CE_ISA_REF);
    struct ce_quantised_block blocks[(INPUTS + 31) / 32];
    float x[INPUTS] = {0};
    float y[OUTPUTS];
    struct ce_rows rows = {.values = x, .stride = INPUTS};

    x[input] = 1;
    ce_rows_quantise(kernels, &rows, blocks, 1, INPUTS);
    ce_product_parallel(kernels, y, OUTPUTS, &rows, 1, w);
    return y[output];
}

static void conversions_are_as_near_as_their_bits(void **state)
{
    (void)state;
    static const struct {
        enum ce_dtype dtype;
        float error; /* of the largest weight, 1/50 */
    } types[] = {{CE_DTYPE_F32, 0},
                 {CE_DTYPE_BF16, 0x1p-8F},
                 {CE_DTYPE_Q8, 1.0F / 250},
                 {CE_DTYPE_Q4, 1.0F / 13}};
    float *w = malloc(WEIGHTS * sizeof(w[0]));

    assert_non_null(w);
    fill(w);
    for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
        size_t bytes = ce_weights_matrix_bytes(types[t].dtype, OUTPUTS, INPUTS);
        unsigned char *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
        const struct ce_matrix from = {CE_DTYPE_F32, OUTPUTS, INPUTS, w};
        const struct ce_matrix to = {types[t].dtype, OUTPUTS, INPUTS, memory};

        assert_non_null(memory);
        convert(&to, &from);
        for (size_t o = 0; o < OUTPUTS; o += 4) {
            for (size_t i = 0; i < INPUTS; i += 3) {
                float found = converted_weight(&to, o, i);

                assert_true(fabsf(found - w[o * INPUTS + i]) <=
                            types[t].error / 50 + 1e-6F / 50);
            }
        }
        free(memory);
    }
    free(w);
}

static void what_cannot_be_quantised_is_found(void **state)
{
    (void)state;
    static float w[WEIGHTS];
    static unsigned char memory[WEIGHTS * 4];
    const struct ce_matrix from = {CE_DTYPE_F32, OUTPUTS, INPUTS, w};
    const struct ce_matrix to = {CE_DTYPE_Q8, OUTPUTS, INPUTS, memory};

    fill(w);
    w[18 * INPUTS + 5] = NAN;
    assert_int_equal(ce_weights_convert(&to, &from, 0, 1), OUTPUTS);
    assert_int_equal(ce_weights_convert(&to, &from, 1, 1), 18);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_those_of_the_options),
        cmocka_unit_test(router_and_embedding_stay_exact),
        cmocka_unit_test(conversions_are_as_near_as_their_bits),
        cmocka_unit_test(what_cannot_be_quantised_is_found),
    };

    return cmocka_run_group_tests_name("model.weights_format", tests, NULL, NULL);
}
