#include "base/tensor.h"
#include "test.h"

#include <math.h>
#include <string.h>

static void dtypes_have_names_and_sizes(void **state)
{
    (void)state;
    assert_string_equal(ce_dtype_name(CE_DTYPE_BF16), "BF16");
    assert_string_equal(ce_dtype_name(CE_DTYPE_BOOL), "BOOL");
    assert_int_equal(ce_dtype_size(CE_DTYPE_F32), 4);
    assert_int_equal(ce_dtype_size(CE_DTYPE_F16), 2);
    assert_int_equal(ce_dtype_size(CE_DTYPE_I64), 8);
    assert_int_equal(ce_dtype_size(CE_DTYPE_OTHER), 0);
    assert_true(ce_dtype_is_float(CE_DTYPE_F16));
    assert_false(ce_dtype_is_float(CE_DTYPE_F64));
    assert_false(ce_dtype_is_float(CE_DTYPE_OTHER));
}

static void shape_is_written_as_a_list(void **state)
{
    (void)state;
    struct ce_tensor t = {.dims = 2, .shape = {64, 2048}};
    char text[32];

    assert_string_equal(ce_tensor_shape_text(&t, text, sizeof(text)), "[64, 2048]");
    t.dims = 0;
    assert_string_equal(ce_tensor_shape_text(&t, text, sizeof(text)), "[]");
}

static void shape_text_is_cut_to_fit(void **state)
{
    (void)state;
    const struct ce_tensor t = {.dims = 2, .shape = {64, 2048}};
    const char *whole = "[64, 2048]";

    for (size_t size = 1; size <= 10; size++) {
        char text[16] = "###############";

        ce_tensor_shape_text(&t, text, size);
        assert_int_equal(strlen(text), size - 1);
        assert_memory_equal(text, whole, size - 1);
        assert_int_equal(text[size], '#');
    }
}

static void shape_text_without_room_is_untouched(void **state)
{
    (void)state;
    const struct ce_tensor t = {.dims = 1, .shape = {7}};
    char text[2] = "#";

    ce_tensor_shape_text(&t, text, 0);
    assert_int_equal(text[0], '#');
}

/* The bits of a float, so that NaN and -0 compare too. */
static uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static void every_bf16_survives_a_round_trip(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        float value = ce_f32_from_bf16((uint16_t)bits);

        if (isnan(value)) {
            assert_int_equal(ce_bf16_from_f32(value), bits | 0x40);
        } else {
            assert_int_equal(ce_bf16_from_f32(value), bits);
        }
    }
}

static void every_f16_has_its_value_and_survives_a_round_trip(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        float value = ce_f32_from_f16((uint16_t)bits);
        int exponent = (int)(bits >> 10 & 0x1f);
        int fraction = (int)(bits & 0x3ff);
        double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;

        if (exponent == 0x1f) {
            assert_true(fraction == 0 ? isinf(value) : isnan(value));
        } else if (exponent == 0) {
            assert_true((double)value == sign * ldexp(fraction, -24));
        } else {
            assert_true((double)value == sign * ldexp(1024 + fraction, exponent - 25));
        }
        if (!isnan(value)) {
            assert_int_equal(ce_f16_from_f32(value), bits);
        }
        assert_int_equal(signbit(value) != 0, bits >> 15);
    }
}

/* Halfway between two neighbours: to the even one; beside it: to the nearer. */
static void narrowing_rounds_to_nearest_even(void **state)
{
    (void)state;
    assert_int_equal(ce_bf16_from_f32(0x1.01p0F), 0x3f80);
    assert_int_equal(ce_bf16_from_f32(0x1.03p0F), 0x3f82);
    assert_int_equal(ce_bf16_from_f32(0x1.010002p0F), 0x3f81);
    assert_int_equal(ce_bf16_from_f32(0x1.fffffep127F), 0x7f80);

    assert_int_equal(ce_f16_from_f32(0x1.002p0F), 0x3c00);
    assert_int_equal(ce_f16_from_f32(0x1.006p0F), 0x3c02);
    assert_int_equal(ce_f16_from_f32(0x1.002002p0F), 0x3c01);
    assert_int_equal(ce_f16_from_f32(0x1.ffcp-1F), 0x3bff);
    assert_int_equal(ce_f16_from_f32(0x1.ffep-1F), 0x3c00);
}

