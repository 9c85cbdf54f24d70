/* test_forward.c - every stage of the model against Hugging Face's values
 *
 * README.md of this folder says where the values come from and why these
 * tolerances. A stage is compared within a whole run, so its error includes
 * those of the stages before; a failure names the first stage that is off.
 */

#include "engine/engine.h"
#include "engine/generation.h"
#include "golden.h"
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGE_TOLERANCE  3e-5
#define LOGITS_TOLERANCE 1e-4
#define BLOCK_TOLERANCE  1e-5

/* One model as the tests run it. */
struct subject {
    const char *name;  /* folder under tests/golden, or of deploy/model */
    const char *model; /* path */
    const char *tables;
    const char *run; /* "full", "ce", "cemath" */
    int compressed;
    int truncated;
};

struct run {
    const struct subject *subject;
    struct ce_safetensors golden;
    struct ce_transport *transport;
    struct ce_engine *engine;
    char prefix[64]; /* "p0.full." */
    double worst;
};

static void open_run(struct run *run, const struct subject *subject, const char *golden)
{
    struct ce_engine_options options;
    struct ce_error err = {.text = ""};

    *run = (struct run){.subject = subject};
    ce_engine_options_init(&options);
    options.model = subject->model;
    options.compressed_experts = subject->tables;
    options.compressed = subject->compressed;
    options.truncated = subject->truncated;
    options.step_tokens = 256;
    options.step_logits = 256;
    options.cache_tokens = 512;
    assert_ok(ce_safetensors_open(&run->golden, golden, &err), &err);
    assert_ok(ce_transport_create(&run->transport, "self", 0, &err), &err);
    assert_ok(ce_engine_create(&run->engine, run->transport, &options, &err), &err);
}

static void close_run(struct run *run)
{
    ce_engine_destroy(run->engine);
    ce_transport_destroy(run->transport);
    ce_safetensors_close(&run->golden);
}

static const struct ce_tensor *find(const struct run *run, const char *name)
{
    char full[128];

    (void)snprintf(full, sizeof(full), "%s%s", run->prefix, name);
    return ce_safetensors_find(&run->golden, full);
}

static const struct ce_tensor *need(const struct run *run, const char *name)
{
    const struct ce_tensor *tensor = find(run, name);

    if (tensor == NULL) {
        fail_msg(
            "golden file of %s has no %s%s", run->subject->name, run->prefix, name);
    }
    return tensor;
}

static void check_rows(struct run *run,
                       const char *name,
                       const float *values,
                       const struct ce_tensor *golden,
                       double tolerance)
{
    size_t width = golden->shape[1];

    for (size_t t = 0; t < golden->shape[0]; t++) {
        double error = row_error(values + t * width, golden, t);

        run->worst = error > run->worst ? error : run->worst;
        if (!(error <= tolerance)) {
            fail_msg("%s %s%s row %zu: relative error %.2e is over %.0e",
                     run->subject->name,
                     run->prefix,
                     name,
                     t,
                     error,
                     tolerance);
        }
    }
}

/* The experts chosen for each token, ids exactly. */
static void check_routing(struct run *run, size_t layer)
{
    const struct ce_routing *routing = &run->engine->moe.routing;
    size_t count = routing->tokens * routing->top_k;
    char name[64];
    const int32_t *ids = NULL;

    (void)snprintf(name, sizeof(name), "layer%zu.topk_ids", layer);
    if (find(run, name) == NULL) {
        return;
    }
    ids = golden_ids(need(run, name));
    for (size_t i = 0; i < count; i++) {
        if (routing->expert[i] != ids[i]) {
            fail_msg("%s %s%s: choice %zu is expert %d, expected %d",
                     run->subject->name,
                     run->prefix,
                     name,
                     i,
                     routing->expert[i],
                     ids[i]);
        }
    }
    (void)snprintf(name, sizeof(name), "layer%zu.topk_weights", layer);
    check_rows(run, name, routing->weight, need(run, name), STAGE_TOLERANCE);
}

static void see(void *context,
                const char *stage,
                size_t layer,
                const float *values,
                size_t tokens,
                size_t hidden)
{
    struct run *run = context;
    const struct ce_tensor *golden = NULL;
    char name[64];

    (void)tokens;
    (void)hidden;
    if (strcmp(stage, "embed") == 0) {
        (void)snprintf(name, sizeof(name), "embed");
    } else {
        (void)snprintf(name, sizeof(name), "layer%zu.%s", layer, stage);
    }
    if (strcmp(stage, "moe_out") == 0) {
        check_routing(run, layer);
    }
    golden = find(run, name);
    if (golden != NULL) {
        check_rows(run, name, values, golden, STAGE_TOLERANCE);
    }
}

static void set_prompt(struct run *run, int prompt)
{
    (void)snprintf(
        run->prefix, sizeof(run->prefix), "p%d.%s.", prompt, run->subject->run);
}

