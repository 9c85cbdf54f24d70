#include "moe/placement.h"
#include "test.h"

#include <stdlib.h>

/* Every expert has one owner, owners ascend, and shards are those of the formula. */
static void check(size_t layers, size_t experts, int ranks)
{
    struct ce_placement placement;

    assert_int_equal(ce_placement_contiguous(&placement, layers, experts, ranks, NULL),
                     CE_OK);
    for (size_t layer = 0; layer < layers; layer++) {
        const uint16_t *owner = placement.owner + layer * experts;

        for (size_t e = 0; e < experts; e++) {
            size_t r = owner[e];

            assert_true(r < (size_t)ranks);
            assert_true(e >= r * experts / (size_t)ranks);
            assert_true(e < (r + 1) * experts / (size_t)ranks);
            assert_true(e == 0 || owner[e - 1] <= owner[e]);
        }
    }
    assert_int_equal(ce_placement_largest_shard(&placement),
                     (experts + (size_t)ranks - 1) / (size_t)ranks);
    ce_placement_destroy(&placement);
}

static void every_expert_has_one_owner_on_any_number_of_ranks(void **state)
{
    (void)state;
    for (size_t experts = 1; experts <= 20; experts++) {
        for (int ranks = 1; ranks <= 25; ranks++) {
            check(2, experts, ranks);
        }
    }
    check(16, 64, 48);
    check(1, 3, 60000);
}

static void masks_of_all_ranks_are_a_partition(void **state)
{
    (void)state;
    enum { LAYERS = 3, EXPERTS = 10, RANKS = 4, ALL = LAYERS * EXPERTS };
    struct ce_placement placement;
    unsigned char owned[ALL];
    int owners[ALL] = {0};

    assert_int_equal(ce_placement_contiguous(&placement, LAYERS, EXPERTS, RANKS, NULL),
                     CE_OK);
    for (int rank = 0; rank < RANKS; rank++) {
        size_t shard = 0;

        ce_placement_mask(&placement, rank, owned);
        for (size_t i = 0; i < ALL; i++) {
            owners[i] += owned[i];
            shard += owned[i];
        }
        /* 10 experts on 4 ranks: 2, 3, 2, 3 in every layer. */
        assert_int_equal(shard, LAYERS * (size_t)(rank % 2 == 0 ? 2 : 3));
    }
    for (size_t i = 0; i < ALL; i++) {
        assert_int_equal(owners[i], 1);
    }
    ce_placement_destroy(&placement);
}

/* With more ranks than experts some own nothing, and not only the last ones. */
static void ranks_without_experts_have_empty_masks(void **state)
{
    (void)state;
    struct ce_placement placement;
    unsigned char owned[2];
    int empty = 0;

    assert_int_equal(ce_placement_contiguous(&placement, 1, 2, 5, NULL), CE_OK);
    for (int rank = 0; rank < 5; rank++) {
        ce_placement_mask(&placement, rank, owned);
        assert_true(owned[0] + owned[1] <= 1);
        empty += owned[0] + owned[1] == 0;
    }
    assert_int_equal(empty, 3);
    ce_placement_destroy(&placement);
}

static void destroy_accepts_a_zeroed_object(void **state)
{
    (void)state;
    struct ce_placement placement = {0};

    ce_placement_destroy(&placement);
    ce_placement_destroy(&placement);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_expert_has_one_owner_on_any_number_of_ranks),
        cmocka_unit_test(masks_of_all_ranks_are_a_partition),
        cmocka_unit_test(ranks_without_experts_have_empty_masks),
        cmocka_unit_test(destroy_accepts_a_zeroed_object),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
