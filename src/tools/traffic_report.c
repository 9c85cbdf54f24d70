/* traffic_report.c - counters of every rank into one account, and its table on stderr
 */

#include "tools/traffic_report.h"

#include "base/log.h"
#include "tools/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static const char *const slots[CE_SLOT_COUNT] = {"dispatch", "combine", "control"};

_Static_assert((int)CE_ACCOUNT_DISPATCH == (int)CE_SLOT_DISPATCH &&
                   (int)CE_ACCOUNT_COMBINE == (int)CE_SLOT_COMBINE,
               "phases are slots");

/* Sets `key` to an array: a counter of each of `count` structures of `size` bytes,
 * `first` being the one of the first. */
static void set_column(
    json_t *object, const char *key, const uint64_t *first, size_t size, int count)
{
    json_t *array = json_array();

    for (int i = 0; i < count; i++) {
        const void *value = (const unsigned char *)first + (size_t)i * size;

        json_array_append_new(array,
                              json_integer((json_int_t) * (const uint64_t *)value));
    }
    json_object_set_new(object, key, array);
}

/* What one slot moved, by peer. */
static json_t *describe_slot(const struct ce_exchange *x, int ranks)
{
    const struct ce_link_traffic *link = x->link;
    const size_t size = sizeof(*link);
    json_t *object = json_object();
    json_t *waits = json_array();

    set_column(object, "sent_messages", &link->sent_messages, size, ranks);
    set_column(object, "sent_bytes", &link->sent_bytes, size, ranks);
    set_column(object, "received_messages", &link->received_messages, size, ranks);
    set_column(object, "received_bytes", &link->received_bytes, size, ranks);
    for (int r = 0; r < ranks; r++) {
        json_array_append_new(waits, json_real((double)link[r].wait_ns / 1e9));
    }
    json_object_set_new(object, "wait_seconds", waits);
    ce_json_set_seconds(object, "exposed", x->exposed_ns);
    ce_json_set_seconds(object, "span", x->span_ns);
    return object;
}

json_t *ce_traffic_describe_rank(const struct ce_engine *engine)
{
    const struct ce_transport *t = engine->transport;
    const struct ce_moe_peer *peer = engine->moe.peer;
    const size_t size = sizeof(*peer);
    const int ranks = t->ranks;
    json_t *dispatch = describe_slot(&t->slot[CE_SLOT_DISPATCH], ranks);
    json_t *combine = describe_slot(&t->slot[CE_SLOT_COMBINE], ranks);

    set_column(dispatch, "sent_rows", &peer->rows_sent, size, ranks);
    set_column(dispatch, "received_rows", &peer->rows_received, size, ranks);
    set_column(dispatch, "full_rows", &peer->full_rows, size, ranks);
    set_column(dispatch, "full_assignments", &peer->full_assignments, size, ranks);
    set_column(
        dispatch, "full_metadata_bytes", &peer->full_metadata_bytes, size, ranks);
    set_column(dispatch,
               "assignment_metadata_bytes",
               &peer->assignment_metadata_bytes,
               size,
               ranks);
    set_column(combine, "sent_rows", &peer->results_sent, size, ranks);
    set_column(combine, "received_rows", &peer->results_received, size, ranks);
    return json_pack("{s:o, s:o, s:o}",
                     slots[CE_SLOT_DISPATCH],
                     dispatch,
                     slots[CE_SLOT_COMBINE],
                     combine,
                     slots[CE_SLOT_CONTROL],
                     describe_slot(&t->slot[CE_SLOT_CONTROL], ranks));
}

static uint64_t read_integer(const json_t *slot, const char *key, size_t peer)
{
    return (uint64_t)json_integer_value(
        json_array_get(json_object_get(slot, key), peer));
}

static double read_seconds(const json_t *slot, const char *key)
{
    return json_real_value(json_object_get(slot, key));
}

