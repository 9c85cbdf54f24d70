/* A walk layer by layer has the bits of whole steps, and shows what a step computes. */

#include "calibrate/walk.h"
#include "engine_fixture.h"
#include "test.h"

enum { WINDOWS = 7, LONGEST = 40, STEP = 100 };

/* The residual stream after each layer, as a step of all layers shows it. */
struct seen {
    float *out; /* [layers][tokens][hidden] of the step at hand */
    size_t tokens;
};

static void see(void *context,
                const char *name,
                size_t layer,
                const float *values,
                size_t tokens,
                size_t hidden)
{
    struct seen *seen = context;

    if (strcmp(name, "out") == 0) {
        memcpy(seen->out + layer * LONGEST * hidden,
               values,
               tokens * hidden * sizeof(float));
        seen->tokens = tokens;
    }
}

/* Windows of several lengths in both sets. */
static void make_windows(struct ce_text_windows *windows)
{
    int32_t ids[WINDOWS * LONGEST];
    size_t end[WINDOWS];
    size_t used = 0;
    const struct ce_documents_ids documents = {ids, end, WINDOWS};
    const struct ce_text_choice choice = {LONGEST, SIZE_MAX, 3};
    struct ce_text_stream stream = {0};
    struct ce_error err = {.text = ""};

    fixture_text(ids, WINDOWS * LONGEST, 9);
    for (size_t i = 0; i < WINDOWS; i++) {
        used += i % 2 == 0 ? LONGEST : 5 + i;
        end[i] = used;
    }
    assert_ok(ce_text_stream_add(&stream, &documents, &choice, &err), &err);
    assert_ok(ce_text_windows_open(windows, stream.value, stream.count, &err), &err);
    assert_int_equal(windows->count[CE_TEXT_FIT], 5);
    assert_int_equal(windows->count[CE_TEXT_HELDOUT], 2);
}

/* The rows of a window after `layer`, from a step of its own. */
static void feed_alone(struct fixture *fixture,
                       const struct ce_text_window *window,
                       struct seen *seen)
{
    struct ce_sequence *sequence = fixture_sequence(fixture);

    fixture->engine->observer = (struct ce_observer){see, seen};
    (void)fixture_feed(fixture, sequence, window->ids, window->count);
    fixture->engine->observer.see = NULL;
    ce_sequence_destroy(sequence);
    assert_int_equal(seen->tokens, window->count);
}

static void compare_layer(struct fixture *fixture,
                          const struct ce_text_windows *windows,
                          const float *hidden,
                          size_t layer,
                          struct seen *seen)
{
    const size_t d = fixture->engine->config.hidden_size;

    for (int set = 0; set < CE_TEXT_SETS; set++) {
        for (size_t i = 0; i < windows->count[set]; i++) {
            const struct ce_text_window *window = &windows->window[set][i];

            feed_alone(fixture, window, seen);
            assert_memory_equal(hidden,
                                seen->out + layer * LONGEST * d,
                                window->count * d * sizeof(float));
            hidden += window->count * d;
        }
    }
}

static void count_step(void *context)
{
    (*(size_t *)context)++;
}

static void layers_have_the_bits_of_steps(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ce_text_windows windows;
    struct ce_walk walk;
    struct ce_error err = {.text = ""};
    size_t steps = 0;

    make_windows(&windows);
    fixture_open(&fixture, (struct fixture_size){.step_tokens = STEP});
    const size_t d = fixture.engine->config.hidden_size;
    const size_t layers = fixture.engine->config.layers;
    struct seen seen = {.out = calloc(layers * LONGEST * d, sizeof(float))};

    assert_non_null(seen.out);
    assert_ok(ce_walk_open(&walk, fixture.engine, &windows, &err), &err);
    walk.on_step = count_step;
    walk.context = &steps;
    for (size_t layer = 0; layer < layers; layer++) {
        for (int set = 0; set < CE_TEXT_SETS; set++) {
            /* Once in vain: nothing moves on. */
            assert_ok(ce_walk_layer(&walk, layer, (enum ce_text_set)set, false, &err),
                      &err);
            assert_ok(ce_walk_layer(&walk, layer, (enum ce_text_set)set, true, &err),
                      &err);
        }
        compare_layer(&fixture, &windows, walk.hidden, layer, &seen);
    }
    /* 40 + 8 + 40, then 40 + 8 | 40 and 40: at most 100 tokens, window by window. */
    assert_int_equal(walk.steps[CE_TEXT_FIT] + walk.steps[CE_TEXT_HELDOUT],
                     steps / (2 * layers));
    ce_walk_close(&walk);
    free(seen.out);
    fixture_close(&fixture);
    ce_text_windows_close(&windows);
}

