#include "eval/paired.h"
#include "test.h"

#include <math.h>

#define COUNT 8

static const double full[COUNT] = {1, 1, 0, 1, 1, 0, 1, 1};
static const double truncated[COUNT] = {0, 1, 0, 0, 1, 0, 1, 0};
static const double compressed[COUNT] = {1, 1, 0, 0, 1, 0, 1, 1};

static void assert_near(struct ce_maybe number, double expected)
{
    assert_true(number.known);
    assert_true(fabs(number.value - expected) <= 1e-15 + 1e-14 * fabs(expected));
}

/* Three of eight documents are lost, one of them does not come back: the variance of
 * k ones among n is k (n - k) / (n (n - 1)). */
static void differences_are_of_pairs(void **state)
{
    (void)state;
    struct ce_estimate lost = ce_paired_difference(truncated, full, COUNT);
    struct ce_estimate gained = ce_paired_difference(compressed, truncated, COUNT);

    assert_near(lost.value, -3.0 / 8.0);
    assert_near(lost.error, sqrt(3.0 * 5.0 / (8.0 * 7.0) / 8.0));
    assert_near(gained.value, 2.0 / 8.0);
    assert_near(gained.error, sqrt(2.0 * 6.0 / (8.0 * 7.0) / 8.0));
}

/* The pairing is what makes it small: the same values in another order differ more. */
static void equal_variants_differ_by_nothing(void **state)
{
    (void)state;
    const double moved[COUNT] = {0, 0, 1, 1, 1, 1, 1, 1};
    struct ce_estimate same = ce_paired_difference(full, full, COUNT);
    struct ce_estimate other = ce_paired_difference(full, moved, COUNT);

    assert_near(same.value, 0.0);
    assert_near(same.error, 0.0);
    assert_near(other.value, 0.0);
    assert_near(other.error, sqrt(4.0 / 7.0 / 8.0));
}

/* numpy: g = gradient of R at the means, sqrt(g @ numpy.cov([f, t, c]) @ g / 8) */
static void recovery_has_the_error_of_the_delta_method(void **state)
{
    (void)state;
    struct ce_estimate recovered =
        ce_paired_recovered(full, truncated, compressed, COUNT);

    assert_near(recovered.value, 2.0 / 3.0);
    assert_near(recovered.error, 0.29095718698132317);
}

/* As if by a model of the noise: the error shrinks with the root of the documents. */
static void twice_the_documents_have_less_error(void **state)
{
    (void)state;
    double f[2 * COUNT];
    double t[2 * COUNT];
    double c[2 * COUNT];
    struct ce_estimate once = ce_paired_recovered(full, truncated, compressed, COUNT);
    struct ce_estimate twice;

    for (size_t i = 0; i < sizeof(f) / sizeof(f[0]); i++) {
        f[i] = full[i % COUNT];
        t[i] = truncated[i % COUNT];
        c[i] = compressed[i % COUNT];
    }
    twice = ce_paired_recovered(f, t, c, sizeof(f) / sizeof(f[0]));
    assert_near(twice.value, once.value.value);
    assert_near(twice.error, once.error.value * sqrt(7.0 / 15.0));
}

static void what_is_not_known_is_said(void **state)
{
    (void)state;
    struct ce_estimate nothing = ce_paired_difference(full, truncated, 0);
    struct ce_estimate one = ce_paired_difference(full, truncated, 1);
    struct ce_estimate no_loss = ce_paired_recovered(full, full, compressed, COUNT);
    struct ce_estimate none = ce_paired_recovered(full, truncated, compressed, 0);
    struct ce_estimate one_pair = ce_paired_recovered(full, truncated, compressed, 1);

    assert_false(nothing.value.known);
    assert_false(nothing.error.known);
    assert_near(one.value, 1.0);
    assert_false(one.error.known);
    assert_false(no_loss.value.known);
    assert_false(no_loss.error.known);
    assert_false(none.value.known);
    assert_near(one_pair.value, 1.0);
    assert_false(one_pair.error.known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(differences_are_of_pairs),
        cmocka_unit_test(equal_variants_differ_by_nothing),
        cmocka_unit_test(recovery_has_the_error_of_the_delta_method),
        cmocka_unit_test(twice_the_documents_have_less_error),
        cmocka_unit_test(what_is_not_known_is_said),
    };

    return cmocka_run_group_tests_name("eval.paired", tests, NULL, NULL);
}
