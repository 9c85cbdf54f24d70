/* One rank of two in one layer; what the other sends is made up. */

#include "moe/message.h"
#include "moe/moe.h"
#include "test.h"
#include "test_comm_fake.h"

#include <stdlib.h>
#include <string.h>

enum { WIDTH = 8, EXPERTS = 4, TOP_K = 2, STEP = 3, LAYER = 0 };
enum { WEIGHTS = EXPERTS * WIDTH * WIDTH, MESSAGE_BYTES = 4096 };

static const struct ce_message_key dispatch_key = {STEP, LAYER, CE_PHASE_DISPATCH};

/* This rank has experts 0 and 1, the peer 2 and 3. */
struct scene {
    struct fake_transport fake;
    struct ce_placement placement;
    struct ce_arena arena;
    struct ce_moe moe;
    float weights[WEIGHTS];
    struct ce_expert_weights expert[EXPERTS];
    struct ce_layer_weights layer;
    _Alignas(64) unsigned char message[MESSAGE_BYTES];
    float x[WIDTH];
    float y[WIDTH];
    struct ce_error err;
};

static struct ce_matrix matrix(const struct scene *scene, size_t outputs)
{
    return (struct ce_matrix){CE_DTYPE_F32, outputs, WIDTH, scene->weights};
}

static struct scene *open_scene(enum ce_combine combine)
{
    struct scene *scene = aligned_alloc(64, sizeof(*scene));
    struct ce_arena measure;

    assert_non_null(scene);
    memset(scene, 0, sizeof(*scene));
    struct ce_transport *t = fake_init(&scene->fake, 0, 2, 1000);
    assert_int_equal(
        ce_placement_contiguous(&scene->placement, 1, EXPERTS, 2, &scene->err), CE_OK);
    for (size_t i = 0; i < WEIGHTS; i++) {
        scene->weights[i] = (float)(i % 5) / 8;
    }
    for (size_t e = 0; e < EXPERTS / 2; e++) {
        scene->expert[e] = (struct ce_expert_weights){
            matrix(scene, WIDTH), matrix(scene, WIDTH), matrix(scene, WIDTH)};
    }
    scene->layer = (struct ce_layer_weights){.router = matrix(scene, EXPERTS),
                                             .experts = scene->expert};
    scene->moe = (struct ce_moe){.kernels = ce_kernels_get(CE_ISA_REF),
                                 .transport = t,
                                 .placement = &scene->placement,
                                 .hidden = WIDTH,
                                 .intermediate = WIDTH,
                                 .experts = EXPERTS,
                                 .top_k = TOP_K,
                                 .mains = TOP_K,
                                 .wire = ce_wire_for(CE_WIRE_F32, WIDTH),
                                 .max_tokens = 1,
                                 .combine = combine};
    ce_arena_measure(&measure);
    ce_moe_take(&scene->moe, &measure);
    assert_int_equal(ce_arena_create(&scene->arena, measure.used, &scene->err), CE_OK);
    ce_moe_take(&scene->moe, &scene->arena);
    return scene;
}

static void close_scene(struct scene *scene)
{
    fake_fini(&scene->fake);
    ce_placement_destroy(&scene->placement);
    ce_arena_destroy(&scene->arena);
    free(scene);
}

/* The peer sends so many rows, each for expert `expert` of this rank. */
static void peer_sends_rows(struct scene *scene, size_t rows, uint16_t expert)
{
    const size_t row_bytes = scene->moe.wire.row_bytes;
    const size_t bytes = ce_message_dispatch_bytes(rows, rows, row_bytes);

    assert_true(bytes <= MESSAGE_BYTES);
    ce_message_write_header(scene->message, &dispatch_key, rows, rows, 0, row_bytes);
    for (size_t i = 0; i < rows; i++) {
        ce_message_row_mains(scene->message)[i] = 1;
        ce_message_pairs(scene->message, rows)[i] = (struct ce_pair){expert, 0, 1.0F};
    }
    scene->fake.peer[CE_SLOT_DISPATCH][1].message =
        (struct ce_bytes){scene->message, bytes};
}

static void peer_sends_failure(struct scene *scene, uint32_t step)
{
    const struct ce_message_key key = {step, LAYER, CE_PHASE_DISPATCH};
    const struct ce_error why = {.rank = 1, .text = "the peer's reason"};
    const size_t bytes =
        ce_message_write_failure(scene->message, &key, CE_ERR_NUMERIC, &why);

    scene->fake.peer[CE_SLOT_DISPATCH][1].message =
        (struct ce_bytes){scene->message, bytes};
}

/* No token of our own: both ranks' tables of experts stay out of it. */
static enum ce_status run(struct scene *scene, enum ce_status mine)
{
    return ce_moe_run(&scene->moe,
                      &scene->layer,
                      LAYER,
                      STEP,
                      mine,
                      scene->x,
                      scene->y,
                      0,
                      &scene->err);
}

/* What was sent to the peer last: its results, if the layer got that far. */
static struct ce_message_header last_sent(const struct scene *scene)
{
    struct ce_message_header header;

    assert_true(scene->fake.last_sent_bytes >= sizeof(header));
    memcpy(&header, scene->fake.last_sent, sizeof(header));
    return header;
}

/* The peer has no result for us: an empty message. */
static void peer_answers(struct scene *scene, unsigned char *message)
{
    const struct ce_message_key key = {STEP, LAYER, CE_PHASE_COMBINE};

    ce_message_write_header(message, &key, 0, 0, 0, scene->moe.wire.row_bytes);
    scene->fake.peer[CE_SLOT_COMBINE][1].message =
        (struct ce_bytes){message, ce_message_combine_bytes(0, 0)};
}

