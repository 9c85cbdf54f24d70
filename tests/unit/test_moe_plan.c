/* Properties every plan must have, on random routings. */

#include "base/random.h"
#include "moe/plan.h"
#include "test.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TOKENS 40
#define MOST_TOP_K  8

struct scene {
    uint16_t expert[MOST_TOKENS * MOST_TOP_K];
    struct ce_routing routing;
    struct ce_placement placement;
    size_t sender;
    struct ce_arena arena;
    struct ce_plan plan;
};

/* Different experts for each token, by random swaps. */
static void
choose(uint16_t *expert, size_t top_k, size_t experts, uint64_t seed, size_t token)
{
    uint16_t deck[64];

    for (size_t i = 0; i < experts; i++) {
        deck[i] = (uint16_t)i;
    }
    for (size_t i = 0; i < top_k; i++) {
        size_t j = i + (size_t)(ce_random_unit(seed, token, i) * (double)(experts - i));
        uint16_t swap = deck[i];

        deck[i] = deck[j];
        deck[j] = swap;
        expert[i] = deck[i];
    }
}

/* A random routing on a placement that is not contiguous and differs by layer. */
static void build(struct scene *scene,
                  uint64_t seed,
                  size_t tokens,
                  size_t top_k,
                  size_t mains,
                  size_t experts,
                  int ranks,
                  size_t replicas)
{
    enum { LAYERS = 2 };
    struct ce_placement_recipe recipe = {
        .kind = CE_PLACEMENT_RANDOM, .replicas = replicas, .seed = seed};

    memset(scene, 0, sizeof(*scene));
    assert_int_equal(
        ce_placement_make(&scene->placement, &recipe, LAYERS, experts, ranks, NULL),
        CE_OK);
    scene->sender = seed % (size_t)ranks;
    for (size_t t = 0; t < tokens; t++) {
        choose(scene->expert + t * top_k, top_k, experts, seed, t);
    }
    scene->routing =
        (struct ce_routing){.tokens = tokens, .top_k = top_k, .expert = scene->expert};
    assert_int_equal(ce_arena_create(&scene->arena, 1 << 16, NULL), CE_OK);
    ce_plan_take(&scene->plan, &scene->arena, MOST_TOKENS, mains, (size_t)ranks);
    ce_plan_build(&scene->plan, &scene->routing, &scene->placement, 1, scene->sender);
}

static void destroy(struct scene *scene)
{
    ce_placement_destroy(&scene->placement);
    ce_arena_destroy(&scene->arena);
}

static size_t rank_of(const struct scene *scene, size_t token, size_t position)
{
    return scene->plan.destination[token * scene->plan.mains + position];
}

static struct ce_owners
owners_of(const struct scene *scene, size_t token, size_t position)
{
    const struct ce_routing *routing = &scene->routing;

    return ce_placement_owners(
        &scene->placement, 1, routing->expert[token * routing->top_k + position]);
}

static bool has_choice(const struct scene *scene, size_t token, size_t position)
{
    struct ce_owners owners = owners_of(scene, token, position);

    return owners.count > 1 && !ce_owners_include(owners, scene->sender);
}

/* The owner a token goes to anyway, whose position is lowest, or -1: those of the
 * positions without a choice and of the choices before this one. */
static int shared_rank(const struct scene *scene, size_t token, size_t position)
{
    for (size_t i = 0; i < scene->plan.mains; i++) {
        size_t rank = rank_of(scene, token, i);

        if ((i < position || !has_choice(scene, token, i)) &&
            ce_owners_include(owners_of(scene, token, position), rank)) {
            return (int)rank;
        }
    }
    return -1;
}

/* Fewest assignments first, of equals the nearest after the sender. */
static size_t
least_loaded(const struct scene *scene, struct ce_owners owners, const size_t *load)
{
    size_t ranks = scene->plan.ranks;
    size_t best = 0;
    size_t best_key = SIZE_MAX;

    for (size_t i = 0; i < owners.count; i++) {
        size_t distance = (owners.rank[i] + ranks - scene->sender - 1) % ranks;
        size_t key = load[owners.rank[i]] * ranks + distance;

        if (key < best_key) {
            best_key = key;
            best = owners.rank[i];
        }
    }
    return best;
}

/* Of every token and main expert: an owner; the sender if it is one; else a rank
 * the token goes to anyway; else the least loaded. */