static const struct ce_tensor *prompt_ids(const struct run *run, int prompt)
{
    char name[32];

    (void)snprintf(name, sizeof(name), "p%d.ids", prompt);
    return ce_safetensors_find(&run->golden, name);
}

/* All tokens in one step; every stage is seen. */
static void check_prompt(struct run *run, int prompt)
{
    const struct ce_tensor *ids = prompt_ids(run, prompt);
    struct ce_step_item item = {
        .tokens = golden_ids(ids), .count = ids->shape[0], .logits = CE_LOGITS_ALL};
    const float *logits = NULL;
    struct ce_error err = {.text = ""};

    set_prompt(run, prompt);
    run->engine->observer = (struct ce_observer){see, run};
    assert_ok(ce_sequence_create(&item.sequence, run->engine, &err), &err);
    assert_ok(ce_engine_step(run->engine, &item, 1, &logits, &err), &err);
    if (run->subject->truncated == 0 && find(run, "norm") != NULL) {
        check_rows(
            run, "norm", run->engine->act.last, need(run, "norm"), STAGE_TOLERANCE);
    }
    check_rows(run, "logits", logits, need(run, "logits"), LOGITS_TOLERANCE);
    run->engine->observer = (struct ce_observer){0};
    ce_sequence_destroy(item.sequence);
}

/* The shipped model's file has some positions only. */
static void check_positions(struct run *run, int prompt)
{
    const struct ce_tensor *ids = prompt_ids(run, prompt);
    struct ce_step_item item = {
        .tokens = golden_ids(ids), .count = ids->shape[0], .logits = CE_LOGITS_ALL};
    const struct ce_tensor *golden = NULL;
    const int32_t *position = NULL;
    const float *logits = NULL;
    char name[32];
    struct ce_error err = {.text = ""};

    set_prompt(run, prompt);
    (void)snprintf(name, sizeof(name), "p%d.positions", prompt);
    position = golden_ids(ce_safetensors_find(&run->golden, name));
    golden = need(run, "logits");
    run->engine->observer = (struct ce_observer){see, run};
    assert_ok(ce_sequence_create(&item.sequence, run->engine, &err), &err);
    assert_ok(ce_engine_step(run->engine, &item, 1, &logits, &err), &err);
    for (size_t i = 0; i < golden->shape[0]; i++) {
        double error =
            row_error(logits + (size_t)position[i] * golden->shape[1], golden, i);

        run->worst = error > run->worst ? error : run->worst;
        if (!(error <= LOGITS_TOLERANCE)) {
            fail_msg("%s %slogits position %d: relative error %.2e",
                     run->subject->name,
                     run->prefix,
                     position[i],
                     error);
        }
    }
    run->engine->observer = (struct ce_observer){0};
    ce_sequence_destroy(item.sequence);
}

struct continuation {
    const struct run *run;
    const int32_t *expected;
    size_t count;
    size_t seen;
};

static void on_token(void *context, size_t request, int32_t id, enum ce_finish finish)
{
    struct continuation *c = context;

    (void)request;
    (void)finish;
    if (c->seen >= c->count || id != c->expected[c->seen]) {
        fail_msg("%s %sgreedy: token %zu is %d, expected %d",
                 c->run->subject->name,
                 c->run->prefix,
                 c->seen,
                 id,
                 c->seen < c->count ? c->expected[c->seen] : -1);
    }
    c->seen++;
}

static void check_greedy(struct run *run, int prompt)
{
    const struct ce_tensor *ids = prompt_ids(run, prompt);
    const struct ce_tensor *greedy = NULL;
    struct continuation continuation = {.run = run};
    struct ce_generation_request request = {.prompt = golden_ids(ids),
                                            .prompt_tokens = ids->shape[0]};
    struct ce_generation generation = {.requests = &request,
                                       .count = 1,
                                       .vocab = run->engine->config.vocab_size,
                                       .ignore_stop = true,
                                       .on_token = on_token,
                                       .context = &continuation};
    struct ce_error err = {.text = ""};

    set_prompt(run, prompt);
    greedy = need(run, "greedy");
    continuation.expected = golden_ids(greedy);
    continuation.count = greedy->shape[0];
    request.max_tokens = greedy->shape[0];
    assert_ok(ce_generate(run->engine, &generation, &err), &err);
    assert_int_equal(continuation.seen, continuation.count);
}

/* The compressed block alone, on the full run's input of each layer. */
static void check_block(struct run *run, int prompt)
{
    struct ce_engine *engine = run->engine;
    struct ce_error err = {.text = ""};

    (void)snprintf(run->prefix, sizeof(run->prefix), "p%d.full.", prompt);
    for (size_t layer = 0; layer < engine->config.layers; layer++) {
        const struct ce_tensor *in = NULL;
        const struct ce_tensor *out = NULL;
        char name[64];

        (void)snprintf(name, sizeof(name), "layer%zu.moe_in", layer);
        in = find(run, name);
        (void)snprintf(name, sizeof(name), "layer%zu.moe_out_ce", layer);
        out = find(run, name);
        if (in == NULL || out == NULL) {
            continue;
        }
        golden_floats(engine->act.normed, in);
        assert_ok(ce_moe_run(&engine->moe,
                             &engine->weights.layers[layer],
                             layer,
                             1,
                             CE_OK,
                             engine->act.normed,
                             engine->act.branch,
                             in->shape[0],
                             &err),
                  &err);
        check_rows(run, name, engine->act.branch, out, BLOCK_TOLERANCE);
    }
}