static void a_row_gets_its_result(void **state)
{
    (void)state;
    _Alignas(64) unsigned char answer[64];

    for (int combine = 0; combine < CE_COMBINES; combine++) {
        struct scene *scene = open_scene((enum ce_combine)combine);

        peer_sends_rows(scene, 1, 1);
        peer_answers(scene, answer);
        if (run(scene, CE_OK) != CE_OK) {
            fail_msg("%s", scene->err.text);
        }
        assert_int_equal(last_sent(scene).phase, CE_PHASE_COMBINE);
        assert_int_equal(last_sent(scene).rows, 1);
        assert_int_equal(scene->moe.peer[1].rows_received, 1);
        assert_int_equal(scene->moe.peer[1].results_sent, 1);
        close_scene(scene);
    }
}

/* More rows than the peer can have tokens would be answered beyond our memory. */
static void more_rows_than_can_be_are_refused(void **state)
{
    (void)state;
    for (int combine = 0; combine < CE_COMBINES; combine++) {
        struct scene *scene = open_scene((enum ce_combine)combine);

        peer_sends_rows(scene, 2, 1);
        assert_int_equal(run(scene, CE_OK), CE_ERR_COMM);
        assert_string_equal(scene->err.text, "rank 1 sent more rows than can be");
        assert_true(scene->fake.head.failed);
        close_scene(scene);
    }
}

static void an_expert_that_is_not_here_is_told_later(void **state)
{
    (void)state;
    _Alignas(64) unsigned char answer[64];
    struct scene *scene = open_scene(CE_COMBINE_ORDERED);
    const float nothing[WIDTH] = {0};

    peer_sends_rows(scene, 1, 3);
    peer_answers(scene, answer);
    assert_int_equal(run(scene, CE_OK), CE_ERR_COMM);
    assert_non_null(strstr(scene->err.text, "expert 3, which is not here"));
    assert_false(scene->moe.told);
    assert_false(scene->fake.head.failed);
    /* The peer does not wait in vain: it gets zeros. */
    assert_int_equal(last_sent(scene).status, CE_OK);
    assert_memory_equal(scene->fake.last_sent + sizeof(struct ce_message_header),
                        nothing,
                        sizeof(nothing));
    close_scene(scene);
}

static void a_told_failure_is_everybodys(void **state)
{
    (void)state;
    struct scene *scene = open_scene(CE_COMBINE_ORDERED);

    peer_sends_failure(scene, STEP);
    assert_int_equal(run(scene, CE_OK), CE_ERR_NUMERIC);
    assert_string_equal(scene->err.text, "the peer's reason");
    assert_int_equal(scene->err.rank, 1);
    assert_true(scene->moe.told);
    assert_false(scene->fake.head.failed);
    assert_int_equal(last_sent(scene).phase, CE_PHASE_COMBINE);
    close_scene(scene);
}

/* Ours is of the lower rank, so it is what all return. */
static void the_lowest_ranks_failure_wins(void **state)
{
    (void)state;
    struct scene *scene = open_scene(CE_COMBINE_ORDERED);

    peer_sends_failure(scene, STEP);
    (void)ce_fail(&scene->err, CE_ERR_ARG, "our own reason");
    assert_int_equal(run(scene, CE_ERR_ARG), CE_ERR_ARG);
    assert_string_equal(scene->err.text, "our own reason");
    assert_true(scene->moe.told);
    close_scene(scene);
}

/* Of another step it says nothing about this one: the ranks are out of step. */
static void a_failure_of_another_step_is_not_told(void **state)
{
    (void)state;
    struct scene *scene = open_scene(CE_COMBINE_ORDERED);

    peer_sends_failure(scene, STEP + 1);
    assert_int_equal(run(scene, CE_OK), CE_ERR_COMM);
    assert_non_null(strstr(scene->err.text, "out of step"));
    assert_true(scene->fake.head.failed);
    close_scene(scene);
}

static struct scene *breaking;

static enum ce_status
break_in_experts(void *context, const struct ce_activity *now, struct ce_error *err)
{
    (void)context, (void)err;
    if (strcmp(now->stage, "experts") == 0) {
        breaking->fake.progress_status = CE_ERR_COMM;
    }
    return CE_OK;
}

/* What the transport said while the experts ran is the cause of what fails next. */
static void a_transport_lost_meanwhile_is_the_cause(void **state)
{
    (void)state;
    struct scene *scene = open_scene(CE_COMBINE_ORDERED);

    breaking = scene;
    scene->fake.head.activity.on_enter = break_in_experts;
    peer_sends_rows(scene, 1, 0);
    assert_int_equal(run(scene, CE_OK), CE_ERR_COMM);
    assert_string_equal(scene->err.text, "scripted failure of progress");
    close_scene(scene);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_gets_its_result),
        cmocka_unit_test(more_rows_than_can_be_are_refused),
        cmocka_unit_test(an_expert_that_is_not_here_is_told_later),
        cmocka_unit_test(a_told_failure_is_everybodys),
        cmocka_unit_test(the_lowest_ranks_failure_wins),
        cmocka_unit_test(a_failure_of_another_step_is_not_told),
        cmocka_unit_test(a_transport_lost_meanwhile_is_the_cause),
    };

    return cmocka_run_group_tests_name("moe.flow", tests, NULL, NULL);
}