/* What rank r says of one phase, of all its peers. */
static void
read_phase(struct ce_account *account, size_t r, int phase, const json_t *slot)
{
    const json_t *waits = json_object_get(slot, "wait_seconds");

    account->rank[r].exposed_seconds[phase] = read_seconds(slot, "exposed");
    account->rank[r].span_seconds[phase] = read_seconds(slot, "span");
    for (size_t peer = 0; peer < account->ranks; peer++) {
        struct ce_account_pair *from = ce_account_pair(account, peer, r);

        ce_account_pair(account, r, peer)->sent[phase] = (struct ce_account_count){
            .messages = read_integer(slot, "sent_messages", peer),
            .rows = read_integer(slot, "sent_rows", peer),
            .bytes = read_integer(slot, "sent_bytes", peer)};
        from->received[phase] = (struct ce_account_count){
            .messages = read_integer(slot, "received_messages", peer),
            .rows = read_integer(slot, "received_rows", peer),
            .bytes = read_integer(slot, "received_bytes", peer)};
        from->wait_seconds[phase] = json_real_value(json_array_get(waits, peer));
    }
}

static void read_rank(struct ce_account *account, size_t r, const json_t *rank)
{
    const json_t *moe = json_object_get(rank, "moe");
    const json_t *traffic = json_object_get(rank, "traffic");
    const json_t *dispatch = json_object_get(traffic, slots[CE_SLOT_DISPATCH]);

    account->rank[r].token_layers =
        (uint64_t)json_integer_value(json_object_get(moe, "token_layers"));
    for (int p = 0; p < CE_ACCOUNT_PHASES; p++) {
        read_phase(account, r, p, json_object_get(traffic, slots[p]));
    }
    for (size_t peer = 0; peer < account->ranks; peer++) {
        struct ce_account_pair *pair = ce_account_pair(account, r, peer);

        pair->full_rows = read_integer(dispatch, "full_rows", peer);
        pair->full_assignments = read_integer(dispatch, "full_assignments", peer);
        pair->full_metadata_bytes = read_integer(dispatch, "full_metadata_bytes", peer);
        pair->assignment_metadata_bytes =
            read_integer(dispatch, "assignment_metadata_bytes", peer);
    }
}

double ce_traffic_saved(uint64_t run, uint64_t baseline)
{
    return baseline > 0 ? 1.0 - (double)run / (double)baseline : 0.0;
}

static void log_title(const struct ce_session *session)
{
    const struct ce_engine *engine = session->engine;
    size_t top_k = engine->config.top_k;
    size_t dropped = top_k - engine->mains - engine->compressed;
    char others[64] = "";

    if (engine->mains < top_k) {
        (void)snprintf(others,
                       sizeof(others),
                       ", %zu %s",
                       top_k - engine->mains,
                       dropped > 0 ? "dropped" : "compressed");
    }
    ce_log(CE_LOG_INFO,
           "traffic between %d ranks, %zu of %zu experts per token in full%s; copies "
           "are rows there, per token and layer",
           session->transport->ranks,
           engine->mains,
           top_k,
           others);
    ce_log(CE_LOG_INFO,
           "%-36s %11s %11s %9s %12s %7s  %s",
           "",
           "rows there",
           "rows back",
           "MiB rows",
           "MiB metadata",
           "saved",
           "copies (if uniform)");
}

static void log_totals(const struct ce_account *account)
{
    static const char *const names[CE_ACCOUNT_SCHEMES] = {
        "this run",
        "uncompressed, a row for each rank",
        "uncompressed, a row for each expert"};
    uint64_t run = 0;

    for (int s = 0; s < CE_ACCOUNT_SCHEMES; s++) {
        struct ce_account_total total =
            ce_account_total(account, (enum ce_account_scheme)s);
        char uniform[32] = "";
        char saved[32] = "";

        if (!isnan(total.uniform)) {
            (void)snprintf(uniform, sizeof(uniform), " (%.3f)", total.uniform);
        }
        if (s == CE_ACCOUNT_RUN) {
            run = ce_account_bytes(&total);
        } else {
            (void)snprintf(saved,
                           sizeof(saved),
                           "%.1f %%",
                           100.0 * ce_traffic_saved(run, ce_account_bytes(&total)));
        }
        ce_log(CE_LOG_INFO,
               "%-36s %11" PRIu64 " %11" PRIu64 " %9.3f %12.3f %7s  %.3f%s",
               names[s],
               total.rows,
               total.results,
               (double)total.payload_bytes / 0x1p20,
               (double)total.metadata_bytes / 0x1p20,
               saved,
               total.copies,
               uniform);
    }
}