static void check_tiny(const struct subject *subject)
{
    char golden[512];
    struct run run;

    (void)snprintf(golden, sizeof(golden), "%s/golden.safetensors", subject->model);
    open_run(&run, subject, golden);
    for (int prompt = 0; prompt < 2; prompt++) {
        check_prompt(&run, prompt);
        if (subject->truncated == 0) {
            check_greedy(&run, prompt);
        }
        if (subject->compressed > 0) {
            check_block(&run, prompt);
        }
    }
    print_message(
        "%s %s: worst relative error %.2e\n", subject->name, subject->run, run.worst);
    close_run(&run);
}

static void check_shipped(const struct subject *subject)
{
    struct run run;

    open_run(&run, subject, CE_TEST_SOURCE_DIR "/golden/shipped.safetensors");
    for (int prompt = 0; prompt < 6; prompt++) {
        check_positions(&run, prompt);
        check_greedy(&run, prompt);
        if (strcmp(subject->run, "ce") == 0) {
            check_block(&run, prompt);
        }
    }
    print_message(
        "%s %s: worst relative error %.2e\n", subject->name, subject->run, run.worst);
    close_run(&run);
}

#define TINY(folder) .name = folder, .model = CE_TEST_SOURCE_DIR "/golden/" folder

static void gqa_f32(void **state)
{
    (void)state;
    check_tiny(&(struct subject){TINY("gqa_f32"), .run = "full"});
    check_tiny(&(struct subject){TINY("gqa_f32"),
                                 .tables = CE_TEST_SOURCE_DIR
                                 "/golden/gqa_f32/ces.safetensors",
                                 .run = "ce",
                                 .compressed = 1});
    check_tiny(&(struct subject){TINY("gqa_f32"), .run = "top", .truncated = 1});
}

static void tied_bf16(void **state)
{
    (void)state;
    check_tiny(&(struct subject){TINY("tied_bf16"), .run = "full"});
    check_tiny(&(struct subject){TINY("tied_bf16"),
                                 .tables = CE_TEST_SOURCE_DIR
                                 "/golden/tied_bf16/ces.safetensors",
                                 .run = "ce",
                                 .compressed = 2});
    check_tiny(&(struct subject){TINY("tied_bf16"), .run = "top", .truncated = 2});
}

static void sharded_f16(void **state)
{
    (void)state;
    check_tiny(&(struct subject){TINY("sharded_f16"), .run = "full"});
}

static void fused_bf16(void **state)
{
    (void)state;
    check_tiny(&(struct subject){TINY("fused_bf16"), .run = "full"});
    check_tiny(&(struct subject){TINY("fused_bf16"), .run = "ce", .compressed = 2});
    check_tiny(&(struct subject){TINY("fused_bf16"), .run = "top", .truncated = 2});
}

static void shipped_model(void **state)
{
    (void)state;
    check_shipped(
        &(struct subject){.name = "shipped", .model = CE_MODEL_DIR, .run = "full"});
    check_shipped(&(struct subject){.name = "shipped",
                                    .model = CE_MODEL_DIR,
                                    .tables = CE_MODEL_DIR "/ces-math.safetensors",
                                    .run = "ce",
                                    .compressed = 2});
    check_shipped(&(struct subject){.name = "shipped",
                                    .model = CE_MODEL_DIR "/ce-math",
                                    .run = "cemath",
                                    .compressed = CE_COMPRESSED_DEFAULT});
}

/* Against NumPy in double precision; n_ce is what the file says. */
static void affine_experts(void **state)
{
    (void)state;
    const struct subject subject = {.name = "affine",
                                    .model = CE_MODEL_DIR,
                                    .tables = CE_TEST_SOURCE_DIR
                                    "/golden/affine/compressed.safetensors",
                                    .run = "affine",
                                    .compressed = CE_COMPRESSED_DEFAULT};
    struct run run;

    open_run(&run, &subject, CE_TEST_SOURCE_DIR "/golden/affine/golden.safetensors");
    for (int prompt = 0; prompt < 3; prompt++) {
        check_positions(&run, prompt);
    }
    print_message("affine: worst relative error %.2e\n", run.worst);
    close_run(&run);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gqa_f32),
        cmocka_unit_test(tied_bf16),
        cmocka_unit_test(sharded_f16),
        cmocka_unit_test(fused_bf16),
        cmocka_unit_test(shipped_model),
        cmocka_unit_test(affine_experts),
    };

    return cmocka_run_group_tests_name("golden.forward", tests, NULL, NULL);
}
