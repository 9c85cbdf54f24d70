#include "kernels/kernels.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

static void names_and_sets_match(void **state)
{
    (void)state;
    for (enum ce_isa isa = CE_ISA_REF; isa < CE_ISA_COUNT; isa++) {
        assert_int_equal(ce_isa_by_name(ce_isa_name(isa)), isa);
    }
    assert_int_equal(ce_isa_by_name("AVX2"), CE_ISA_COUNT);
    assert_int_equal(ce_isa_by_name(""), CE_ISA_COUNT);
}

static void tables_are_complete(void **state)
{
    (void)state;
    for (enum ce_isa isa = CE_ISA_REF; isa <= ce_isa_detect(); isa++) {
        const struct ce_kernels *k = ce_kernels_get(isa);

        assert_string_equal(k->name, ce_isa_name(isa));
        assert_true(k->matmul != NULL && k->rms_norm != NULL && k->softmax != NULL);
        assert_true(k->silu_multiply != NULL && k->multiply != NULL);
        assert_true(k->add_scaled != NULL && k->rotate != NULL);
        assert_true(k->attend != NULL && k->all_finite != NULL);
        assert_ptr_equal(k, ce_kernels_get(isa));
    }
}

static void nothing_set_means_the_fastest(void **state)
{
    (void)state;
    enum ce_isa isa = CE_ISA_COUNT;

    assert_int_equal(unsetenv("CEMOE_ISA"), 0);
    assert_int_equal(ce_isa_choose(&isa, NULL), CE_OK);
    assert_int_equal(isa, ce_isa_detect());
    isa = CE_ISA_COUNT;
    assert_int_equal(setenv("CEMOE_ISA", "", 1), 0);
    assert_int_equal(ce_isa_choose(&isa, NULL), CE_OK);
    assert_int_equal(isa, ce_isa_detect());
}

static void every_supported_set_can_be_forced(void **state)
{
    (void)state;
    for (enum ce_isa wanted = CE_ISA_REF; wanted < CE_ISA_COUNT; wanted++) {
        struct ce_error err = {.text = ""};
        enum ce_isa isa = CE_ISA_COUNT;

        assert_int_equal(setenv("CEMOE_ISA", ce_isa_name(wanted), 1), 0);
        if (wanted <= ce_isa_detect()) {
            assert_int_equal(ce_isa_choose(&isa, &err), CE_OK);
            assert_int_equal(isa, wanted);
        } else {
            assert_int_equal(ce_isa_choose(&isa, &err), CE_ERR_UNSUPPORTED);
            assert_non_null(strstr(err.text, "CEMOE_ISA"));
        }
    }
}

static void unknown_name_is_an_error_that_lists_the_names(void **state)
{
    (void)state;
    struct ce_error err = {.text = ""};
    enum ce_isa isa = CE_ISA_COUNT;

    assert_int_equal(setenv("CEMOE_ISA", "sse9", 1), 0);
    assert_int_equal(ce_isa_choose(&isa, &err), CE_ERR_ARG);
    assert_string_equal(err.text,
                        "CEMOE_ISA=sse9: no such kernel set; there are ref, avx2");
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_sets_match),
        cmocka_unit_test(tables_are_complete),
        cmocka_unit_test(nothing_set_means_the_fastest),
        cmocka_unit_test(every_supported_set_can_be_forced),
        cmocka_unit_test(unknown_name_is_an_error_that_lists_the_names),
    };

    return cmocka_run_group_tests_name("kernels.select", tests, NULL, NULL);
}
