/* A calibration writes the same parts on 1 to 4 ranks that are threads, of either kind,
 * with any placement, in any number of passes; a rank that fails ends it on all. */

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "calibrate/scaling.h"
#include "calibrate/walk.h"
#include "comm/collective.h"
#include "comm/threads.h"
#include "ranks/require.h"
#include "test.h"
#include "unit/temporary.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEADLINE_MS 60000
#define RIDGE       0.03
#define PART_BYTES  ((size_t)64 << 20)

enum {
    WINDOWS = 24,
    TOKENS = 48, /* of a window */
    STEP_TOKENS = 100,
    COMPRESSED = 2,
    LAYERS = 4,
    EXPERTS = 16,
    MOST_RANK = 4,
};

/* One calibration. */
struct job {
    int ranks;
    int threads;
    size_t passes;
    const char *placement;
    size_t neurons;
    bool scaling;
    int fails; /* rank that fails in a fit, or -1 */
    const char *dir;
    uint64_t hash; /* of all parts */
};

/* Some long texts and some short ones; every fourth window is held out. */
static void make_windows(struct ce_text_windows *windows, struct ce_error *err)
{
    int32_t ids[WINDOWS * TOKENS];
    size_t end[WINDOWS];
    size_t used = 0;
    const struct ce_documents_ids documents = {ids, end, WINDOWS};
    const struct ce_text_choice choice = {TOKENS, SIZE_MAX, 4};
    struct ce_text_stream stream = {0};

    for (size_t i = 0; i < WINDOWS * TOKENS; i++) {
        ids[i] = (int32_t)(2 + ce_random_unit(7, i, 0) * 2000);
    }
    for (size_t i = 0; i < WINDOWS; i++) {
        used += i % 3 > 0 ? TOKENS : 10 + i;
        end[i] = used;
    }
    REQUIRE(ce_text_stream_add(&stream, &documents, &choice, err) == CE_OK,
            "%s",
            err->text);
    REQUIRE(ce_text_windows_open(windows, stream.value, stream.count, err) == CE_OK,
            "%s",
            err->text);
}

static struct ce_engine *open_engine(struct ce_transport *transport,
                                     const struct job *job,
                                     const struct ce_text_windows *windows,
                                     struct ce_error *err)
{
    struct ce_engine *engine = NULL;
    struct ce_engine_options options;

    ce_engine_options_init(&options);
    options.model = CE_MODEL_DIR;
    options.compressed = 0; /* all experts run in full */
    options.overlap = "off";
    options.placement = job->placement;
    options.step_tokens = STEP_TOKENS;
    options.step_logits = 1;
    options.cache_tokens = ce_walk_cache_tokens(windows, STEP_TOKENS);
    omp_set_num_threads(job->threads);
    REQUIRE(
        ce_engine_create(&engine, transport, &options, err) == CE_OK, "%s", err->text);
    return engine;
}

static struct ce_calibrate_needs find_needs(const struct ce_calibrate_run *run,
                                            const struct job *job,
                                            struct ce_error *err)
{
    const struct ce_text_windows *windows = run->windows;
    const struct ce_transport *transport = run->engine->transport;
    const struct ce_walk_limits limits = {
        .step_tokens = STEP_TOKENS,
        .cache_tokens = ce_walk_cache_tokens(windows, STEP_TOKENS),
        .ranks = transport->ranks};
    const struct ce_calibrate_sizes sizes = {
        .shape = run->shape,
        .intermediate = run->engine->config.intermediate_size,
        .experts = EXPERTS,
        .own_experts = ce_placement_largest_shard(&run->engine->placement),
        .own_tokens = ce_walk_tokens(windows, &limits, transport->rank),
        .all_tokens = windows->tokens[CE_TEXT_FIT] + windows->tokens[CE_TEXT_HELDOUT],
        .windows = windows->count[CE_TEXT_FIT] + windows->count[CE_TEXT_HELDOUT],
        .threads = (size_t)job->threads,
        .gathers = transport->rank == 0};
    struct ce_calibrate_needs needs = {0};

    REQUIRE(ce_calibrate_needs_find(&needs, &sizes, (size_t)1 << 30, err) == CE_OK,
            "%s",
            err->text);
    ce_calibrate_needs_spread(&needs, &sizes, job->passes);
    return needs;
}

static enum ce_status
fail_in_fit(void *context, const struct ce_activity *now, struct ce_error *err)
{
    (void)context;
    return now->layer == 1 && strcmp(now->stage, "fit") == 0
               ? ce_fail(err, CE_ERR_NUMERIC, "failed in the fit of layer 1")
               : CE_OK;
}

/* Of the files of all layers. */
static uint64_t hash_parts(const struct job *job, struct ce_error *err)
{
    uint64_t hash = CE_HASH_START;

    for (size_t l = 0; l < LAYERS; l++) {
        char path[128];
        char *data = NULL;
        size_t bytes = 0;

        (void)snprintf(path, sizeof(path), "%s/layer-%zu.part", job->dir, l);
        REQUIRE(ce_file_read(path, PART_BYTES, &data, &bytes, err) == CE_OK,
                "%s",
                err->text);
        hash = ce_hash_bytes(hash, data, bytes);
        free(data);
    }
    return hash;
}

static void open_parts(struct ce_parts *parts,
                       const struct ce_calibrate_run *run,
                       const struct job *job,
                       struct ce_error *err)
{
    const struct ce_config *config = &run->engine->config;

