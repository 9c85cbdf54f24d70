#include "kernels/ref/exp.h"
#include "test.h"

static float float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* The distance of two neighbours at `value`, subnormal ones included. */
static double unit_at(double value)
{
    int exponent;

    (void)frexp(value, &exponent);
    return ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

static void error_is_about_one_unit(void **state)
{
    (void)state;
    /* Every 997th float: all magnitudes, both signs. */
    for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += 997) {
        const float x = float_of((uint32_t)bits);

        if (isnan(x)) {
            assert_true(isnan(ce_exp_ref(x)));
            continue;
        }
        const double exact = exp((double)x);
        const float actual = ce_exp_ref(x);

        if (exact > (double)FLT_MAX || isinf(actual)) {
            assert_true(isinf(actual) && exact > (double)FLT_MAX);
        } else if (exact > 0) {
            assert_true(fabs((double)actual - exact) <= 1.03 * unit_at(exact));
        } else {
            assert_true(actual == 0);
        }
    }
}

static void ends_are_exact(void **state)
{
    (void)state;
    assert_true(ce_exp_ref(-INFINITY) == 0);
    assert_true(isinf(ce_exp_ref(INFINITY)));
    assert_true(ce_exp_ref(0.0F) == 1);
    assert_true(ce_exp_ref(-0.0F) == 1);
    assert_true(ce_exp_ref(-FLT_MAX) == 0);
    assert_true(ce_exp_ref(-103.9F) == 0x1p-149F);
}

/* The same on every machine: some values are written down. */
static void bits_are_fixed(void **state)
{
    (void)state;
    assert_true(ce_exp_ref(1.0F) == 0x1.5bf0a8p+1F);
    assert_true(ce_exp_ref(-1.0F) == 0x1.78b564p-2F);
    assert_true(ce_exp_ref(10.5F) == 0x1.1bb702p+15F);
    assert_true(ce_exp_ref(-87.25F) == 0x1.172478p-126F);
    assert_true(ce_exp_ref(59.270813F) == 0x1.6c7ba8p+85F);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_is_about_one_unit),
        cmocka_unit_test(ends_are_exact),
        cmocka_unit_test(bits_are_fixed),
    };

    return cmocka_run_group_tests_name("kernels.exp", tests, NULL, NULL);
}
