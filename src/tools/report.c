/* report.c - what a job did: a few lines on stderr, everything in --stats */

#include "tools/report.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/host.h"
#include "base/log.h"
#include "base/version.h"
#include "comm/collective.h"
#include "tools/traffic_report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

json_t *ce_report_times(const uint64_t *all, const uint64_t *moe)
{
    json_t *object = json_object();

    ce_json_set_seconds(object, "embed", all[CE_STAGE_EMBED]);
    ce_json_set_seconds(object, "attention", all[CE_STAGE_ATTENTION]);
    ce_json_set_seconds(object, "router", moe[CE_MOE_ROUTER]);
    ce_json_set_seconds(object, "plan", moe[CE_MOE_PLAN]);
    ce_json_set_seconds(object, "dispatch", moe[CE_MOE_DISPATCH]);
    ce_json_set_seconds(object, "affine", moe[CE_MOE_AFFINE]);
    ce_json_set_seconds(object, "experts", moe[CE_MOE_EXPERTS]);
    ce_json_set_seconds(object, "combine", moe[CE_MOE_COMBINE]);
    ce_json_set_seconds(object, "logits", all[CE_STAGE_LOGITS]);
    ce_json_set_seconds(object, "agree", all[CE_STAGE_AGREE]);
    return object;
}

/* Rows to and from other ranks and itself, of the block's counters by peer. */
static json_t *moe_counters(const struct ce_moe *moe)
{
    const struct ce_moe_counters *c = &moe->counters;
    const int me = moe->transport->rank;
    uint64_t rows = 0;
    uint64_t results = 0;
    json_t *object = json_object();

    for (int r = 0; r < moe->transport->ranks; r++) {
        rows += r != me ? moe->peer[r].rows_sent : 0;
        results += r != me ? moe->peer[r].results_received : 0;
    }
    ce_json_set_integer(object, "token_layers", c->tokens);
    ce_json_set_integer(object, "rows_sent", rows);
    ce_json_set_integer(object, "rows_local", moe->peer[me].rows_sent);
    ce_json_set_integer(object, "results_received", results);
    ce_json_set_integer(
        object, "payload_bytes", (rows + results) * moe->wire.row_bytes);
    ce_json_set_integer(object, "batches", c->batches);
    if (moe->split == CE_EXPERT_SPLIT_NODE) {
        ce_json_set_integer(object, "shared_bytes", c->shared_bytes);
        ce_json_set_seconds(object, "meeting", moe->window->wait_ns);
    }
    ce_json_set_integer(object, "uniform_thetas", moe->work.uniform_thetas);
    return object;
}

static void add_memory(json_t *object, const struct ce_engine *engine)
{
    struct rusage usage;

    ce_json_set_integer(object, "dense_bytes", engine->weights.dense_bytes);
    ce_json_set_integer(object, "expert_bytes", engine->weights.expert_bytes);
    ce_json_set_integer(object, "compressed_bytes", ce_engine_compressed_bytes(engine));
    ce_json_set_integer(object, "cache_bytes", engine->plan.cache);
    ce_json_set_integer(object, "buffer_bytes", engine->plan.scratch);
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        ce_json_set_integer(
            object, "peak_resident_bytes", (uint64_t)usage.ru_maxrss * 1024);
    }
}

static json_t *describe_rank(const struct ce_session *session)
{
    const struct ce_engine *engine = session->engine;
    struct ce_host host;
    json_t *object = json_object();

    ce_host_self(&host);
    ce_json_set_integer(object, "rank", (uint64_t)session->transport->rank);
    json_object_set_new(object, "host", json_string(host.name));
    ce_json_set_integer(object, "threads", (uint64_t)engine->threads);
    add_memory(object, engine);
    ce_json_set_integer(object, "steps", engine->counters.steps);
    ce_json_set_integer(object, "tokens", engine->counters.tokens);
    json_object_set_new(
        object,
        "stage_seconds",
        ce_report_times(engine->counters.stage_ns, engine->moe.counters.stage_ns));
    json_object_set_new(object, "moe", moe_counters(&engine->moe));
    json_object_set_new(object, "traffic", ce_traffic_describe_rank(engine));
    return object;
}

json_t *ce_report_head(const struct ce_session *session)
{
    const struct ce_engine *engine = session->engine;

    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:I}",
                     "version",
                     CE_VERSION,
                     "command",
                     session->command,
                     "transport",
                     session->transport->ops->name,
                     "kernels",
                     engine->kernels->name,
                     "placement",
                     engine->placement.name,
                     "combine",
                     ce_combine_name(engine->combine),
                     "expert_split",
                     ce_expert_split_name(engine->split),
                     "wire",
                     ce_wire_name(engine->wire),
                     "kv",
                     ce_kv_dtype_name(engine->kv),
                     "compressed",
                     (json_int_t)engine->compressed,
                     "compressed_kind",
                     ce_compressed_kind_name(ce_engine_compressed_kind(engine)),
                     "main_experts",
                     (json_int_t)engine->mains);
}

