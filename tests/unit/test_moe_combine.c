/* Results are summed by selection position wherever they were computed, or by rank. */

#include "base/random.h"
#include "moe/combine.h"
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 30, MAINS = 4, EXPERTS = 16, WIDTH = 5, MOST_RANKS = 20 };
enum { CHOICES = TOKENS * MAINS, RESULTS = CHOICES * WIDTH, OUTPUTS = TOKENS * WIDTH };

struct scene {
    uint16_t expert[CHOICES];
    struct ce_placement placement;
    struct ce_arena arena;
    struct ce_plan plan;
    float memory[RESULTS]; /* results, in the order of the plan */
    const unsigned char *results[MOST_RANKS];
};

static const struct ce_wire wire = {CE_WIRE_F32, WIDTH, WIDTH * sizeof(float)};

static void plan(struct scene *scene, int ranks)
{
    struct ce_routing routing = {
        .tokens = TOKENS, .top_k = MAINS, .expert = scene->expert};

    assert_int_equal(
        ce_placement_contiguous(&scene->placement, 1, EXPERTS, ranks, NULL), CE_OK);
    assert_int_equal(ce_arena_create(&scene->arena, 1 << 16, NULL), CE_OK);
    ce_plan_take(&scene->plan, &scene->arena, TOKENS, MAINS, (size_t)ranks);
    ce_plan_build(&scene->plan, &routing, &scene->placement, 0, 0);
    for (size_t r = 0; r < (size_t)ranks; r++) {
        scene->results[r] =
            (const void *)(scene->memory + scene->plan.assignment_begin[r] * WIDTH);
    }
}

static void destroy(struct scene *scene)
{
    ce_placement_destroy(&scene->placement);
    ce_arena_destroy(&scene->arena);
}

/* What the expert at a position of a token answers, on whatever rank. */
static void
set_result(struct scene *scene, size_t token, size_t position, size_t i, float value)
{
    size_t index = scene->plan.result[token * MAINS + position];

    scene->memory[index * WIDTH + i] = value;
}

/* Values of very different sizes, so that the order of a sum shows in its bits. */
static float answer(size_t token, size_t position, size_t i)
{
    double unit = ce_random_unit(3, token * MAINS + position, i) - 0.5;

    return (float)(position % 2 == 0 ? unit * 1e6 : unit);
}

/* What ranks send back for partial: the sums of their assignments of each row. */
static void reduce(struct scene *scene)
{
    static float sums[RESULTS];
    size_t scratch[TOKENS];

    for (size_t r = 0; r < scene->plan.ranks; r++) {
        size_t first = scene->plan.row_begin[r];
        struct ce_dispatch_view view = {.rows = scene->plan.row_begin[r + 1] - first,
                                        .row_mains = scene->plan.row_mains + first};

        ce_combine_reduce(&view,
                          scene->memory + scene->plan.assignment_begin[r] * WIDTH,
                          (unsigned char *)(sums + first * WIDTH),
                          &wire,
                          scratch);
    }
    memcpy(scene->memory, sums, sizeof(sums));
    for (size_t r = 0; r < scene->plan.ranks; r++) {
        scene->results[r] =
            (const void *)(scene->memory + scene->plan.row_begin[r] * WIDTH);
    }
}

static void combine(struct scene *scene, int ranks, enum ce_combine how, float *y)
{
    plan(scene, ranks);
    for (size_t j = 0; j < RESULTS; j++) {
        size_t token = j / WIDTH / MAINS;
        size_t position = j / WIDTH % MAINS;

        set_result(
            scene, token, position, j % WIDTH, answer(token, position, j % WIDTH));
    }
    if (how == CE_COMBINE_PARTIAL) {
        reduce(scene);
    }
    ce_combine_sum(&scene->plan, how, scene->results, y, &wire);
    destroy(scene);
}

/* Every token uses MAINS different experts, in no order of ranks. */
static void route(struct scene *scene)
{
    memset(scene, 0, sizeof(*scene));
    for (size_t i = 0; i < CHOICES; i++) {
        scene->expert[i] = (uint16_t)((i % MAINS * 7 + i / MAINS * 5 + 3) % EXPERTS);
    }
}

