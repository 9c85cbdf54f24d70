/* report.c - what a job did: a line or two on stderr, everything in --stats */

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/version.h"
#include "comm/collective.h"
#include "tools/session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void set_integer(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void append_integer(json_t *object, const char *key, uint64_t value)
{
    json_array_append_new(json_object_get(object, key),
                          json_integer((json_int_t)value));
}

static void set_seconds(json_t *object, const char *key, uint64_t ns)
{
    json_object_set_new(object, key, json_real((double)ns / 1e9));
}

json_t *ce_report_stages(const struct ce_engine *engine)
{
    const uint64_t *moe = engine->moe.counters.stage_ns;
    const uint64_t *all = engine->counters.stage_ns;
    json_t *object = json_object();

    set_seconds(object, "embed", all[CE_STAGE_EMBED]);
    set_seconds(object, "attention", all[CE_STAGE_ATTENTION]);
    set_seconds(object, "router", moe[CE_MOE_ROUTER]);
    set_seconds(object, "plan", moe[CE_MOE_PLAN]);
    set_seconds(object, "dispatch", moe[CE_MOE_DISPATCH]);
    set_seconds(object, "experts", moe[CE_MOE_EXPERTS]);
    set_seconds(object, "combine", moe[CE_MOE_COMBINE]);
    set_seconds(object, "logits", all[CE_STAGE_LOGITS]);
    set_seconds(object, "agree", all[CE_STAGE_AGREE]);
    return object;
}

/* What one slot moved, by peer. */
static json_t *slot_traffic(const struct ce_exchange *x, int ranks)
{
    json_t *object = json_pack("{s:[], s:[], s:[], s:[], s:[]}",
                               "sent_messages",
                               "sent_bytes",
                               "received_messages",
                               "received_bytes",
                               "wait_seconds");

    for (int r = 0; r < ranks; r++) {
        const struct ce_link_traffic *link = &x->link[r];

        append_integer(object, "sent_messages", link->sent_messages);
        append_integer(object, "sent_bytes", link->sent_bytes);
        append_integer(object, "received_messages", link->received_messages);
        append_integer(object, "received_bytes", link->received_bytes);
        json_array_append_new(json_object_get(object, "wait_seconds"),
                              json_real((double)link->wait_ns / 1e9));
    }
    set_seconds(object, "exposed", x->exposed_ns);
    set_seconds(object, "span", x->span_ns);
    return object;
}

static json_t *traffic(const struct ce_transport *t)
{
    return json_pack("{s:o, s:o, s:o}",
                     "dispatch",
                     slot_traffic(&t->slot[CE_SLOT_DISPATCH], t->ranks),
                     "combine",
                     slot_traffic(&t->slot[CE_SLOT_COMBINE], t->ranks),
                     "control",
                     slot_traffic(&t->slot[CE_SLOT_CONTROL], t->ranks));
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
    set_integer(object, "token_layers", c->tokens);
    set_integer(object, "rows_sent", rows);
    set_integer(object, "rows_local", moe->peer[me].rows_sent);
    set_integer(object, "results_received", results);
    set_integer(object, "payload_bytes", (rows + results) * moe->wire.row_bytes);
    set_integer(object, "batches", c->batches);
    set_integer(object, "uniform_thetas", moe->work.uniform_thetas);
    return object;
}

static void add_memory(json_t *object, const struct ce_engine *engine)
{
    struct rusage usage;

    set_integer(object, "dense_bytes", engine->weights.dense_bytes);
    set_integer(object, "expert_bytes", engine->weights.expert_bytes);
    set_integer(object, "compressed_bytes", engine->weights.compressed_bytes);
    set_integer(object, "cache_bytes", engine->plan.cache);
    set_integer(object, "buffer_bytes", engine->plan.scratch);
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        set_integer(object, "peak_resident_bytes", (uint64_t)usage.ru_maxrss * 1024);
    }
}

static json_t *describe_rank(const struct ce_session *session)
{
    const struct ce_engine *engine = session->engine;
    char host[64] = "";
    json_t *object = json_object();

    (void)gethostname(host, sizeof(host) - 1);
    set_integer(object, "rank", (uint64_t)session->transport->rank);
    json_object_set_new(object, "host", json_string(host));
    set_integer(object, "threads", (uint64_t)engine->threads);
    add_memory(object, engine);
    set_integer(object, "steps", engine->counters.steps);
    set_integer(object, "tokens", engine->counters.tokens);
    json_object_set_new(object, "stage_seconds", ce_report_stages(engine));
    json_object_set_new(object, "moe", moe_counters(&engine->moe));
    json_object_set_new(object, "traffic", traffic(session->transport));
    return object;
}

