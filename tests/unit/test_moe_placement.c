#include "moe/placement.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every expert has one owner, owners ascend, and shards are those of the formula. */
static void check(size_t layers, size_t experts, int ranks)
{
    struct ce_placement placement;

    assert_int_equal(ce_placement_contiguous(&placement, layers, experts, ranks, NULL),
                     CE_OK);
    for (size_t layer = 0; layer < layers; layer++) {
        for (size_t e = 0; e < experts; e++) {
            struct ce_owners owners = ce_placement_owners(&placement, layer, e);
            size_t r = owners.rank[0];

            assert_int_equal(owners.count, 1);
            assert_true(r < (size_t)ranks);
            assert_true(e >= r * experts / (size_t)ranks);
            assert_true(e < (r + 1) * experts / (size_t)ranks);
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

/* What every placement must be: at least one owner each, ascending, in range. */
static void check_owners(const struct ce_placement *placement, size_t most)
{
    size_t total = 0;

    assert_int_equal(placement->begin[0], 0);
    for (size_t i = 0; i < placement->layers * placement->experts; i++) {
        struct ce_owners owners = ce_placement_owners(
            placement, i / placement->experts, i % placement->experts);

        assert_true(owners.count >= 1 && owners.count <= most);
        assert_true(owners.rank[owners.count - 1] < placement->ranks);
        for (size_t j = 1; j < owners.count; j++) {
            assert_true(owners.rank[j - 1] < owners.rank[j]);
        }
        assert_ptr_equal(owners.rank, placement->owner + total);
        total += owners.count;
    }
}

static void strided_deals_experts_like_cards(void **state)
{
    (void)state;
    struct ce_placement_recipe recipe = {.kind = CE_PLACEMENT_STRIDED, .replicas = 1};
    struct ce_placement placement;

    assert_int_equal(ce_placement_make(&placement, &recipe, 2, 10, 4, NULL), CE_OK);
    assert_string_equal(placement.name, "strided");
    check_owners(&placement, 1);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(ce_placement_owners(&placement, i / 10, i % 10).rank[0],
                         i % 10 % 4);
    }
    assert_int_equal(ce_placement_largest_shard(&placement), 3);
    ce_placement_destroy(&placement);
}

/* Replicas of an expert are equally far apart and count in every owner's shard. */
static void replicas_are_spread_over_the_ranks(void **state)
{
    (void)state;
    struct ce_placement_recipe recipe = {.replicas = 2};
    struct ce_placement placement;

    assert_int_equal(ce_placement_make(&placement, &recipe, 1, 8, 4, NULL), CE_OK);
    assert_string_equal(placement.name, "contiguous, 2 replicas");
    check_owners(&placement, 2);
    for (size_t e = 0; e < 8; e++) {
        struct ce_owners owners = ce_placement_owners(&placement, 0, e);

        assert_int_equal(owners.count, 2);
        assert_int_equal(owners.rank[0], e / 2 % 2);
        assert_int_equal(owners.rank[1], e / 2 % 2 + 2);
    }
    for (int r = 0; r < 4; r++) {
        unsigned char owned[8];

        assert_int_equal(ce_placement_shard(&placement, 0, (size_t)r), 4);
        ce_placement_mask(&placement, r, owned);
        for (size_t e = 0; e < 8; e++) {
            assert_int_equal(owned[e], (int)e / 2 % 2 == r % 2);
        }
    }
    assert_int_equal(ce_placement_largest_shard(&placement), 4);
    ce_placement_destroy(&placement);
}

static void all_recipes_give_valid_placements(void **state)
{
    (void)state;
    for (int kind = CE_PLACEMENT_CONTIGUOUS; kind <= CE_PLACEMENT_RANDOM; kind++) {
        for (int ranks = 1; ranks <= 11; ranks++) {
            for (size_t replicas = 1; replicas <= (size_t)ranks; replicas++) {
                struct ce_placement_recipe recipe = {.kind =
                                                         (enum ce_placement_kind)kind,
                                                     .replicas = replicas,
                                                     .seed = (uint64_t)ranks};
                struct ce_placement placement;

                assert_int_equal(
                    ce_placement_make(&placement, &recipe, 3, 13, ranks, NULL), CE_OK);
                check_owners(&placement, replicas);
                ce_placement_destroy(&placement);
            }
        }
    }
}

/* Every number of owners and every rank occurs, and layers differ. */
static void random_uses_all_numbers_and_ranks(void **state)
{
    (void)state;
    enum { EXPERTS = 200, RANKS = 5, REPLICAS = 3 };
    struct ce_placement_recipe recipe = {
        .kind = CE_PLACEMENT_RANDOM, .replicas = REPLICAS, .seed = 7};
    struct ce_placement placement;
    size_t counts[REPLICAS + 1] = {0};
    size_t different = 0;

    assert_int_equal(ce_placement_make(&placement, &recipe, 2, EXPERTS, RANKS, NULL),
                     CE_OK);
    assert_string_equal(placement.name, "random 7, 1 to 3 replicas");
    for (size_t e = 0; e < EXPERTS; e++) {
        struct ce_owners first = ce_placement_owners(&placement, 0, e);
        struct ce_owners second = ce_placement_owners(&placement, 1, e);

        counts[first.count]++;
        different += first.rank[0] != second.rank[0];
    }
    for (size_t n = 1; n <= REPLICAS; n++) {
        assert_true(counts[n] > EXPERTS / 5);
    }
    assert_true(different > EXPERTS / 4);
    for (size_t r = 0; r < RANKS; r++) { /* 2 of 5 ranks on average */
        assert_true(ce_placement_shard(&placement, 1, r) > EXPERTS / 4);
    }
    ce_placement_destroy(&placement);
}

static void the_hash_tells_placements_apart(void **state)
{
    (void)state;
    uint64_t hash[8];
    size_t count = 0;

    for (int kind = CE_PLACEMENT_CONTIGUOUS; kind <= CE_PLACEMENT_RANDOM; kind++) {
        for (size_t replicas = 1; replicas <= 2; replicas++) {
            struct ce_placement_recipe recipe = {.kind = (enum ce_placement_kind)kind,
                                                 .replicas = replicas};
            struct ce_placement placement;

            assert_int_equal(ce_placement_make(&placement, &recipe, 2, 12, 3, NULL),
                             CE_OK);
            hash[count] = ce_placement_hash(&placement);
            (void)snprintf(placement.name, sizeof(placement.name), "another name");
            assert_true(ce_placement_hash(&placement) == hash[count]);
            for (size_t i = 0; i < count; i++) {
                assert_true(hash[i] != hash[count]);
            }
            count++;
            ce_placement_destroy(&placement);
        }
    }
}

static void more_replicas_than_ranks_are_refused(void **state)
{
    (void)state;
    struct ce_placement_recipe recipe = {.replicas = 4};
    struct ce_placement placement;
    struct ce_error err;

    assert_int_equal(ce_placement_make(&placement, &recipe, 1, 8, 3, &err), CE_ERR_ARG);
    assert_non_null(strstr(err.text, "4 replicas"));
    assert_non_null(strstr(err.text, "3 rank"));
    recipe.replicas = 0;
    assert_int_equal(ce_placement_make(&placement, &recipe, 1, 8, 3, &err), CE_ERR_ARG);
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
        cmocka_unit_test(strided_deals_experts_like_cards),
        cmocka_unit_test(replicas_are_spread_over_the_ranks),
        cmocka_unit_test(all_recipes_give_valid_placements),
        cmocka_unit_test(random_uses_all_numbers_and_ranks),
        cmocka_unit_test(the_hash_tells_placements_apart),
        cmocka_unit_test(more_replicas_than_ranks_are_refused),
        cmocka_unit_test(destroy_accepts_a_zeroed_object),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
