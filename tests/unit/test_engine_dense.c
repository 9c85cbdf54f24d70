/* Products that ranks share: rank 1 of 3 with a window made by hand, in which the
 * others have always been already. */

#include "base/random.h"
#include "engine/engine.h"
#include "moe/split.h"
#include "test.h"
#include "test_comm_fake.h"

#include <stdlib.h>
#include <string.h>

enum { RANK = 1, RANKS = 3, TOKENS = 4, LOGITS = 3, D = 96, VOCAB = 56 };
enum { PAGE = 4096, DEADLINE_MS = 30 };

/* What the ranks bring: this one no rows of logits. */
static const struct ce_dense_count counts[RANKS] = {{2, 1}, {4, 0}, {3, 2}};
enum { FIRST = 2, ALL = 9, FIRST_LOGITS = 1, ALL_LOGITS = 3 };

static const struct ce_config config = {.hidden_size = D,
                                        .intermediate_size = 16,
                                        .layers = 1,
                                        .heads = 2,
                                        .kv_heads = 2,
                                        .head_dim = D / 2,
                                        .experts = 2,
                                        .top_k = 1,
                                        .vocab_size = VOCAB,
                                        .dtype = CE_DTYPE_BF16};

struct scene {
    struct fake_transport fake;
    struct ce_window window;
    unsigned char seen[RANKS];
    unsigned char *of[RANKS];
    struct ce_engine engine;
    struct ce_weights whole;
    struct ce_error err;
};

/* The counter of a rank: a line each after the first. */
static void come(struct scene *scene, int rank)
{
    const uint64_t often = 1000;

    memcpy(scene->window.memory + 64 * (1 + rank), &often, sizeof(often));
}

static void *take(size_t bytes)
{
    void *memory = aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE);

    assert_non_null(memory);
    memset(memory, 0, bytes);
    return memory;
}

static void open_weights(struct scene *scene, enum ce_weight_format format)
{
    static const unsigned char owned[2] = {1, 1};
    const struct ce_weight_formats formats = {.dense = format};
    const struct ce_weights_split split = {RANK, RANKS};
    const struct ce_weights_split none = {0};

    scene->engine.formats = formats;
    assert_int_equal(
        ce_weights_dummy(&scene->whole, &config, owned, none, formats, 7, &scene->err),
        CE_OK);
    assert_int_equal(
        ce_weights_dummy(
            &scene->engine.weights, &config, owned, split, formats, 7, &scene->err),
        CE_OK);
}

/* Measures, makes the window and takes the arrays in it. */
static void open_window(struct scene *scene)
{
    struct ce_engine *engine = &scene->engine;
    struct ce_arena arena;

    ce_arena_measure(&arena);
    ce_dense_take(engine, &arena);
    assert_int_equal(arena.used, 0);
    assert_null(engine->act.q);
    scene->of[0] =
        take(ce_split_window_bytes(&engine->moe, 0) + engine->dense.window_bytes);
    scene->window = (struct ce_window){.transport = &scene->fake.head,
                                       .of = scene->of,
                                       .seen = scene->seen,
                                       .memory = take(PAGE)};
    engine->window = &scene->window;
    ce_dense_take(engine, &arena);
    assert_non_null(engine->act.logits);
    for (int r = 0; r < RANKS; r++) {
        engine->dense.count[r] = counts[r];
        come(scene, r == RANK ? 0 : r);
    }
}

static struct scene *open_scene(enum ce_weight_format format)
{
    struct scene *scene = calloc(1, sizeof(*scene));

    assert_non_null(scene);
    scene->engine.transport = fake_init(&scene->fake, RANK, RANKS, DEADLINE_MS);
    scene->engine.config = config;
    scene->engine.kernels = ce_kernels_get(CE_ISA_REF);
    scene->engine.options.step_tokens = TOKENS;
    scene->engine.options.step_logits = LOGITS;
    scene->engine.split = CE_EXPERT_SPLIT_NODE;
    scene->engine.batch.tokens = counts[RANK].tokens;
    scene->engine.batch.rows = counts[RANK].logits;
    open_weights(scene, format);
    open_window(scene);
    return scene;
}

static void close_scene(struct scene *scene)
{
    ce_weights_destroy(&scene->engine.weights);
    ce_weights_destroy(&scene->whole);
    free(scene->of[0]);
    free(scene->window.memory);
    fake_fini(&scene->fake);
    free(scene);
}

static void begin(struct scene *scene)
{
    assert_int_equal(ce_dense_begin(&scene->engine, CE_OK, &scene->err), CE_OK);
}

