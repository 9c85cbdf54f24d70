/* calibrate_needs.c - memory found out before the model is loaded */

#include "base/host.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/streams.h"
#include "calibrate/walk.h"
#include "comm/collective.h"
#include "moe/placement_file.h"
#include "tools/calibrate.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct ce_engine_options ce_calibrate_engine_options(const struct ce_calibrate_job *job)
{
    const struct ce_calibrate_values *values = job->values;
    const struct ce_model_values model = {.model = values->model,
                                          .weights = values->weights,
                                          .dense_weights = values->dense_weights,
                                          .map_weights = values->map_weights,
                                          .kv = values->kv};
    struct ce_engine_options options = ce_session_engine_options(&job->session, &model);

    options.overlap = "off"; /* all sources in one batch, so in the order of ranks */
    if (options.step_tokens < job->windows.longest) {
        options.step_tokens = job->windows.longest;
    }
    options.step_logits = 1; /* there are none */
    if (options.cache_tokens == 0) {
        options.cache_tokens = ce_walk_cache_tokens(&job->windows, options.step_tokens);
    }
    options.dummy_weights = values->dummy_given;
    options.dummy_seed = values->dummy_weights;
    options.extra_bytes = job->needs.total;
    return options;
}

/* What ranks tell each other: the host to share memory by, and passes in the end. */
struct told {
    struct ce_host host;
    uint64_t passes;
};

static enum ce_status count_neighbours(const struct ce_calibrate_job *job,
                                       size_t *neighbours,
                                       struct ce_error *err)
{
    struct told mine = {.passes = 0};
    const struct ce_bytes *all = NULL;
    enum ce_status status = CE_OK;

    ce_host_self(&mine.host);
    status = ce_allgather(
        job->session.transport, (struct ce_bytes){&mine, sizeof(mine)}, &all, err);
    *neighbours = 0;
    for (int r = 0; status == CE_OK && r < job->session.transport->ranks; r++) {
        struct told theirs;

        if (all[r].bytes != sizeof(theirs)) {
            ce_transport_fail(job->session.transport);
            return ce_fail(err, CE_ERR_COMM, "rank %d sent no name of a host", r);
        }
        memcpy(&theirs, all[r].data, sizeof(theirs));
        *neighbours += ce_host_is_same(&theirs.host, &mine.host);
    }
    return status;
}

static enum ce_status
share_passes(struct ce_calibrate_job *job, size_t *passes, struct ce_error *err)
{
    const struct told mine = {.passes = job->needs.passes};
    const struct ce_bytes *all = NULL;
    enum ce_status status = ce_allgather(
        job->session.transport, (struct ce_bytes){&mine, sizeof(mine)}, &all, err);

    for (int r = 0; status == CE_OK && r < job->session.transport->ranks; r++) {
        struct told theirs = {.passes = 0};

        if (all[r].bytes != sizeof(theirs)) {
            ce_transport_fail(job->session.transport);
            return ce_fail(err, CE_ERR_COMM, "rank %d sent no memory plan", r);
        }
        memcpy(&theirs, all[r].data, sizeof(theirs));
        *passes = theirs.passes > *passes ? (size_t)theirs.passes : *passes;
    }
    return status;
}

/* This rank's part of what is free on its host, or what --memory says. */
static enum ce_status
find_limit(struct ce_calibrate_job *job, size_t neighbours, struct ce_error *err)
{
    const uint64_t available = ce_memory_available();
    const size_t part = (size_t)(available / (neighbours > 0 ? neighbours : 1));

    job->memory_limit = job->values->memory > 0 ? job->values->memory : part;
    if (job->memory_limit > part && !job->values->plan) {
        return ce_fail(
            err,
            CE_ERR_NOMEM,
            "--memory of %.1f MiB per rank for %zu rank(s) on this host, which "
            "has %.1f MiB left",
            (double)job->memory_limit / 0x1p20,
            neighbours,
            (double)available / 0x1p20);
    }
    return CE_OK;
}

