#include "base/memory.h"
#include "test.h"

#include <stdlib.h>

static void memory_is_zeroed_and_writable_to_its_ends(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 4096, 5000, 2 << 20, (4 << 20) + 1};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        unsigned char *memory = ce_memory_map(sizes[i]);

        assert_non_null(memory);
        assert_int_equal(memory[0], 0);
        assert_int_equal(memory[sizes[i] - 1], 0);
        memory[0] = 1;
        memory[sizes[i] - 1] = 1;
        ce_memory_unmap(memory, sizes[i]);
    }
}

static void large_memory_is_aligned_for_huge_pages(void **state)
{
    (void)state;
    for (size_t extra = 0; extra < 4; extra++) {
        size_t bytes = ((size_t)2 << 20) + extra * 4096;
        void *memory = ce_memory_map(bytes);

        assert_int_equal((uintptr_t)memory % (2 << 20), 0);
        ce_memory_unmap(memory, bytes);
    }
}

static void nothing_is_a_valid_request(void **state)
{
    (void)state;
    void *memory = ce_memory_map(0);

    assert_non_null(memory);
    ce_memory_unmap(memory, 0);
    ce_memory_unmap(NULL, 100);
}

static void absurd_requests_are_refused(void **state)
{
    (void)state;
    assert_null(ce_memory_map(SIZE_MAX));
    assert_null(ce_memory_map(SIZE_MAX - (1 << 20)));
    assert_null(ce_memory_map(SIZE_MAX / 4));
}

static void untouched_memory_costs_nothing(void **state)
{
    (void)state;
    size_t bytes = (size_t)1 << 40;
    void *memory = ce_memory_map(bytes);

    assert_non_null(memory);
    ce_memory_unmap(memory, bytes);
}

static void the_machine_has_memory(void **state)
{
    (void)state;
    (void)unsetenv("CEMOE_MEMORY_LIMIT");
    uint64_t available = ce_memory_available();

    assert_true(available > 1 << 20);
    assert_true(available < UINT64_C(1) << 60);
}

static void the_environment_lowers_what_is_available(void **state)
{
    (void)state;
    (void)setenv("CEMOE_MEMORY_LIMIT", "1000", 1);
    assert_int_equal(ce_memory_available(), 1000);
    (void)setenv("CEMOE_MEMORY_LIMIT", "1152921504606846976", 1);
    assert_true(ce_memory_available() < UINT64_C(1) << 60);
    (void)unsetenv("CEMOE_MEMORY_LIMIT");
}

static void a_limit_that_is_no_number_is_noticed(void **state)
{
    (void)state;
    static const char *const wrong[] = {"12G", "-5", "x", "99999999999999999999999"};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        (void)setenv("CEMOE_MEMORY_LIMIT", wrong[i], 1);
        assert_int_equal(ce_memory_available(), 0);
    }
    (void)setenv("CEMOE_MEMORY_LIMIT", "", 1); /* counts as unset */
    assert_true(ce_memory_available() > 0);
    (void)unsetenv("CEMOE_MEMORY_LIMIT");
}

static void sizes_are_checked(void **state)
{
    (void)state;
    size_t out;

    assert_int_equal(ce_size_mul(3, 5, &out), CE_OK);
    assert_int_equal(out, 15);
    assert_int_equal(ce_size_mul(SIZE_MAX, 2, &out), CE_ERR_NOMEM);
    assert_int_equal(ce_size_mul(SIZE_MAX, 0, &out), CE_OK);
    assert_int_equal(ce_size_add(SIZE_MAX - 1, 1, &out), CE_OK);
    assert_int_equal(out, SIZE_MAX);
    assert_int_equal(ce_size_add(SIZE_MAX, 1, &out), CE_ERR_NOMEM);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_and_writable_to_its_ends),
        cmocka_unit_test(large_memory_is_aligned_for_huge_pages),
        cmocka_unit_test(nothing_is_a_valid_request),
        cmocka_unit_test(absurd_requests_are_refused),
        cmocka_unit_test(untouched_memory_costs_nothing),
        cmocka_unit_test(the_machine_has_memory),
        cmocka_unit_test(the_environment_lowers_what_is_available),
        cmocka_unit_test(a_limit_that_is_no_number_is_noticed),
        cmocka_unit_test(sizes_are_checked),
    };

    return cmocka_run_group_tests_name("base.memory", tests, NULL, NULL);
}
