#include "base/random.h"
#include "moe/wire.h"
#include "test.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { MOST = 300 };

static float sample(uint64_t seed, size_t i)
{
    double unit = 2 * ce_random_unit(seed, i, 0) - 1;

    return (float)(unit * pow(10, 6 * ce_random_unit(seed, i, 1) - 3));
}

struct row {
    struct ce_wire wire;
    float values[MOST];
    float decoded[MOST];
    _Alignas(64) unsigned char bytes[MOST * sizeof(float) + 16];
};

static void
fill(struct row *row, enum ce_wire_format format, size_t width, uint64_t seed)
{
    row->wire = ce_wire_for(format, width);
    memset(row->bytes, 0xee, sizeof(row->bytes));
    for (size_t i = 0; i < width; i++) {
        row->values[i] = sample(seed, i);
    }
    ce_wire_encode(&row->wire, row->bytes, row->values);
    for (size_t i = row->wire.row_bytes; i < sizeof(row->bytes); i++) {
        assert_int_equal(row->bytes[i], 0xee);
    }
    ce_wire_decode(&row->wire, row->decoded, row->bytes);
}

static void f32_is_exact(void **state)
{
    (void)state;
    struct row row;

    for (size_t width = 1; width <= MOST; width += 13) {
        fill(&row, CE_WIRE_F32, width, width);
        assert_int_equal(row.wire.row_bytes, 4 * width);
        assert_memory_equal(row.decoded, row.values, width * sizeof(float));
    }
}

static void bf16_is_off_by_at_most_a_half_step(void **state)
{
    (void)state;
    struct row row;

    for (size_t width = 1; width <= MOST; width += 7) {
        fill(&row, CE_WIRE_BF16, width, width);
        assert_true(row.wire.row_bytes >= 2 * width &&
                    row.wire.row_bytes < 2 * width + 4);
        for (size_t i = 0; i < width; i++) {
            assert_true(fabsf(row.decoded[i] - row.values[i]) <=
                        0x1p-8F * fabsf(row.values[i]));
        }
    }
}

static void int8_is_off_by_at_most_a_half_step_of_its_block(void **state)
{
    (void)state;
    struct row row;

    for (size_t width = 1; width <= MOST; width += 7) {
        fill(&row, CE_WIRE_INT8, width, width);
        assert_true(row.wire.row_bytes < width + 4 * (width / CE_WIRE_BLOCK + 2));
        for (size_t i = 0; i < width; i++) {
            size_t first = i / CE_WIRE_BLOCK * CE_WIRE_BLOCK;
            double largest = 0;

            for (size_t j = first; j < width && j < first + CE_WIRE_BLOCK; j++) {
                largest = fmax(largest, fabs((double)row.values[j]));
            }
            assert_true(fabs((double)row.decoded[i] - (double)row.values[i]) <=
                        largest / 254 * (1 + 1e-5));
        }
    }
}

/* A second rounding changes nothing: what a rank rounds for itself and what
 * travels are the same values. */
static void encoding_twice_is_encoding_once(void **state)
{
    (void)state;
    struct row row;
    struct row again;

    for (int format = 0; format < CE_WIRE_FORMATS; format++) {
        fill(&row, (enum ce_wire_format)format, MOST, 5);
        again = row;
        ce_wire_encode(&row.wire, again.bytes, row.decoded);
        ce_wire_decode(&row.wire, again.decoded, again.bytes);
        for (size_t i = 0; i < MOST; i++) {
            assert_true(fabsf(again.decoded[i] - row.decoded[i]) <=
                        1e-6F * fabsf(row.decoded[i]));
        }
    }
}

static void extremes_stay_finite(void **state)
{
    (void)state;
    static const float values[] = {0, 1e-45F, -1e-45F, 3e38F, -3e38F, 1, -0.0F, 127};
    struct row row;

    for (int format = 0; format < CE_WIRE_FORMATS; format++) {
        struct ce_wire wire = ce_wire_for((enum ce_wire_format)format, 8);

        ce_wire_encode(&wire, row.bytes, values);
        ce_wire_decode(&wire, row.decoded, row.bytes);
        for (size_t i = 0; i < 8; i++) {
            assert_true(isfinite(row.decoded[i]));
        }
        memset(row.values, 0, sizeof(row.values));
        ce_wire_encode(&wire, row.bytes, row.values);
        ce_wire_decode(&wire, row.decoded, row.bytes);
        for (size_t i = 0; i < 8; i++) {
            assert_true(row.decoded[i] == 0);
        }
    }
}

static void view_and_add_are_decode(void **state)
{
    (void)state;
    struct row row;
    float scratch[MOST];
    float sum[MOST];

    for (int format = 0; format < CE_WIRE_FORMATS; format++) {
        fill(&row, (enum ce_wire_format)format, MOST, 9);
        const float *view = ce_wire_view(&row.wire, row.bytes, scratch);

        assert_memory_equal(view, row.decoded, sizeof(row.decoded));
        for (size_t i = 0; i < MOST; i++) {
            sum[i] = (float)i;
        }
        ce_wire_add(&row.wire, sum, row.bytes);
        for (size_t i = 0; i < MOST; i++) {
            assert_true(sum[i] == (float)i + row.decoded[i]);
        }
    }
}

static void formats_have_names(void **state)
{
    (void)state;
    enum ce_wire_format format = CE_WIRE_FORMATS;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_wire_by_name(&format, NULL, &err), CE_OK);
    assert_int_equal(format, CE_WIRE_F32);
    for (int i = 0; i < CE_WIRE_FORMATS; i++) {
        const char *name = ce_wire_name((enum ce_wire_format)i);

        assert_int_equal(ce_wire_by_name(&format, name, &err), CE_OK);
        assert_int_equal(format, i);
    }
    assert_int_equal(ce_wire_by_name(&format, "fp8", &err), CE_ERR_ARG);
    assert_non_null(strstr(err.text, "fp8"));
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_is_exact),
        cmocka_unit_test(bf16_is_off_by_at_most_a_half_step),
        cmocka_unit_test(int8_is_off_by_at_most_a_half_step_of_its_block),
        cmocka_unit_test(encoding_twice_is_encoding_once),
        cmocka_unit_test(extremes_stay_finite),
        cmocka_unit_test(view_and_add_are_decode),
        cmocka_unit_test(formats_have_names),
    };

    return cmocka_run_group_tests_name("moe.wire", tests, NULL, NULL);
}