static void destinations_follow_the_rule(const struct scene *scene)
{
    size_t load[64] = {0}; /* of the tokens before */

    for (size_t t = 0; t < scene->plan.tokens; t++) {
        for (size_t i = 0; i < scene->plan.mains; i++) {
            struct ce_owners owners = owners_of(scene, t, i);
            size_t rank = rank_of(scene, t, i);

            assert_true(ce_owners_include(owners, rank));
            if (ce_owners_include(owners, scene->sender)) {
                assert_int_equal(rank, scene->sender);
            } else if (has_choice(scene, t, i)) {
                int shared = shared_rank(scene, t, i);

                assert_int_equal(rank,
                                 shared >= 0 ? (size_t)shared
                                             : least_loaded(scene, owners, load));
            }
        }
        for (size_t i = 0; i < scene->plan.mains; i++) {
            load[rank_of(scene, t, i)]++;
        }
    }
}

/* Each index 0 .. count-1 once, and in its rank's range. */
static void every_assignment_is_there_once(const struct scene *scene)
{
    const struct ce_plan *plan = &scene->plan;
    bool seen[MOST_TOKENS * MOST_TOP_K] = {false};
    size_t count = plan->tokens * plan->mains;

    assert_int_equal(plan->assignment_begin[0], 0);
    assert_int_equal(plan->assignment_begin[plan->ranks], count);
    for (size_t i = 0; i < count; i++) {
        size_t rank = rank_of(scene, i / plan->mains, i % plan->mains);
        size_t index = plan->result[i];

        assert_true(index < count);
        assert_false(seen[index]);
        assert_true(index >= plan->assignment_begin[rank]);
        assert_true(index < plan->assignment_begin[rank + 1]);
        seen[index] = true;
    }
}

/* To a rank go the tokens with a main expert there, each once, ascending; the
 * assignments of a rank ascend by token, then position. */
static void rows_and_assignments_are_in_order(const struct scene *scene)
{
    const struct ce_plan *plan = &scene->plan;
    size_t row = 0;
    size_t assignment = 0;

    for (size_t r = 0; r < plan->ranks; r++) {
        assert_int_equal(plan->row_begin[r], row);
        assert_int_equal(plan->assignment_begin[r], assignment);
        for (size_t t = 0; t < plan->tokens; t++) {
            size_t mains = 0;

            for (size_t i = 0; i < plan->mains; i++) {
                if (rank_of(scene, t, i) == r) {
                    assert_int_equal(plan->result[t * plan->mains + i], assignment);
                    assignment++;
                    mains++;
                }
            }
            if (mains > 0) {
                assert_int_equal(plan->row_token[row], t);
                assert_int_equal(plan->row_mains[row], mains);
                row++;
            }
        }
    }
    assert_int_equal(plan->row_begin[plan->ranks], row);
}

static void random_routings(void **state)
{
    (void)state;
    static const struct {
        size_t tokens, top_k, mains, experts;
        int ranks;
        size_t replicas;
    } shapes[] = {
        {1, 1, 1, 1, 1, 1},
        {40, 8, 8, 64, 5, 1},
        {40, 8, 4, 64, 5, 3},
        {17, 4, 2, 16, 3, 2},
        {0, 4, 2, 16, 3, 1},
        {25, 4, 4, 4, 2, 2},
        {9, 4, 3, 16, 40, 7},
        {40, 2, 1, 16, 7, 7},
        {40, 8, 8, 64, 20, 4},
        {33, 8, 8, 64, 1, 1},
    };

    for (uint64_t seed = 0; seed < 50; seed++) {
        for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
            struct scene scene;

            build(&scene,
                  seed,
                  shapes[s].tokens,
                  shapes[s].top_k,
                  shapes[s].mains,
                  shapes[s].experts,
                  shapes[s].ranks,
                  shapes[s].replicas);
            destinations_follow_the_rule(&scene);
            every_assignment_is_there_once(&scene);
            rows_and_assignments_are_in_order(&scene);
            destroy(&scene);
        }
    }
}

