/* engine.c - from a model directory to an engine, on all ranks together
 *
 * Each phase is done by every rank alone and then agreed upon, so that a rank
 * that fails ends all with its message instead of leaving them waiting.
 */

#include "engine/engine.h"

#include "base/host.h"
#include "base/version.h"
#include "comm/collective.h"
#include "comm/hello.h"
#include "engine/engine_identity.h"
#include "model/identity_read.h"
#include "moe/placement_file.h"

#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is open only while loading. */
struct loading {
    struct ce_checkpoint checkpoint; /* one of these, neither with dummy weights */
    struct ce_packed_file packed;
    struct ce_safetensors tables;
    unsigned char *owned;
    struct ce_weights_request request;
    char *files; /* the small ones of the model, described for the comparison */
    struct ce_identity identity; /* of what this rank reads */
};

/* Phase 1: files that say what the model is, and where its experts are. */
static enum ce_status open_files(struct ce_engine *engine,
                                 const struct ce_engine_options *options,
                                 struct loading *loading,
                                 struct ce_error *err)
{
    enum ce_status status = ce_engine_check_options(options, err);

    if (status == CE_OK) {
        status = ce_engine_watch_files(engine, options, err);
    }
    if (status == CE_OK) {
        status = ce_config_load(&engine->config, options->model, err);
    }
    if (status == CE_OK) {
        status = ce_isa_choose(&engine->isa, err);
    }
    if (status == CE_OK) {
        status = ce_engine_describe_files(
            &loading->files, ce_kernels_get(engine->isa), options->model, err);
    }
    if (status == CE_OK) {
        status = ce_engine_open_weights(
            engine, options, &loading->checkpoint, &loading->packed, err);
    }
    if (status == CE_OK && options->compressed_experts != NULL) {
        status = ce_engine_open_compressed(
            engine, &loading->tables, options->compressed_experts, err);
    }
    if (status == CE_OK) {
        status = ce_wire_by_name(&engine->wire, options->wire, err);
    }
    if (status == CE_OK) {
        status = ce_kv_dtype_by_name(&engine->kv, options->kv, err);
    }
    if (status == CE_OK) {
        status = ce_combine_by_name(&engine->combine, options->combine, err);
    }
    if (status == CE_OK) {
        status = ce_overlap_by_name(&engine->overlap, options->overlap, err);
    }
    if (status == CE_OK) {
        status = ce_placement_open(&engine->placement,
                                   options->placement,
                                   engine->config.layers,
                                   engine->config.experts,
                                   engine->transport->ranks,
                                   err);
    }
    if (status == CE_OK) {
        status = ce_engine_choose_split(engine, options, err);
    }
    if (status == CE_OK && engine->split != CE_EXPERT_SPLIT_NONE &&
        loading->packed.path != NULL) {
        status =
            ce_fail(err,
                    CE_ERR_UNSUPPORTED,
                    "%s: a packed model cannot be split yet; use the checkpoint it "
                    "was made of, or --expert-split none",
                    loading->packed.path);
    }
    return status == CE_OK ? ce_engine_check_combine(engine, err) : status;
}

/* Everything all ranks must have alike, as "name=value" lines; malloc'ed. */
static char *describe_job(const struct ce_engine *engine,
                          const struct ce_engine_options *options,
                          const struct loading *loading)
{
    char *text = NULL;
    int length =
        asprintf(&text,
                 "compressed=%zu\nmain-experts=%zu\nstep-tokens=%zu\nwire=%s\n"
                 "combine=%s\nkv=%s\nexpert-split=%s\nstep-logits=%zu\n"
                 "placement=%s (%016" PRIx64 ")\n"
                 "weights=%s\ndense-weights=%s\ndummy=%s\nseed=%" PRIu64 "\npacked=%s\n"
                 "compressed-experts=%016" PRIx64 "\n%s%s",
                 engine->compressed,
                 engine->mains,
                 options->step_tokens,
                 ce_wire_name(engine->wire),
                 ce_combine_name(engine->combine),
                 ce_kv_dtype_name(engine->kv),
                 ce_expert_split_name(engine->split),
                 engine->split == CE_EXPERT_SPLIT_NODE ? options->step_logits : 0,
                 engine->placement.name,
                 ce_placement_hash(&engine->placement),
                 ce_weight_format_name(engine->formats.experts),
                 ce_weight_format_name(engine->formats.dense),
                 options->dummy_weights ? "yes" : "no",
                 options->dummy_weights ? options->dummy_seed : 0,
                 loading->packed.path != NULL ? "yes" : "no",
                 ce_safetensors_checksum(&loading->tables, ce_kernels_get(engine->isa)),
                 loading->files,
                 options->job != NULL ? options->job : "");

    return length < 0 ? NULL : text;
}