/* Rows of all ranks; those of the others are quantised as they would do it. */
static void fill_rows(struct scene *scene, const struct ce_dense_rows *rows, float *all)
{
    struct ce_engine *engine = &scene->engine;
    struct ce_rows x = {.values = all, .stride = D};

    for (size_t i = 0; i < rows->all * D; i++) {
        all[i] = (float)ce_random_unit(3, i, 0) - 0.5F;
    }
    if (engine->dense.blocks != NULL) {
        ce_rows_quantise(engine->kernels, &x, engine->dense.blocks, rows->all, D);
        memset(engine->dense.blocks + rows->first * ce_quantised_blocks(D),
               0,
               rows->mine * ce_quantised_blocks(D) * sizeof(engine->dense.blocks[0]));
    }
}

/* This rank's columns of `all` [rows->all][outputs], which was filled with 77, are
 * those of a rank that multiplies alone; others have not been touched. */
static void check_columns(struct scene *scene,
                          const struct ce_dense_rows *rows,
                          const float *x,
                          const struct ce_matrix *whole,
                          const float *all)
{
    const size_t outputs = whole->outputs;
    const struct ce_slice slice =
        ce_weights_slice(ce_engine_share(&scene->engine), outputs);
    float *wanted = calloc(rows->all * outputs, sizeof(wanted[0]));
    struct ce_rows alone = {.values = x, .stride = D};
    struct ce_quantised_block *blocks =
        calloc(rows->all * ce_quantised_blocks(D), sizeof(blocks[0]));

    assert_non_null(wanted);
    assert_non_null(blocks);
    assert_true(slice.count > 0 && slice.count < outputs);
    ce_rows_quantise(scene->engine.kernels, &alone, blocks, rows->all, D);
    ce_product_parallel(
        scene->engine.kernels, wanted, outputs, &alone, rows->all, whole);
    for (size_t i = 0; i < rows->all; i++) {
        for (size_t o = 0; o < outputs; o++) {
            const bool mine = o >= slice.first && o < slice.first + slice.count;

            if (!mine) {
                wanted[i * outputs + o] = 77.0F;
            }
        }
        assert_memory_equal(
            all + i * outputs, wanted + i * outputs, outputs * sizeof(wanted[0]));
    }
    free(blocks);
    free(wanted);
}

static void fill(float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = 77.0F;
    }
}

static void rows_stand_one_after_another(void **state)
{
    (void)state;
    struct scene *scene = open_scene(CE_WEIGHTS_STORED);
    const struct ce_dense *dense = &scene->engine.dense;

    dense->count[RANK].tokens = 99; /* of an earlier step */
    begin(scene);
    assert_int_equal(dense->tokens.first, FIRST);
    assert_int_equal(dense->tokens.mine, counts[RANK].tokens);
    assert_int_equal(dense->tokens.all, ALL);
    assert_int_equal(dense->logits.first, FIRST_LOGITS);
    assert_int_equal(dense->logits.mine, 0);
    assert_int_equal(dense->logits.all, ALL_LOGITS);
    assert_ptr_equal(scene->engine.act.k, dense->all.k + (size_t)FIRST * D);
    assert_ptr_equal(scene->engine.act.logits,
                     dense->all.logits + (size_t)FIRST_LOGITS * VOCAB);
    assert_int_equal(scene->engine.counters.dense_steps, 1);
    assert_int_equal(scene->engine.counters.logits_steps, 1);
    close_scene(scene);
}

static void a_slice_of_all_rows_is_that_of_the_whole(void **state)
{
    (void)state;
    for (int format = 0; format < CE_WEIGHT_FORMATS; format++) {
        struct scene *scene = open_scene((enum ce_weight_format)format);
        struct ce_engine *engine = &scene->engine;
        struct ce_dense *dense = &engine->dense;
        const struct ce_layer_weights *layer = &engine->weights.layers[0];

        begin(scene);
        fill_rows(scene, &dense->tokens, dense->all.normed);
        fill(dense->all.q, (size_t)ALL * D);
        fill(dense->all.v, (size_t)ALL * D);
        const struct ce_dense_output output[] = {{engine->act.q, &layer->q, D},
                                                 {engine->act.v, &layer->v, D}};
        assert_int_equal(ce_dense_run(engine,
                                      &dense->tokens,
                                      engine->act.normed,
                                      D,
                                      output,
                                      2,
                                      CE_OK,
                                      &scene->err),
                         CE_OK);
        check_columns(scene,
                      &dense->tokens,
                      dense->all.normed,
                      &scene->whole.layers[0].q,
                      dense->all.q);
        check_columns(scene,
                      &dense->tokens,
                      dense->all.normed,
                      &scene->whole.layers[0].v,
                      dense->all.v);
        assert_int_equal(scene->window.round, 3);
        close_scene(scene);
    }
}

