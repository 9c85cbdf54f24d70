/* traffic_json.c - the document of --traffic
 *
 *   "phases": "dispatch", "combine":
 *     "messages", "rows", "payload_bytes", "metadata_bytes", "bytes":
 *                      [source][destination], 0 from a rank to itself
 *     "own":           messages and rows from each rank to itself, [rank]
 *     "wait_seconds":  [waiting rank][rank it waited for]
 *     "exposed_seconds", "hidden_seconds", "span_seconds": [rank]
 *   "summary":
 *     "run", "uncompressed_per_rank", "uncompressed_per_expert": totals
 */

#include "tools/report.h"
#include "tools/traffic_report.h"

#include <math.h>

/* What is said of every pair. */
#define FIELDS 5
static const char *const fields[FIELDS] = {
    "messages", "rows", "payload_bytes", "metadata_bytes", "bytes"};

static json_int_t
value_of(const struct ce_account *account, const struct ce_account_count *count, int f)
{
    const uint64_t payload = count->rows * account->row_bytes;
    const uint64_t values[FIELDS] = {
        count->messages, count->rows, payload, count->bytes - payload, count->bytes};

    return (json_int_t)values[f];
}

static json_t *describe_matrix(const struct ce_account *account, int phase, int field)
{
    json_t *matrix = json_array();

    for (size_t s = 0; s < account->ranks; s++) {
        json_t *row = json_array();

        for (size_t d = 0; d < account->ranks; d++) {
            const struct ce_account_pair *pair = ce_account_pair(account, s, d);
            json_int_t value = value_of(account, &pair->sent[phase], field);

            json_array_append_new(row, json_integer(s != d ? value : 0));
        }
        json_array_append_new(matrix, row);
    }
    return matrix;
}

static json_t *describe_own(const struct ce_account *account, int phase)
{
    json_t *messages = json_array();
    json_t *rows = json_array();

    for (size_t r = 0; r < account->ranks; r++) {
        const struct ce_account_count *own =
            &ce_account_pair(account, r, r)->sent[phase];

        json_array_append_new(messages, json_integer((json_int_t)own->messages));
        json_array_append_new(rows, json_integer((json_int_t)own->rows));
    }
    return json_pack("{s:o, s:o}", "messages", messages, "rows", rows);
}

static json_t *describe_waits(const struct ce_account *account, int phase)
{
    json_t *matrix = json_array();

    for (size_t w = 0; w < account->ranks; w++) {
        json_t *row = json_array();

        for (size_t f = 0; f < account->ranks; f++) {
            const struct ce_account_pair *pair = ce_account_pair(account, f, w);

            json_array_append_new(row, json_real(pair->wait_seconds[phase]));
        }
        json_array_append_new(matrix, row);
    }
    return matrix;
}

static json_t *describe_phase(const struct ce_account *account, int phase)
{
    json_t *object = json_object();
    json_t *exposed = json_array();
    json_t *hidden = json_array();
    json_t *span = json_array();

    for (int f = 0; f < FIELDS; f++) {
        json_object_set_new(object, fields[f], describe_matrix(account, phase, f));
    }
    json_object_set_new(object, "own", describe_own(account, phase));
    json_object_set_new(object, "wait_seconds", describe_waits(account, phase));
    for (size_t r = 0; r < account->ranks; r++) {
        const struct ce_account_rank *rank = &account->rank[r];

        json_array_append_new(exposed, json_real(rank->exposed_seconds[phase]));
        json_array_append_new(hidden,
                              json_real(ce_account_hidden_seconds(rank, phase)));
        json_array_append_new(span, json_real(rank->span_seconds[phase]));
    }
    json_object_set_new(object, "exposed_seconds", exposed);
    json_object_set_new(object, "hidden_seconds", hidden);
    json_object_set_new(object, "span_seconds", span);
    return object;
}

static json_t *describe_total(const struct ce_account_total *total,
                              uint64_t token_layers)
{
    json_t *object = json_object();
    uint64_t bytes = ce_account_bytes(total);
    double mean = token_layers > 0 ? (double)bytes / (double)token_layers : 0.0;

    ce_json_set_integer(object, "rows", total->rows);
    ce_json_set_integer(object, "results", total->results);
    ce_json_set_integer(object, "payload_bytes", total->payload_bytes);
    ce_json_set_integer(object, "metadata_bytes", total->metadata_bytes);
    ce_json_set_integer(object, "bytes", bytes);
    json_object_set_new(object, "bytes_per_token_layer", json_real(mean));
    json_object_set_new(object, "copies_per_token_layer", json_real(total->copies));
    json_object_set_new(object,
                        "copies_if_uniform",
                        isnan(total->uniform) ? json_null()
                                              : json_real(total->uniform));
    return object;
}

static json_t *describe_summary(const struct ce_account *account)
{
    static const char *const names[CE_ACCOUNT_SCHEMES] = {
        "run", "uncompressed_per_rank", "uncompressed_per_expert"};
    uint64_t token_layers = ce_account_token_layers(account);
    struct ce_account_total run = {0};
    json_t *object = json_object();

    ce_json_set_integer(object, "token_layers", token_layers);
    for (int s = 0; s < CE_ACCOUNT_SCHEMES; s++) {
        struct ce_account_total total =
            ce_account_total(account, (enum ce_account_scheme)s);
        json_t *entry = describe_total(&total, token_layers);

        if (s == CE_ACCOUNT_RUN) {
            run = total;
        } else {
            double rows =
                ce_traffic_saved(run.rows + run.results, total.rows + total.results);
            double bytes =
                ce_traffic_saved(ce_account_bytes(&run), ce_account_bytes(&total));

            json_object_set_new(entry, "saved_rows", json_real(rows));
            json_object_set_new(entry, "saved_bytes", json_real(bytes));
        }
        json_object_set_new(object, names[s], entry);
    }
    json_object_set_new(
        object,
        "uniform",
        json_string(ce_placement_has_replicas(account->placement)
                        ? "unknown: senders choose among several owners of an expert"
                        : "of this placement, by the tokens of each rank"));
    return object;
}

json_t *ce_traffic_document(const struct ce_session *session,
                            const struct ce_account *account,
                            const json_t *ranks)
{
    const struct ce_engine *engine = session->engine;
    json_t *object = ce_report_head(session);
    json_t *hosts = json_array();
    size_t layers = engine->config.layers;

    for (size_t r = 0; r < account->ranks; r++) {
        json_array_append(hosts, json_object_get(json_array_get(ranks, r), "host"));
    }
    ce_json_set_integer(object, "ranks", account->ranks);
    json_object_set_new(object, "hosts", hosts);
    ce_json_set_integer(object, "experts_per_token", account->top_k);
    ce_json_set_integer(object, "row_bytes", account->row_bytes);
    ce_json_set_integer(object, "tokens", ce_account_token_layers(account) / layers);
    ce_json_set_integer(object, "layers", layers);
    ce_json_set_integer(object, "steps", engine->counters.steps);
    json_object_set_new(object, "summary", describe_summary(account));
    json_object_set_new(object,
                        "phases",
                        json_pack("{s:o, s:o}",
                                  "dispatch",
                                  describe_phase(account, CE_ACCOUNT_DISPATCH),
                                  "combine",
                                  describe_phase(account, CE_ACCOUNT_COMBINE)));
    return object;
}