/* Phase 2: all ranks want the same thing; the kernel set all can run. */
static enum ce_status compare_ranks(struct ce_engine *engine,
                                    const struct ce_engine_options *options,
                                    const struct loading *loading,
                                    struct ce_error *err)
{
    struct ce_host host;

    ce_host_self(&host);
    char *job = describe_job(engine, options, loading);
    struct ce_hello hello = {.version = CE_VERSION,
                             .options = job,
                             .config_hash = ce_config_hash(&engine->config),
                             .isa = (int)engine->isa,
                             .threads = engine->threads,
                             .host = host.name,
                             .host_id = host.id};
    int lowest = 0;
    enum ce_status status = CE_OK;

    if (job == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory to describe the job");
    }
    status = ce_agree(engine->transport, status, err);
    if (status == CE_OK) {
        status = ce_hello_exchange(engine->transport,
                                   &hello,
                                   &lowest,
                                   engine->hosts,
                                   sizeof(engine->hosts),
                                   err);
        status = ce_agree(engine->transport, status, err);
    }
    if (status == CE_OK) {
        engine->isa = (enum ce_isa)lowest;
        engine->kernels = ce_kernels_get(engine->isa);
    }
    free(job);
    return status;
}

static enum ce_status list_owned(const struct ce_engine *engine,
                                 struct loading *loading,
                                 struct ce_error *err)
{
    const struct ce_placement *placement = &engine->placement;

    loading->owned = calloc(placement->layers * placement->experts, 1);
    if (loading->owned == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the list of experts");
    }
    if (engine->split == CE_EXPERT_SPLIT_NODE) {
        memset(loading->owned, 1, placement->layers * placement->experts);
    } else {
        ce_placement_mask(placement, engine->transport->rank, loading->owned);
    }
    return CE_OK;
}

/* Phase 3: every tensor is there and has its shape; what will it take? */
static enum ce_status plan_weights(struct ce_engine *engine,
                                   const struct ce_engine_options *options,
                                   struct loading *loading,
                                   struct ce_weights *plan,
                                   struct ce_error *err)
{
    enum ce_status status = list_owned(engine, loading, err);

    if (status != CE_OK) {
        return status;
    }
    loading->request = (struct ce_weights_request){
        .config = &engine->config,
        .checkpoint = &loading->checkpoint,
        .packed = loading->packed.path != NULL ? &loading->packed : NULL,
        .owned = loading->owned,
        .split = ce_engine_share(engine),
        .formats = engine->formats,
        .want_compressed = options->switchable || (engine->compressed > 0 &&
                                                   options->compressed_experts == NULL),
        .map = options->map_weights,
        .identity = options->dummy_weights ? NULL : &loading->identity,
        .kernels = engine->kernels};
    if (options->dummy_weights) {
        return ce_weights_plan_dummy(plan,
                                     &engine->config,
                                     loading->owned,
                                     loading->request.split,
                                     engine->formats,
                                     err);
    }
    return ce_weights_plan(plan, &loading->request, err);
}

/* Phase 4: the memory and the bytes of the weights. */
static enum ce_status load_weights(struct ce_engine *engine,
                                   const struct ce_engine_options *options,
                                   struct loading *loading,
                                   size_t *missing,
                                   struct ce_error *err)
{
    enum ce_status status = CE_OK;

    if (options->dummy_weights) {
        return ce_weights_dummy(&engine->weights,
                                &engine->config,
                                loading->owned,
                                loading->request.split,
                                engine->formats,
                                options->dummy_seed,
                                err);
    }
    status = ce_engine_watch_weights(engine, &loading->request, err);
    if (status == CE_OK) {
        status = ce_weights_load(&engine->weights, &loading->request, missing, err);
    }
    return status == CE_OK ? ce_file_watch_check(&engine->files, true, err) : status;
}

/* Phase 5: the compressed experts, which are of one model, and all other memory. */
static enum ce_status load_rest(struct ce_engine *engine,
                                const struct loading *loading,
                                size_t missing,
                                struct ce_error *err)
{
    struct ce_arena measure = {0};
    enum ce_status status = CE_OK;

    if (engine->separate.kind != CE_COMPRESSED_NONE) {
        status = ce_engine_load_compressed(engine, &loading->tables, err);
    }
    if (status != CE_OK) {
        return status;
    }
    ce_engine_warn_compressed(engine, missing);
    ce_arena_measure(&measure);
    ce_engine_take(engine, &measure);
    status = ce_arena_create(&engine->arena, measure.used, err);
    if (status == CE_OK) {
        ce_engine_take(engine, &engine->arena);
    }
    return status;
}