/* All windows are dealt, each to one rank, neighbours to the same or the next. */
static void ranks_have_all_tokens(void **state)
{
    (void)state;
    struct ce_text_windows windows;

    make_windows(&windows);
    for (int ranks = 1; ranks < 6; ranks++) {
        const struct ce_walk_limits limits = {STEP, 4 * STEP, ranks};
        size_t tokens = 0;

        for (int rank = 0; rank < ranks; rank++) {
            tokens += ce_walk_tokens(&windows, &limits, rank);
        }
        assert_int_equal(tokens,
                         windows.tokens[CE_TEXT_FIT] + windows.tokens[CE_TEXT_HELDOUT]);
    }
    ce_text_windows_close(&windows);
}

static void long_windows_are_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ce_text_windows windows;
    struct ce_walk walk;
    struct ce_error err = {.text = ""};

    make_windows(&windows);
    fixture_open(&fixture, (struct fixture_size){.step_tokens = LONGEST - 1});
    assert_fails(ce_walk_open(&walk, fixture.engine, &windows, &err),
                 CE_ERR_ARG,
                 "--step-tokens",
                 &err);
    ce_walk_close(&walk);
    fixture_close(&fixture);
    ce_text_windows_close(&windows);
}

/* What each run of an expert shows is what it adds to the block's result. */
struct sums {
    double *sum; /* [hidden] sum of weight times y */
    size_t rows;
    size_t hidden;
    size_t top_k;
};

static void see_run(void *context, const struct ce_expert_run *run)
{
    struct sums *sums = context;

    for (size_t i = 0; i < run->rows; i++) {
        assert_true(run->assignment[i].position < sums->top_k);
        assert_int_equal(run->assignment[i].expert, run->expert);
        for (size_t j = 0; j < sums->hidden; j++) {
            sums->sum[j] += (double)run->assignment[i].weight *
                            (double)run->y[i * sums->hidden + j];
        }
    }
    sums->rows += run->rows;
}

static void see_moe(void *context,
                    const char *name,
                    size_t layer,
                    const float *values,
                    size_t tokens,
                    size_t hidden)
{
    double *sum = context;

    (void)layer;
    for (size_t i = 0; strcmp(name, "moe_out") == 0 && i < tokens * hidden; i++) {
        sum[i % hidden] += (double)values[i];
    }
}

static void runs_add_up_to_the_block(void **state)
{
    (void)state;
    struct fixture fixture;
    int32_t ids[LONGEST];
    struct ce_error err = {.text = ""};

    fixture_text(ids, LONGEST, 3);
    fixture_open(&fixture, (struct fixture_size){.step_tokens = STEP});
    const size_t d = fixture.engine->config.hidden_size;
    struct sums sums = {.sum = calloc(d, sizeof(double)),
                        .hidden = d,
                        .top_k = fixture.engine->config.top_k};
    double *wanted = calloc(d, sizeof(*wanted));
    struct ce_sequence *sequence = fixture_sequence(&fixture);
    const struct ce_step_item item = {sequence, ids, LONGEST, CE_LOGITS_NONE};

    assert_non_null(sums.sum);
    assert_non_null(wanted);
    fixture.engine->observer = (struct ce_observer){see_moe, wanted};
    fixture.engine->moe.work.observer = (struct ce_expert_observer){see_run, &sums};
    assert_ok(ce_engine_step_layer(fixture.engine, &item, 1, 0, NULL, NULL, &err),
              &err);
    assert_int_equal(sums.rows, LONGEST * sums.top_k);
    for (size_t j = 0; j < d; j++) {
        assert_float_equal(sums.sum[j], wanted[j], 1e-4);
    }
    ce_sequence_destroy(sequence);
    free(wanted);
    free(sums.sum);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_have_the_bits_of_steps),
        cmocka_unit_test(ranks_have_all_tokens),
        cmocka_unit_test(long_windows_are_refused),
        cmocka_unit_test(runs_add_up_to_the_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