static uint64_t count_sent(const struct ce_transport *transport)
{
    uint64_t bytes = 0;

    for (int r = 0; r < transport->ranks; r++) {
        if (r != transport->rank) {
            bytes += transport->slot[CE_SLOT_DISPATCH].link[r].sent_bytes;
            bytes += transport->slot[CE_SLOT_COMBINE].link[r].sent_bytes;
        }
    }
    return bytes;
}

enum ce_status ce_report_moved_bytes(const struct ce_session *session,
                                     uint64_t *bytes,
                                     struct ce_error *err)
{
    struct ce_transport *transport = session->transport;
    uint64_t sent = count_sent(transport);
    const struct ce_bytes *all = NULL;
    enum ce_status status =
        ce_allgather(transport, (struct ce_bytes){&sent, sizeof(sent)}, &all, err);

    *bytes = 0;
    for (int r = 0; status == CE_OK && r < transport->ranks; r++) {
        if (all[r].bytes == sizeof(sent)) {
            memcpy(&sent, all[r].data, sizeof(sent));
            *bytes += sent;
        }
    }
    return status;
}

/* What rank 0 says of the whole job. */
struct result {
    uint64_t prompt_tokens;
    uint64_t new_tokens;
    double seconds;
    json_t *ranks; /* array of what they say of themselves */
};

static json_t *describe_job(const struct ce_session *session,
                            const struct result *result)
{
    json_t *object = ce_report_head(session);

    ce_json_set_integer(object, "prompt_tokens", result->prompt_tokens);
    ce_json_set_integer(object, "new_tokens", result->new_tokens);
    json_object_set_new(object, "seconds", json_real(result->seconds));
    json_object_set(object, "ranks", result->ranks);
    return object;
}

/* Rank 0: the array of all ranks' descriptions. */
static enum ce_status collect(struct ce_session *session,
                              const struct ce_bytes *all,
                              json_t **ranks,
                              struct ce_error *err)
{
    *ranks = json_array();
    for (int r = 0; r < session->transport->ranks; r++) {
        json_t *rank = json_loadb(all[r].data, all[r].bytes, 0, NULL);

        if (rank == NULL || json_array_append_new(*ranks, rank) != 0) {
            return ce_fail(err, CE_ERR_COMM, "rank %d sent a bad report", r);
        }
    }
    return CE_OK;
}

enum ce_status ce_report_write(const char *path, json_t *document, struct ce_error *err)
{
    char *text = json_dumps(document, JSON_INDENT(1));
    enum ce_status status = CE_OK;

    json_decref(document);
    if (text == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory for the report", path);
    }
    status = ce_file_write_atomic(path, text, strlen(text), err);
    free(text);
    return status;
}

static enum ce_status report_job(struct ce_session *session,
                                 const struct ce_bytes *all,
                                 struct result *result,
                                 struct ce_error *err)
{
    enum ce_status status = collect(session, all, &result->ranks, err);

    if (status == CE_OK) {
        ce_log(CE_LOG_INFO,
               "%" PRIu64 " prompt and %" PRIu64 " new tokens in %.2f s: %.1f tokens/s",
               result->prompt_tokens,
               result->new_tokens,
               result->seconds,
               (double)(result->prompt_tokens + result->new_tokens) / result->seconds);
    }
    if (status == CE_OK && session->run->stats != NULL) {
        status =
            ce_report_write(session->run->stats, describe_job(session, result), err);
    }
    if (status == CE_OK) {
        status = ce_traffic_report(session, result->ranks, err);
    }
    json_decref(result->ranks);
    return status;
}

enum ce_status ce_session_report(struct ce_session *session,
                                 uint64_t prompt_tokens,
                                 uint64_t new_tokens,
                                 struct ce_error *err)
{
    struct result result = {.prompt_tokens = prompt_tokens,
                            .new_tokens = new_tokens,
                            .seconds =
                                (double)(ce_clock_ns() - session->began_ns) / 1e9};
    json_t *mine = describe_rank(session);
    char *text = json_dumps(mine, JSON_COMPACT);
    const struct ce_bytes *all = NULL;
    enum ce_status status = CE_OK;

    if (text == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory for the report");
    }
    status = ce_agree(session->transport, status, err);
    if (status == CE_OK) {
        status = ce_gather(
            session->transport, (struct ce_bytes){text, strlen(text)}, &all, err);
    }
    if (status == CE_OK && all != NULL) {
        status = report_job(session, all, &result, err);
    }
    json_decref(mine);
    status = ce_agree(session->transport, status, err);
    session->check_failed = status == CE_ERR_MISMATCH;
    free(text);
    return status;
}
