#include "base/arena.h"
#include "test.h"

#include <string.h>

static void pieces_are_aligned_and_do_not_overlap(void **state)
{
    (void)state;
    struct ce_arena arena;
    struct ce_error err;

    assert_int_equal(ce_arena_create(&arena, 4096, &err), CE_OK);
    unsigned char *first = ce_arena_take(&arena, 3, 5);
    unsigned char *second = ce_arena_take(&arena, 65, 1);
    unsigned char *third = ce_arena_take(&arena, 1, 1);

    assert_int_equal((uintptr_t)first % 64, 0);
    assert_ptr_equal(second, first + 64);
    assert_ptr_equal(third, second + 128);
    assert_int_equal(arena.used, 256);
    ce_arena_destroy(&arena);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct ce_arena arena;
    struct ce_error err;

    assert_int_equal(ce_arena_create(&arena, 130, &err), CE_OK);
    assert_non_null(ce_arena_take(&arena, 130, 1)); /* all that was asked for */
    assert_null(ce_arena_take(&arena, 64, 1));
    assert_null(ce_arena_take(&arena, SIZE_MAX, 1));
    assert_null(ce_arena_take(&arena, SIZE_MAX / 2, 4));
    assert_int_equal(arena.used, 192);
    ce_arena_destroy(&arena);
}

static void reset_gives_everything_back(void **state)
{
    (void)state;
    struct ce_arena arena;
    struct ce_error err;

    assert_int_equal(ce_arena_create(&arena, 256, &err), CE_OK);
    void *first = ce_arena_take(&arena, 256, 1);

    ce_arena_reset(&arena);
    assert_ptr_equal(ce_arena_take(&arena, 256, 1), first);
    ce_arena_destroy(&arena);
}

static void a_measured_arena_is_large_enough(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 64, 65, 0, 1000, 7};
    const size_t count = sizeof(sizes) / sizeof(sizes[0]);
    struct ce_arena arena;
    struct ce_error err;

    ce_arena_measure(&arena);
    for (size_t i = 0; i < count; i++) {
        assert_null(ce_arena_take(&arena, sizes[i], 4));
    }
    size_t needed = arena.used;

    assert_int_equal(ce_arena_create(&arena, needed, &err), CE_OK);
    for (size_t i = 0; i < count; i++) {
        void *piece = ce_arena_take(&arena, sizes[i], 4);

        assert_non_null(piece);
        memset(piece, 1, sizes[i] * 4);
    }
    assert_int_equal(arena.used, needed);
    ce_arena_destroy(&arena);
}

static void measuring_too_much_cannot_wrap_around(void **state)
{
    (void)state;
    struct ce_arena arena;
    struct ce_error err;

    ce_arena_measure(&arena);
    (void)ce_arena_take(&arena, SIZE_MAX / 2, 1);
    (void)ce_arena_take(&arena, SIZE_MAX / 2, 4);
    (void)ce_arena_take(&arena, 64, 1);
    assert_int_equal(arena.used, SIZE_MAX);
    assert_int_equal(ce_arena_create(&arena, arena.used, &err), CE_ERR_NOMEM);
    assert_non_null(strstr(err.text, "address space"));
    ce_arena_destroy(&arena);
}

static void an_empty_arena_can_be_used_and_destroyed(void **state)
{
    (void)state;
    struct ce_arena arena = {.memory = NULL};
    struct ce_error err;

    assert_null(ce_arena_take(&arena, 1, 1));
    ce_arena_destroy(&arena);
    assert_int_equal(ce_arena_create(&arena, 0, &err), CE_OK);
    assert_null(ce_arena_take(&arena, 1, 1));
    ce_arena_destroy(&arena);
    ce_arena_destroy(&arena);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_and_do_not_overlap),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(reset_gives_everything_back),
        cmocka_unit_test(a_measured_arena_is_large_enough),
        cmocka_unit_test(measuring_too_much_cannot_wrap_around),
        cmocka_unit_test(an_empty_arena_can_be_used_and_destroyed),
    };

    return cmocka_run_group_tests_name("base.arena", tests, NULL, NULL);
}