/* Both, and between them: is it one model that the ranks have loaded? */
static enum ce_status load(struct ce_engine *engine,
                           const struct ce_engine_options *options,
                           struct loading *loading,
                           struct ce_error *err)
{
    struct ce_transport *transport = engine->transport;
    size_t missing = 0;
    enum ce_status status =
        ce_agree(transport, load_weights(engine, options, loading, &missing, err), err);

    if (status == CE_OK && options->dummy_weights) {
        ce_engine_identify_dummy(engine, options->dummy_seed);
    } else if (status == CE_OK) {
        status = ce_engine_identify(engine, &loading->identity, &loading->request, err);
    }
    return status == CE_OK
               ? ce_agree(transport, load_rest(engine, loading, missing, err), err)
               : status;
}

/* Agreements; reports at the end are larger and are received as they come. */
#define CONTROL_BYTES ((size_t)4 << 10)

/* Loading takes longer than a step: ranks may wait that much longer for the
 * slowest file system. */
#define LOADING_DEADLINE_FACTOR 30

/* The longest sequence the context and the cache allow, in whole pages. */
static size_t longest_sequence(const struct ce_engine *engine)
{
    size_t tokens = engine->config.max_positions;

    if (tokens > engine->options.cache_tokens) {
        tokens = engine->options.cache_tokens;
    }
    return (tokens + CE_PAGE_TOKENS - 1) / CE_PAGE_TOKENS * CE_PAGE_TOKENS;
}

/* All that comes before memory is taken: the ranks want the same of one model. `plan`
 * is to be destroyed also after a failure. */
static enum ce_status prepare(struct ce_engine *engine,
                              const struct ce_engine_options *options,
                              struct loading *loading,
                              struct ce_weights *plan,
                              struct ce_error *err)
{
    struct ce_transport *transport = engine->transport;
    enum ce_status status = ce_transport_enter(transport, "load", CE_OK, err);

    if (status == CE_OK) {
        status = open_files(engine, options, loading, err);
    }
    if (status == CE_OK) {
        status = ce_engine_choose_experts(engine, options, err);
    }
    status = ce_agree(transport, status, err);
    if (status == CE_OK) {
        status = compare_ranks(engine, options, loading, err);
    }
    if (status != CE_OK) {
        return status;
    }
    engine->sequence_positions = longest_sequence(engine);
    status =
        ce_agree(transport, plan_weights(engine, options, loading, plan, err), err);
    return status == CE_OK
               ? ce_engine_compare_files(engine, options->model, &loading->request, err)
               : status;
}

static enum ce_status create(struct ce_engine *engine,
                             const struct ce_engine_options *options,
                             struct loading *loading,
                             struct ce_error *err)
{
    struct ce_transport *transport = engine->transport;
    struct ce_weights plan = {0};
    enum ce_status status = prepare(engine, options, loading, &plan, err);

    if (status == CE_OK) {
        status = ce_engine_check_memory(engine, &plan, err);
    }
    ce_weights_destroy(&plan);
    if (status == CE_OK) {
        status = ce_engine_open_window(engine, err);
    }
    if (status == CE_OK) {
        status = load(engine, options, loading, err);
    }
    if (status == CE_OK) {
        engine->message_size[CE_SLOT_CONTROL] =
            (struct ce_message_size){CONTROL_BYTES, CONTROL_BYTES};
        status = ce_agree(
            transport, ce_transport_prepare(transport, engine->message_size, err), err);
    }
    return status;
}

static enum ce_status compare(struct ce_engine *engine,
                              const struct ce_engine_options *options,
                              struct loading *loading,
                              struct ce_error *err)
{
    struct ce_weights plan = {0};
    enum ce_status status = prepare(engine, options, loading, &plan, err);

    ce_weights_destroy(&plan);
    return status;
}

/* Reads a share of the weights, and puts the shares of all together. */
static enum ce_status find_identity(struct ce_engine *engine,
                                    const struct ce_engine_options *options,
                                    struct loading *loading,
                                    struct ce_error *err)
{
    struct ce_transport *transport = engine->transport;
    struct ce_weights plan = {0};
    enum ce_status status = prepare(engine, options, loading, &plan, err);

    ce_weights_destroy(&plan);
    if (status == CE_OK && options->dummy_weights) {
        ce_engine_identify_dummy(engine, options->dummy_seed);
        return CE_OK;
    }
    if (status == CE_OK) {
        status = ce_agree(transport,
                          ce_identity_read(&loading->identity,
                                           &loading->request,
                                           (size_t)transport->rank,
                                           (size_t)transport->ranks,
                                           err),
                          err);
    }
    return status == CE_OK
               ? ce_engine_identify(engine, &loading->identity, &loading->request, err)
               : status;
}

static void close_files(struct loading *loading)
{
    free(loading->owned);
    free(loading->files);
    ce_identity_free(&loading->identity);
    ce_safetensors_close(&loading->tables);
    ce_packed_file_close(&loading->packed);
    ce_checkpoint_close(&loading->checkpoint);
}