struct longest {
    size_t waiting;
    size_t for_rank;
    double seconds;
};

static struct longest find_longest_wait(const struct ce_account *account)
{
    struct longest longest = {0};

    for (size_t w = 0; w < account->ranks; w++) {
        for (size_t f = 0; f < account->ranks; f++) {
            const double *waits = ce_account_pair(account, f, w)->wait_seconds;
            double seconds = waits[CE_ACCOUNT_DISPATCH] + waits[CE_ACCOUNT_COMBINE];

            if (w != f && seconds > longest.seconds) {
                longest = (struct longest){w, f, seconds};
            }
        }
    }
    return longest;
}

static void log_waits(const struct ce_account *account)
{
    struct longest longest = find_longest_wait(account);
    double exposed[CE_ACCOUNT_PHASES] = {0};
    double hidden = 0.0;

    for (size_t r = 0; r < account->ranks; r++) {
        for (int p = 0; p < CE_ACCOUNT_PHASES; p++) {
            exposed[p] += account->rank[r].exposed_seconds[p] / (double)account->ranks;
            hidden += ce_account_hidden_seconds(&account->rank[r], p) /
                      (double)account->ranks;
        }
    }
    ce_log(CE_LOG_INFO,
           "a rank waited %.3f s (dispatch %.3f, combine %.3f), hidden behind work "
           "%.3f s; longest, rank %zu for rank %zu: %.3f s",
           exposed[CE_ACCOUNT_DISPATCH] + exposed[CE_ACCOUNT_COMBINE],
           exposed[CE_ACCOUNT_DISPATCH],
           exposed[CE_ACCOUNT_COMBINE],
           hidden,
           longest.waiting,
           longest.for_rank,
           longest.seconds);
}

/* Experts that are split: nothing was sent, so there is no table of it. */
static void log_shared(const struct ce_account *account, const json_t *ranks)
{
    uint64_t bytes = 0;
    double waited = 0.0;

    for (size_t r = 0; r < account->ranks; r++) {
        const json_t *moe = json_object_get(json_array_get(ranks, r), "moe");

        bytes += (uint64_t)json_integer_value(json_object_get(moe, "shared_bytes"));
        waited += read_seconds(moe, "meeting") / (double)account->ranks;
    }
    ce_log(CE_LOG_INFO,
           "experts split over %zu ranks: %.3f MiB of rows, h and results shared "
           "through memory, none sent; a rank waited %.3f s for the others",
           account->ranks,
           (double)bytes / 0x1p20,
           waited);
}

enum ce_status ce_traffic_report(const struct ce_session *session,
                                 const json_t *ranks,
                                 struct ce_error *err)
{
    const struct ce_engine *engine = session->engine;
    const char *file = session->run->traffic;
    struct ce_account account;
    enum ce_status status = ce_account_create(&account, &engine->placement, err);
    enum ce_status written = CE_OK;

    if (status != CE_OK) {
        return status;
    }
    account.top_k = engine->config.top_k;
    account.mains = engine->mains;
    account.row_bytes = engine->moe.wire.row_bytes;
    account.combine = engine->combine;
    account.split = engine->split == CE_EXPERT_SPLIT_NODE;
    for (size_t r = 0; r < account.ranks; r++) {
        read_rank(&account, r, json_array_get(ranks, r));
    }
    if (file != NULL) {
        written =
            ce_report_write(file, ce_traffic_document(session, &account, ranks), err);
    }
    status = ce_account_check(&account, err);
    if (status == CE_OK && account.ranks > 1 && account.split) {
        log_shared(&account, ranks);
    } else if (status == CE_OK && account.ranks > 1) {
        log_title(session);
        log_totals(&account);
        log_waits(&account);
    }
    ce_account_destroy(&account);
    return status == CE_OK ? written : status;
}