/* A plan is built again in every layer of every step. */
static void building_again_leaves_nothing_of_before(void **state)
{
    (void)state;
    struct scene scene;

    build(&scene, 7, 40, 8, 4, 64, 5, 2);
    scene.routing.tokens = 3;
    for (size_t t = 0; t < 3; t++) {
        choose(scene.expert + t * 8, 8, 64, 8, t);
    }
    ce_plan_build(&scene.plan, &scene.routing, &scene.placement, 1, scene.sender);
    assert_int_equal(scene.plan.tokens, 3);
    destinations_follow_the_rule(&scene);
    every_assignment_is_there_once(&scene);
    rows_and_assignments_are_in_order(&scene);
    destroy(&scene);
}

/* Every expert on all four ranks but 0, which is the sender of tokens with one
 * main expert: they are dealt out in turn, from the next rank on. */
static void equal_owners_take_turns(void **state)
{
    (void)state;
    static const uint16_t wanted[6] = {1, 2, 3, 1, 2, 3};
    struct scene scene;

    memset(&scene, 0, sizeof(scene));
    scene.routing =
        (struct ce_routing){.tokens = 6, .top_k = 1, .expert = scene.expert};
    assert_int_equal(ce_placement_create(&scene.placement, 1, 1, 4, 3, NULL), CE_OK);
    scene.placement.begin[1] = 3;
    for (size_t i = 0; i < 3; i++) {
        scene.placement.owner[i] = (uint16_t)(i + 1);
    }
    assert_int_equal(ce_arena_create(&scene.arena, 1 << 16, NULL), CE_OK);
    ce_plan_take(&scene.plan, &scene.arena, 6, 1, 4);
    ce_plan_build(&scene.plan, &scene.routing, &scene.placement, 0, 0);
    assert_memory_equal(scene.plan.destination, wanted, sizeof(wanted));
    ce_plan_build(&scene.plan, &scene.routing, &scene.placement, 0, 2);
    for (size_t t = 0; t < 6; t++) { /* rank 2 keeps them */
        assert_int_equal(scene.plan.destination[t], 2);
    }
    destroy(&scene);
}

/* Counted for the leading experts alone, full is what a plan of all experts has: rows
 * and assignments recounted here from its destinations, which follow the rule. */
static void full_is_the_plan_of_all_experts(void **state)
{
    (void)state;
    static const size_t top_ks[] = {1, 2, 8};

    for (uint64_t seed = 0; seed < 60; seed++) {
        size_t top_k = top_ks[seed % 3];
        size_t replicas = 1 + seed % 2;
        size_t ranks = 2 + seed % 5;
        size_t rows[8] = {0};
        size_t assignments[8] = {0};
        struct ce_plan_full full;
        struct scene scene;

        build(&scene, seed, 30, top_k, top_k, 16, (int)ranks, replicas);
        destinations_follow_the_rule(&scene);
        for (size_t t = 0; t < 30; t++) {
            unsigned hit = 0;

            for (size_t i = 0; i < top_k; i++) {
                hit |= 1U << rank_of(&scene, t, i);
                assignments[rank_of(&scene, t, i)]++;
            }
            for (size_t r = 0; r < ranks; r++) {
                rows[r] += hit >> r & 1U;
            }
        }
        ce_plan_full_take(&full, &scene.arena, top_k, ranks);
        for (int again = 0; again < 2; again++) { /* as in every layer */
            ce_plan_full_count(
                &full, &scene.routing, &scene.placement, 1, scene.sender);
            assert_memory_equal(full.rows + 1, rows, ranks * sizeof(rows[0]));
            assert_memory_equal(
                full.assignments + 1, assignments, ranks * sizeof(assignments[0]));
        }
        destroy(&scene);
    }
}

static void measuring_takes_as_much_as_taking(void **state)
{
    (void)state;
    struct ce_arena measure = {0};
    struct ce_arena arena;
    struct ce_plan plan;

    ce_arena_measure(&measure);
    ce_plan_take(&plan, &measure, 33, 3, 7);
    assert_null(plan.result);
    assert_int_equal(ce_arena_create(&arena, measure.used, NULL), CE_OK);
    ce_plan_take(&plan, &arena, 33, 3, 7);
    assert_non_null(plan.result);
    assert_int_equal(arena.used, measure.used);
    ce_arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_routings),
        cmocka_unit_test(building_again_leaves_nothing_of_before),
        cmocka_unit_test(equal_owners_take_turns),
        cmocka_unit_test(full_is_the_plan_of_all_experts),
        cmocka_unit_test(measuring_takes_as_much_as_taking),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