static json_t *describe_job(const struct ce_session *session,
                            uint64_t prompt_tokens,
                            uint64_t new_tokens,
                            double seconds,
                            json_t *ranks)
{
    json_t *object = json_object();

    json_object_set_new(object, "version", json_string(CE_VERSION));
    json_object_set_new(object, "command", json_string(session->command));
    json_object_set_new(
        object, "transport", json_string(session->transport->ops->name));
    json_object_set_new(object, "kernels", json_string(session->engine->kernels->name));
    json_object_set_new(
        object, "placement", json_string(session->engine->placement.name));
    set_integer(object, "compressed", session->engine->compressed);
    set_integer(object, "main_experts", session->engine->mains);
    set_integer(object, "prompt_tokens", prompt_tokens);
    set_integer(object, "new_tokens", new_tokens);
    json_object_set_new(object, "seconds", json_real(seconds));
    json_object_set_new(object, "ranks", ranks);
    return object;
}

/* Sum of one of the moe counters over the ranks. */
static uint64_t sum_counter(const json_t *ranks, const char *key)
{
    uint64_t sum = 0;
    size_t i = 0;
    const json_t *rank = NULL;

    json_array_foreach(ranks, i, rank)
    {
        sum += (uint64_t)json_integer_value(
            json_object_get(json_object_get(rank, "moe"), key));
    }
    return sum;
}

static void log_job(const struct ce_session *session,
                    uint64_t prompt_tokens,
                    uint64_t new_tokens,
                    double seconds,
                    const json_t *ranks)
{
    uint64_t tokens = prompt_tokens + new_tokens;
    uint64_t payload = sum_counter(ranks, "payload_bytes");
    uint64_t metadata = sum_counter(ranks, "metadata_bytes");

    ce_log(CE_LOG_INFO,
           "%" PRIu64 " prompt and %" PRIu64 " new tokens in %.2f s: %.1f tokens/s",
           prompt_tokens,
           new_tokens,
           seconds,
           (double)tokens / seconds);
    ce_log(
        CE_LOG_INFO,
        "moved between %d rank(s): %.3f MiB of rows and %.3f MiB of metadata, %zu of "
        "%zu experts of a token in full, %zu compressed",
        session->transport->ranks,
        (double)payload / 0x1p20,
        (double)metadata / 0x1p20,
        session->engine->mains,
        session->engine->config.top_k,
        session->engine->compressed);
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

static enum ce_status
write_stats(const char *path, const json_t *job, struct ce_error *err)
{
    char *text = json_dumps(job, JSON_INDENT(1));
    enum ce_status status = CE_OK;

    if (text == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory for the report", path);
    }
    status = ce_file_write_atomic(path, text, strlen(text), err);
    free(text);
    return status;
}

static enum ce_status report_job(struct ce_session *session,
                                 const struct ce_bytes *all,
                                 uint64_t prompt_tokens,
                                 uint64_t new_tokens,
                                 struct ce_error *err)
{
    double seconds = (double)(ce_clock_ns() - session->began_ns) / 1e9;
    json_t *ranks = NULL;
    json_t *job = NULL;
    enum ce_status status = collect(session, all, &ranks, err);

    if (status == CE_OK) {
        log_job(session, prompt_tokens, new_tokens, seconds, ranks);
        if (session->run->stats != NULL) {
            job = describe_job(
                session, prompt_tokens, new_tokens, seconds, json_incref(ranks));
            status = write_stats(session->run->stats, job, err);
        }
    }
    json_decref(job);
    json_decref(ranks);
    return status;
}

enum ce_status ce_session_report(struct ce_session *session,
                                 uint64_t prompt_tokens,
                                 uint64_t new_tokens,
                                 struct ce_error *err)
{
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
        status = report_job(session, all, prompt_tokens, new_tokens, err);
    }
    json_decref(mine);
    status = ce_agree(session->transport, status, err);
    free(text);
    return status;
}