/* Rows of logits, of which this rank has none. */
static void run_logits(struct scene *scene, enum ce_status status)
{
    struct ce_engine *engine = &scene->engine;
    struct ce_dense *dense = &engine->dense;
    const struct ce_dense_output output = {
        engine->act.logits, &engine->weights.output, VOCAB};

    fill_rows(scene, &dense->logits, dense->all.last);
    fill(dense->all.logits, (size_t)ALL_LOGITS * VOCAB);
    assert_int_equal(ce_dense_run(engine,
                                  &dense->logits,
                                  engine->act.last,
                                  D,
                                  &output,
                                  1,
                                  status,
                                  &scene->err),
                     status);
    check_columns(scene,
                  &dense->logits,
                  dense->all.last,
                  &scene->whole.output,
                  dense->all.logits);
}

static void a_rank_without_rows_helps(void **state)
{
    (void)state;
    struct scene *scene = open_scene(CE_WEIGHTS_Q8);

    begin(scene);
    run_logits(scene, CE_OK);
    close_scene(scene);
}

static void a_rank_that_has_failed_helps_and_keeps_its_failure(void **state)
{
    (void)state;
    struct scene *scene = open_scene(CE_WEIGHTS_STORED);

    begin(scene);
    (void)!ce_fail(&scene->err, CE_ERR_NUMERIC, "mine");
    run_logits(scene, CE_ERR_NUMERIC);
    assert_string_equal(scene->err.text, "mine");
    assert_int_equal(scene->window.round, 3);
    close_scene(scene);
}

static void a_rank_that_failed_before_brings_no_rows(void **state)
{
    (void)state;
    struct scene *scene = open_scene(CE_WEIGHTS_STORED);

    (void)!ce_fail(&scene->err, CE_ERR_ARG, "mine");
    assert_int_equal(ce_dense_begin(&scene->engine, CE_ERR_ARG, &scene->err),
                     CE_ERR_ARG);
    assert_string_equal(scene->err.text, "mine");
    assert_int_equal(scene->engine.dense.tokens.mine, 0);
    assert_int_equal(scene->engine.dense.tokens.all, ALL - counts[RANK].tokens);
    assert_int_equal(scene->engine.dense.count[RANK].tokens, 0);
    close_scene(scene);
}

static void nobody_meets_over_no_rows(void **state)
{
    (void)state;
    struct scene *scene = open_scene(CE_WEIGHTS_STORED);
    struct ce_engine *engine = &scene->engine;
    const struct ce_dense_output output = {
        engine->act.logits, &engine->weights.output, VOCAB};

    engine->dense.count[0].logits = engine->dense.count[2].logits = 0;
    begin(scene);
    assert_int_equal(engine->counters.logits_steps, 0);
    assert_int_equal(ce_dense_run(engine,
                                  &engine->dense.logits,
                                  engine->act.last,
                                  D,
                                  &output,
                                  1,
                                  CE_OK,
                                  &scene->err),
                     CE_OK);
    assert_int_equal(scene->window.round, 1);
    close_scene(scene);
}

static void more_rows_than_can_be_are_refused(void **state)
{
    (void)state;
    struct scene *scene = open_scene(CE_WEIGHTS_STORED);

    scene->engine.dense.count[2].logits = LOGITS + 1;
    assert_int_equal(ce_dense_begin(&scene->engine, CE_OK, &scene->err), CE_ERR_COMM);
    assert_string_equal(scene->err.text, "rank 2 brings more rows than can be");
    assert_int_equal(scene->engine.dense.tokens.all, 0);
    assert_true(scene->fake.head.failed);
    close_scene(scene);
}

static void who_does_not_come_is_named(void **state)
{
    (void)state;
    struct scene *scene = open_scene(CE_WEIGHTS_STORED);

    begin(scene);
    memset(scene->window.memory + 64 * (1 + 2), 0, 64);
    fill_rows(scene, &scene->engine.dense.tokens, scene->engine.dense.all.normed);
    const struct ce_dense_output output = {
        scene->engine.act.q, &scene->engine.weights.layers[0].q, D};
    assert_int_equal(ce_dense_run(&scene->engine,
                                  &scene->engine.dense.tokens,
                                  scene->engine.act.normed,
                                  D,
                                  &output,
                                  1,
                                  CE_OK,
                                  &scene->err),
                     CE_ERR_TIMEOUT);
    assert_non_null(strstr(scene->err.text, "from rank 2 (of 3, 2 here)"));
    assert_int_equal(ce_dense_begin(&scene->engine, CE_OK, &scene->err), CE_ERR_COMM);
    assert_int_equal(scene->engine.dense.tokens.all, 0);
    close_scene(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_stand_one_after_another),
        cmocka_unit_test(a_slice_of_all_rows_is_that_of_the_whole),
        cmocka_unit_test(a_rank_without_rows_helps),
        cmocka_unit_test(a_rank_that_has_failed_helps_and_keeps_its_failure),
        cmocka_unit_test(a_rank_that_failed_before_brings_no_rows),
        cmocka_unit_test(nobody_meets_over_no_rows),
        cmocka_unit_test(more_rows_than_can_be_are_refused),
        cmocka_unit_test(who_does_not_come_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