    *parts = (struct ce_parts){.kernels = run->engine->kernels,
                               .layers = LAYERS,
                               .experts = EXPERTS,
                               .shape = run->shape};
    if (job->scaling) {
        parts->body_bytes =
            ce_scaling_body_bytes(config->experts, config->intermediate_size);
    }
    REQUIRE(ce_parts_open(parts, job->dir, "a job\n", err) == CE_OK, "%s", err->text);
}

static enum ce_status
run_rank(struct ce_transport *transport, void *context, struct ce_error *err)
{
    struct job *job = context;
    struct ce_text_windows windows = {0};
    struct ce_parts parts = {0};
    unsigned char solved[LAYERS] = {0};
    struct ce_calibrate_run run = {
        .windows = &windows, .compressed = COMPRESSED, .solved = solved};
    enum ce_status status = CE_OK;

    make_windows(&windows, err);
    run.engine = open_engine(transport, job, &windows, err);
    const size_t hidden = run.engine->config.hidden_size;
    if (job->scaling) {
        run.shape = (struct ce_record_shape){.hidden = hidden};
    } else {
        run.shape = (struct ce_record_shape){hidden, MOST_RANK, job->neurons};
        run.needs = find_needs(&run, job, err);
    }
    if (transport->rank == 0) {
        open_parts(&parts, &run, job, err);
        run.parts = &parts;
    }
    if (transport->rank == job->fails) {
        transport->activity.on_enter = fail_in_fit;
    }
    status = job->scaling ? ce_scaling_layers(&run, RIDGE, err)
                          : ce_calibrate_layers(&run, err);
    transport->activity.on_enter = NULL;
    if (status == CE_OK && transport->rank == 0) {
        job->hash = hash_parts(job, err);
    }
    ce_parts_close(&parts);
    ce_engine_destroy(run.engine);
    ce_text_windows_close(&windows);
    return status;
}

static uint64_t hash_of(void **state, struct job job)
{
    static int jobs;
    struct ce_error err = {.text = ""};
    char name[24];

    (void)snprintf(name, sizeof(name), "parts%d", jobs++);
    job.dir = temporary_path(state, name);
    job.fails = -1;
    job.threads = job.threads > 0 ? job.threads : 1;
    job.passes = job.passes > 0 ? job.passes : 1;
    if (ce_threads_run(job.ranks, DEADLINE_MS, run_rank, &job, NULL, &err) != CE_OK) {
        fail_msg("%d ranks: %s", job.ranks, err.text);
    }
    return job.hash;
}

static bool is_quick(void)
{
    return getenv("CEMOE_SANITIZED") != NULL;
}

static void maps_are_the_same_on_any_ranks(void **state)
{
    const uint64_t alone = hash_of(state, (struct job){.ranks = 1});

    assert_int_equal(hash_of(state, (struct job){.ranks = 2, .threads = 2}), alone);
    assert_int_equal(hash_of(state, (struct job){.ranks = 4, .placement = "strided"}),
                     alone);
    if (!is_quick()) {
        assert_int_equal(hash_of(state, (struct job){.ranks = 3}), alone);
        assert_int_equal(hash_of(state, (struct job){.ranks = 1, .threads = 3}), alone);
        assert_int_equal(hash_of(state, (struct job){.ranks = 3, .passes = 2}), alone);
    }
}

static void kept_neurons_are_the_same_on_any_ranks(void **state)
{
    const uint64_t alone = hash_of(state, (struct job){.ranks = 1, .neurons = 8});

    assert_int_equal(hash_of(state, (struct job){.ranks = 2, .neurons = 8}), alone);
    assert_int_equal(
        hash_of(state, (struct job){.ranks = 3, .neurons = 8, .passes = 2}), alone);
    assert_int_not_equal(hash_of(state, (struct job){.ranks = 1, .neurons = 4}), alone);
}

static void vectors_are_the_same_on_any_ranks(void **state)
{
    const uint64_t alone = hash_of(state, (struct job){.ranks = 1, .scaling = true});

    assert_int_equal(
        hash_of(state, (struct job){.ranks = 2, .scaling = true, .threads = 2}), alone);
    assert_int_equal(
        hash_of(state,
                (struct job){.ranks = 4, .scaling = true, .placement = "strided"}),
        alone);
    if (!is_quick()) {
        assert_int_equal(hash_of(state, (struct job){.ranks = 3, .scaling = true}),
                         alone);
    }
}

static void a_rank_that_fails_ends_all(void **state)
{
    enum { RANKS = 3, FAILS = 1 };
    struct ce_threads_outcome outcome[RANKS];
    struct ce_error err = {.text = ""};
    struct job job = {.ranks = RANKS,
                      .threads = 1,
                      .passes = 1,
                      .fails = FAILS,
                      .dir = temporary_path(state, "fails")};

    assert_int_equal(ce_threads_run(RANKS, DEADLINE_MS, run_rank, &job, outcome, &err),
                     CE_ERR_NUMERIC);
    for (int r = 0; r < RANKS; r++) {
        assert_int_equal(outcome[r].status, CE_ERR_NUMERIC);
        assert_int_equal(outcome[r].err.rank, FAILS);
        assert_string_equal(outcome[r].err.text, "failed in the fit of layer 1");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            maps_are_the_same_on_any_ranks, temporary_setup, temporary_teardown),
        cmocka_unit_test_setup_teardown(kept_neurons_are_the_same_on_any_ranks,
                                        temporary_setup,
                                        temporary_teardown),
        cmocka_unit_test_setup_teardown(
            vectors_are_the_same_on_any_ranks, temporary_setup, temporary_teardown),
        cmocka_unit_test_setup_teardown(
            a_rank_that_fails_ends_all, temporary_setup, temporary_teardown),
    };

    ce_log_init(CE_LOG_WARN, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
