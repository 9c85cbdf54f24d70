/* Meeting a peer that does not come, or that brings the wrong memory. */

#include "comm/window.h"
#include "test.h"
#include "test_comm_fake.h"

#include <stdlib.h>
#include <string.h>

/* The window of rank 1 of 3, made by hand: the others are not there to make it. */
struct scene {
    struct fake_transport fake;
    struct ce_window window;
    unsigned char seen[3];
    struct ce_error err;
};

static struct scene *open_scene(uint64_t deadline_ms)
{
    struct scene *scene = calloc(1, sizeof(*scene));

    assert_non_null(scene);
    scene->window.transport = fake_init(&scene->fake, 1, 3, deadline_ms);
    scene->window.seen = scene->seen;
    scene->window.memory = aligned_alloc(64, 4096);
    assert_non_null(scene->window.memory);
    memset(scene->window.memory, 0, 4096);
    return scene;
}

static void close_scene(struct scene *scene)
{
    free(scene->window.memory);
    fake_fini(&scene->fake);
    free(scene);
}

/* The counter of a rank: a line each after the first. */
static void come(struct scene *scene, int rank, uint64_t rounds)
{
    memcpy(scene->window.memory + 64 * (1 + rank), &rounds, sizeof(rounds));
}

static void who_is_missing_is_named(void **state)
{
    (void)state;
    struct scene *scene = open_scene(30);

    scene->window.transport->activity =
        (struct ce_activity){.step = 7, .layer = 3, .stage = "experts"};
    come(scene, 0, 5);
    assert_int_equal(ce_window_meet(&scene->window, &scene->err), CE_ERR_TIMEOUT);
    assert_string_equal(scene->err.text,
                        "rank 1: step 7, layer 3, stage experts: meeting round 1: no "
                        "sign after 30 ms from rank 2 (of 3, 2 here)");
    assert_int_equal(scene->err.rank, 1);
    assert_true(scene->window.transport->failed);
    assert_int_equal(ce_window_meet(&scene->window, &scene->err), CE_ERR_COMM);
    close_scene(scene);
}

static void nobody_waits_for_those_who_are_ahead(void **state)
{
    (void)state;
    struct scene *scene = open_scene(30);

    come(scene, 0, 2);
    come(scene, 2, 1);
    assert_int_equal(ce_window_meet(&scene->window, &scene->err), CE_OK);
    assert_int_equal(ce_window_meet(&scene->window, &scene->err), CE_ERR_TIMEOUT);
    assert_non_null(strstr(scene->err.text, "from rank 2 (of 3, 2 here)"));
    close_scene(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_missing_is_named),
        cmocka_unit_test(nobody_waits_for_those_who_are_ahead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