static void narrowing_to_f16_meets_its_limits(void **state)
{
    (void)state;
    assert_int_equal(ce_f16_from_f32(65504.0F), 0x7bff);
    assert_int_equal(ce_f16_from_f32(65519.996F), 0x7bff);
    assert_int_equal(ce_f16_from_f32(65520.0F), 0x7c00);
    assert_int_equal(ce_f16_from_f32(-1e30F), 0xfc00);
    assert_int_equal(ce_f16_from_f32(0x1p-24F), 0x0001);
    assert_int_equal(ce_f16_from_f32(0x1p-25F), 0x0000);
    assert_int_equal(ce_f16_from_f32(0x1.000002p-25F), 0x0001);
    assert_int_equal(ce_f16_from_f32(0x1.8p-24F), 0x0002);
    assert_int_equal(ce_f16_from_f32(-0x1p-149F), 0x8000);
    assert_int_equal(ce_f16_from_f32(0x1.ffep-15F), 0x0400);
    assert_int_equal(ce_f16_from_f32(0x1.ff8p-15F), 0x03ff);
}

static void nan_stays_nan(void **state)
{
    (void)state;
    float quiet = nanf("");
    float faint; /* payload only in the bits that are cut off */
    uint32_t bits = 0x7f800001;

    memcpy(&faint, &bits, sizeof(faint));
    assert_true(isnan(ce_f32_from_bf16(ce_bf16_from_f32(quiet))));
    assert_true(isnan(ce_f32_from_bf16(ce_bf16_from_f32(faint))));
    assert_true(isnan(ce_f32_from_f16(ce_f16_from_f32(quiet))));
    assert_true(isnan(ce_f32_from_f16(ce_f16_from_f32(faint))));
}

static void widening_accepts_any_alignment(void **state)
{
    (void)state;
    const float values[3] = {1.5F, -0.25F, 96.0F};
    unsigned char data[16];
    float out[3];

    memcpy(data + 1, values, sizeof(values));
    ce_tensor_widen(out, data + 1, CE_DTYPE_F32, 3);
    assert_memory_equal(out, values, sizeof(out));

    for (size_t i = 0; i < 3; i++) {
        uint16_t half = ce_f16_from_f32(values[i]);

        memcpy(data + 1 + 2 * i, &half, 2);
    }
    ce_tensor_widen(out, data + 1, CE_DTYPE_F16, 3);
    assert_memory_equal(out, values, sizeof(out));

    for (size_t i = 0; i < 3; i++) {
        uint16_t half = ce_bf16_from_f32(values[i]);

        memcpy(data + 1 + 2 * i, &half, 2);
    }
    ce_tensor_widen(out, data + 1, CE_DTYPE_BF16, 3);
    assert_int_equal(bits_of(out[2]), bits_of(96.0F));
    assert_memory_equal(out, values, sizeof(out));
}

static void widening_nothing_needs_no_data(void **state)
{
    (void)state;
    ce_tensor_widen(NULL, NULL, CE_DTYPE_F32, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dtypes_have_names_and_sizes),
        cmocka_unit_test(shape_is_written_as_a_list),
        cmocka_unit_test(shape_text_is_cut_to_fit),
        cmocka_unit_test(shape_text_without_room_is_untouched),
        cmocka_unit_test(every_bf16_survives_a_round_trip),
        cmocka_unit_test(every_f16_has_its_value_and_survives_a_round_trip),
        cmocka_unit_test(narrowing_rounds_to_nearest_even),
        cmocka_unit_test(narrowing_to_f16_meets_its_limits),
        cmocka_unit_test(nan_stays_nan),
        cmocka_unit_test(widening_accepts_any_alignment),
        cmocka_unit_test(widening_nothing_needs_no_data),
    };

    return cmocka_run_group_tests_name("base.tensor", tests, NULL, NULL);
}