static struct ce_calibrate_sizes sizes_of(const struct ce_calibrate_job *job,
                                          size_t own_experts)
{
    const struct ce_transport *transport = job->session.transport;
    const struct ce_engine_options options = ce_calibrate_engine_options(job);
    const struct ce_text_windows *windows = &job->windows;
    const struct ce_walk_limits limits = {.step_tokens = options.step_tokens,
                                          .cache_tokens = options.cache_tokens,
                                          .ranks = transport->ranks};

    return (struct ce_calibrate_sizes){
        .shape = job->layers.shape,
        .intermediate = job->config.intermediate_size,
        .experts = job->config.experts,
        .own_experts = own_experts,
        .own_tokens = ce_walk_tokens(windows, &limits, transport->rank),
        .all_tokens = windows->tokens[CE_TEXT_FIT] + windows->tokens[CE_TEXT_HELDOUT],
        .windows = windows->count[CE_TEXT_FIT] + windows->count[CE_TEXT_HELDOUT],
        .threads = (size_t)omp_get_max_threads(),
        .gathers = transport->rank == 0};
}

static enum ce_status
find_own(struct ce_calibrate_job *job, size_t *own, struct ce_error *err)
{
    struct ce_placement placement = {0};
    enum ce_status status = ce_placement_open(&placement,
                                              job->values->run.placement,
                                              job->config.layers,
                                              job->config.experts,
                                              job->session.transport->ranks,
                                              err);

    if (status == CE_OK && ce_placement_has_replicas(&placement)) {
        status = ce_fail(err,
                         CE_ERR_UNSUPPORTED,
                         "placement %s has experts with several owners: the rows of "
                         "such a one would be on several ranks",
                         placement.name);
    }
    if (status == CE_OK) {
        *own = ce_placement_largest_shard(&placement);
    }
    ce_placement_destroy(&placement);
    return status;
}

static enum ce_status find_alone(struct ce_calibrate_job *job,
                                 size_t neighbours,
                                 size_t *own,
                                 struct ce_error *err)
{
    const struct ce_engine_options options = ce_calibrate_engine_options(job);
    enum ce_status status = find_limit(job, neighbours, err);
    size_t left = 0;

    if (status == CE_OK) {
        status = find_own(job, own, err);
    }
    if (status == CE_OK) {
        status =
            ce_engine_foresee(&job->engine_plan, job->session.transport, &options, err);
    }
    if (status != CE_OK) {
        return status;
    }
    const struct ce_calibrate_sizes sizes = sizes_of(job, *own);
    const size_t taken = job->engine_plan.total + CE_CALIBRATE_PROGRAM_BYTES;

    if (job->memory_limit > taken) {
        left = job->memory_limit - taken;
    }
    status = ce_calibrate_is_scaling(job)
                 ? ce_calibrate_scaling_needs(job, left, err)
                 : ce_calibrate_needs_find(&job->needs, &sizes, left, err);
    if (status != CE_OK) {
        ce_error_prefix(err,
                        "of %.1f MiB (--memory) program and model take %.1f",
                        (double)job->memory_limit / 0x1p20,
                        (double)taken / 0x1p20);
    }
    return status;
}

enum ce_status ce_calibrate_find_needs(struct ce_calibrate_job *job,
                                       struct ce_error *err)
{
    size_t neighbours = 1;
    size_t own = 0;
    enum ce_status status = count_neighbours(job, &neighbours, err);

    if (status == CE_OK) {
        status = ce_agree(
            job->session.transport, find_alone(job, neighbours, &own, err), err);
    }
    if (status == CE_OK) {
        size_t passes = job->needs.passes;
        const struct ce_calibrate_sizes sizes = sizes_of(job, own);

        status = share_passes(job, &passes, err);
        if (status == CE_OK && passes > job->needs.passes) {
            ce_calibrate_needs_spread(&job->needs, &sizes, passes);
        }
    }
    job->layers.needs = job->needs;
    return status;
}

size_t ce_calibrate_planned_bytes(const struct ce_calibrate_job *job)
{
    return CE_CALIBRATE_PROGRAM_BYTES + job->engine_plan.total + job->needs.total;
}

/* ---- --plan ---- */

enum { COMMON_NEEDS = 6 };

