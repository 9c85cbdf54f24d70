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
                  int ranks)
{
    enum { LAYERS = 2 };

    memset(scene, 0, sizeof(*scene));
    assert_int_equal(
        ce_placement_contiguous(&scene->placement, LAYERS, experts, ranks, NULL),
        CE_OK);
    for (size_t e = 0; e < LAYERS * experts; e++) {
        scene->placement.owner[e] =
            (uint16_t)(ce_random_unit(seed, 1000 + e, 0) * (double)ranks);
    }
    for (size_t t = 0; t < tokens; t++) {
        choose(scene->expert + t * top_k, top_k, experts, seed, t);
    }
    scene->routing =
        (struct ce_routing){.tokens = tokens, .top_k = top_k, .expert = scene->expert};
    assert_int_equal(ce_arena_create(&scene->arena, 1 << 16, NULL), CE_OK);
    ce_plan_take(&scene->plan, &scene->arena, MOST_TOKENS, mains, (size_t)ranks);
    ce_plan_build(&scene->plan, &scene->routing, &scene->placement, 1);
}

static void destroy(struct scene *scene)
{
    ce_placement_destroy(&scene->placement);
    ce_arena_destroy(&scene->arena);
}

static size_t rank_of(const struct scene *scene, size_t token, size_t position)
{
    const struct ce_routing *routing = &scene->routing;
    size_t e = routing->expert[token * routing->top_k + position];

    return scene->placement.owner[scene->placement.experts + e];
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
    } shapes[] = {
        {1, 1, 1, 1, 1},
        {40, 8, 8, 64, 5},
        {40, 8, 4, 64, 5},
        {17, 4, 2, 16, 3},
        {0, 4, 2, 16, 3},
        {25, 4, 4, 4, 2},
        {9, 4, 3, 16, 40},
        {40, 2, 1, 16, 7},
        {33, 8, 8, 64, 1},
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
                  shapes[s].ranks);
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

    build(&scene, 7, 40, 8, 4, 64, 5);
    scene.routing.tokens = 3;
    for (size_t t = 0; t < 3; t++) {
        choose(scene.expert + t * 8, 8, 64, 8, t);
    }
    ce_plan_build(&scene.plan, &scene.routing, &scene.placement, 1);
    assert_int_equal(scene.plan.tokens, 3);
    every_assignment_is_there_once(&scene);
    rows_and_assignments_are_in_order(&scene);
    destroy(&scene);
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
        cmocka_unit_test(measuring_takes_as_much_as_taking),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