static void ordered_has_the_same_bits_on_any_ranks(void **state)
{
    (void)state;
    struct scene scene;
    float wanted[OUTPUTS];

    for (size_t j = 0; j < OUTPUTS; j++) {
        wanted[j] = 0;
        for (size_t p = 0; p < MAINS; p++) {
            wanted[j] += answer(j / WIDTH, p, j % WIDTH);
        }
    }
    for (int ranks = 1; ranks <= MOST_RANKS; ranks++) {
        float y[OUTPUTS];

        route(&scene);
        combine(&scene, ranks, CE_COMBINE_ORDERED, y);
        assert_memory_equal(y, wanted, sizeof(wanted));
    }
}

/* One rank has all experts: its sum is by position, too. */
static void partial_depends_on_the_ranks(void **state)
{
    (void)state;
    struct scene scene;
    float ordered[OUTPUTS];
    float alone[OUTPUTS];
    float spread[OUTPUTS];

    route(&scene);
    combine(&scene, 1, CE_COMBINE_ORDERED, ordered);
    route(&scene);
    combine(&scene, 1, CE_COMBINE_PARTIAL, alone);
    assert_memory_equal(alone, ordered, sizeof(alone));
    route(&scene);
    combine(&scene, 5, CE_COMBINE_PARTIAL, spread);
    assert_memory_not_equal(alone, spread, sizeof(alone));
    for (size_t j = 0; j < OUTPUTS; j++) {
        assert_true(fabsf(alone[j] - spread[j]) <= 1.0F); /* of values up to 1e6 */
    }
}

/* Experts 15 and 8 are on ranks 3 and 2 of 4, 0 and 14 on 0 and 3. By position:
 * (1e8 - 1e8) + 1 + 0; by rank: 1 - 1e8 + (1e8 + 0), where 1 is lost. */
static void cancellation_tells_them_apart(void **state)
{
    (void)state;
    static const float answers[MAINS] = {1e8F, -1e8F, 1, 0};
    static const uint16_t experts[MAINS] = {15, 8, 0, 14};
    struct scene scene = {.expert = {0}};
    float ordered[OUTPUTS];
    float partial[OUTPUTS];

    for (size_t i = 0; i < CHOICES; i++) {
        scene.expert[i] = experts[i % MAINS];
    }
    plan(&scene, 4);
    for (size_t j = 0; j < RESULTS; j++) {
        size_t position = j / WIDTH % MAINS;

        set_result(&scene, j / WIDTH / MAINS, position, j % WIDTH, answers[position]);
    }
    ce_combine_sum(&scene.plan, CE_COMBINE_ORDERED, scene.results, ordered, &wire);
    assert_int_equal(ce_combine_rows(&scene.plan, CE_COMBINE_ORDERED, 3), 2 * TOKENS);
    assert_int_equal(ce_combine_rows(&scene.plan, CE_COMBINE_PARTIAL, 3), TOKENS);
    reduce(&scene);
    ce_combine_sum(&scene.plan, CE_COMBINE_PARTIAL, scene.results, partial, &wire);
    for (size_t j = 0; j < OUTPUTS; j++) {
        assert_true(ordered[j] == 1);
        assert_true(partial[j] == 0);
    }
    destroy(&scene);
}

static void no_tokens_write_nothing(void **state)
{
    (void)state;
    struct scene scene = {.expert = {0}};
    float y = 7;

    plan(&scene, 3);
    scene.plan.tokens = 0;
    ce_combine_sum(&scene.plan, CE_COMBINE_ORDERED, scene.results, &y, &wire);
    assert_true(y == 7);
    destroy(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordered_has_the_same_bits_on_any_ranks),
        cmocka_unit_test(partial_depends_on_the_ranks),
        cmocka_unit_test(cancellation_tells_them_apart),
        cmocka_unit_test(no_tokens_write_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