/* What any kind needs, before its own. */
static void list_common(const struct ce_calibrate_job *job,
                        struct ce_calibrate_need need[COMMON_NEEDS])
{
    const struct ce_memory_plan *engine = &job->engine_plan;
    const struct ce_calibrate_need common[COMMON_NEEDS] = {
        {"program_bytes", "program", CE_CALIBRATE_PROGRAM_BYTES, ""},
        {"model_bytes", "weights", engine->dense + engine->experts, ""},
        {"cache_bytes", "KV cache", engine->cache, ""},
        {"buffer_bytes", "buffers, messages", engine->scratch + engine->receive, ""},
        {"token_bytes", "tokens", job->needs.tokens, ""},
        {"residual_bytes", "residual stream", job->needs.residual, ""}};

    memcpy(need, common, sizeof(common));
}

static void
add_needs(json_t *memory, const struct ce_calibrate_need *need, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ce_json_set_integer(memory, need[i].key, need[i].bytes);
    }
}

json_t *ce_calibrate_describe_needs(const struct ce_calibrate_job *job,
                                    const struct ce_calibrate_need *own,
                                    size_t count)
{
    struct ce_calibrate_need common[COMMON_NEEDS];
    json_t *object = json_object();
    json_t *memory = json_object();

    list_common(job, common);
    add_needs(memory, common, COMMON_NEEDS);
    add_needs(memory, own, count);
    ce_json_set_integer(memory, "total_bytes", ce_calibrate_planned_bytes(job));
    ce_json_set_integer(memory, "limit_bytes", job->memory_limit);
    ce_json_set_integer(object, "tokens", job->windows.tokens[CE_TEXT_FIT]);
    ce_json_set_integer(object, "heldout_tokens", job->windows.tokens[CE_TEXT_HELDOUT]);
    json_object_set_new(object, "memory", memory);
    return object;
}

static void print_needs(const struct ce_calibrate_need *need, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ce_print("%-20s %10.1f MiB%s\n",
                 need[i].name,
                 (double)need[i].bytes / 0x1p20,
                 need[i].note);
    }
}

void ce_calibrate_print_needs(const struct ce_calibrate_job *job,
                              const struct ce_calibrate_need *own,
                              size_t count)
{
    struct ce_calibrate_need common[COMMON_NEEDS];
    struct ce_calibrate_need total = {
        NULL, "total", ce_calibrate_planned_bytes(job), ""};

    list_common(job, common);
    (void)snprintf(total.note,
                   sizeof(total.note),
                   "   of %.1f MiB",
                   (double)job->memory_limit / 0x1p20);
    ce_print("memory of rank 0\n");
    print_needs(common, COMMON_NEEDS);
    print_needs(own, count);
    print_needs(&total, 1);
}

static int print_json(const struct ce_calibrate_job *job,
                      const struct ce_calibrate_need *own,
                      size_t count)
{
    json_t *object = ce_calibrate_describe_needs(job, own, count);

    ce_json_set_integer(object, "most_rank", job->layers.shape.most_rank);
    ce_json_set_integer(object, "neurons", job->layers.shape.neurons);
    ce_json_set_integer(object, "passes", job->needs.passes);
    ce_json_set_integer(object, "experts_at_once", job->needs.slots);
    ce_json_set_integer(object, "solver_threads", job->needs.solvers);
    return ce_print_json(object);
}

int ce_calibrate_print_plan(const struct ce_calibrate_job *job)
{
    const struct ce_calibrate_needs *needs = &job->needs;
    const size_t for_neurons = job->layers.shape.neurons > 0 ? 1 : 0;
    struct ce_calibrate_need own[] = {
        {"moment_bytes", "moments and rows", needs->moments, ""},
        {"solve_bytes", "solving", needs->solve, ""},
        {"record_bytes", "fits of a layer", needs->records, ""}};
    const size_t count = sizeof(own) / sizeof(own[0]);

    if (ce_calibrate_is_scaling(job)) {
        return ce_calibrate_scaling_print_plan(job);
    }
    if (job->values->json) {
        return print_json(job, own, count);
    }
    (void)snprintf(
        own[0].note, sizeof(own[0].note), "   %zu expert(s) at a time", needs->slots);
    (void)snprintf(
        own[1].note, sizeof(own[1].note), "   %zu thread(s)", needs->solvers);
    (void)snprintf(own[2].note,
                   sizeof(own[2].note),
                   "   to rank %zu",
                   job->layers.shape.most_rank);
    ce_calibrate_print_needs(job, own, count);
    ce_print("passes over a layer  %zu\n", needs->passes + for_neurons);
    return ce_finish_output();
}