/* NULL when there is no memory. */
static struct ce_engine *begin(struct ce_transport *transport,
                               const struct ce_engine_options *options)
{
    struct ce_engine *engine = calloc(1, sizeof(*engine));

    if (engine != NULL) {
        engine->transport = transport;
        engine->threads = omp_get_max_threads();
        engine->options = *options;
        engine->options.model = NULL;
        engine->options.compressed_experts = NULL;
        engine->options.job = NULL;
        engine->options.weights = NULL;
        engine->options.dense_weights = NULL;
        engine->options.wire = NULL;
        engine->options.kv = NULL;
        engine->options.combine = NULL;
        engine->options.overlap = NULL;
        engine->options.placement = NULL;
        engine->options.expert_split = NULL;
    }
    return engine;
}

typedef enum ce_status phase(struct ce_engine *engine,
                             const struct ce_engine_options *options,
                             struct loading *loading,
                             struct ce_error *err);

/* An engine that has gone through a phase in which every rank may wait for the slowest;
 * NULL after a failure. */
static enum ce_status run_phase(struct ce_engine **out,
                                struct ce_transport *transport,
                                const struct ce_engine_options *options,
                                phase *run,
                                struct ce_error *err)
{
    struct ce_engine *engine = begin(transport, options);
    struct loading loading = {0};
    uint64_t deadline_ms = transport->deadline_ms;
    enum ce_status status = CE_OK;

    *out = NULL;
    if (engine == NULL) {
        return ce_agree(
            transport, ce_fail(err, CE_ERR_NOMEM, "no memory for an engine"), err);
    }
    if (deadline_ms < UINT64_MAX / LOADING_DEADLINE_FACTOR) {
        transport->deadline_ms = deadline_ms * LOADING_DEADLINE_FACTOR;
    }
    status = run(engine, options, &loading, err);
    transport->deadline_ms = deadline_ms;
    transport->activity.stage = NULL;
    close_files(&loading);
    if (status != CE_OK) {
        ce_engine_destroy(engine);
        return status;
    }
    *out = engine;
    return CE_OK;
}

enum ce_status ce_engine_create(struct ce_engine **out,
                                struct ce_transport *transport,
                                const struct ce_engine_options *options,
                                struct ce_error *err)
{
    enum ce_status status = run_phase(out, transport, options, create, err);

    if (status == CE_OK) {
        ce_engine_log(*out);
    }
    return status;
}

enum ce_status ce_engine_find_identity(struct ce_engine_identity *identity,
                                       struct ce_transport *transport,
                                       const struct ce_engine_options *options,
                                       struct ce_error *err)
{
    struct ce_engine *engine = NULL;
    enum ce_status status = run_phase(&engine, transport, options, find_identity, err);

    if (status == CE_OK) {
        *identity = engine->identity;
    }
    ce_engine_destroy(engine);
    return status;
}

enum ce_status ce_engine_compare(struct ce_transport *transport,
                                 const struct ce_engine_options *options,
                                 struct ce_error *err)
{
    struct ce_engine *engine = NULL;
    enum ce_status status = run_phase(&engine, transport, options, compare, err);

    ce_engine_destroy(engine);
    return status;
}

enum ce_status ce_engine_foresee(struct ce_memory_plan *plan,
                                 struct ce_transport *transport,
                                 const struct ce_engine_options *options,
                                 struct ce_error *err)
{
    struct ce_engine *engine = begin(transport, options);
    struct loading loading = {0};
    struct ce_weights weights = {0};
    enum ce_status status = CE_OK;

    if (engine == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for an engine");
    }
    status = open_files(engine, options, &loading, err);
    if (status == CE_OK) {
        status = ce_engine_choose_experts(engine, options, err);
    }
    if (status == CE_OK) {
        engine->kernels = ce_kernels_get(engine->isa);
        engine->sequence_positions = longest_sequence(engine);
        status = plan_weights(engine, options, &loading, &weights, err);
    }
    if (status == CE_OK) {
        ce_engine_measure(engine, &weights);
        *plan = engine->plan;
    }
    ce_weights_destroy(&weights);
    close_files(&loading);
    ce_engine_destroy(engine);
    return status;
}

void ce_engine_destroy(struct ce_engine *engine)
{
    if (engine == NULL) {
        return;
    }
    ce_arena_destroy(&engine->arena);
    ce_compressed_experts_destroy(&engine->separate);
    ce_weights_destroy(&engine->weights);
    ce_placement_destroy(&engine->placement);
    ce_placement_destroy(&engine->whole);
    ce_window_destroy(engine->window);
    ce_file_watch_free(&engine->files);
    free(engine->peers);
    free(engine);
}
