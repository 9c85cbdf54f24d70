/* account.c - both ends of every pair compared, and totals with their baselines */

#include "moe/account.h"

#include "moe/message.h"
#include "moe/traffic.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum ce_status ce_account_create(struct ce_account *account,
                                 const struct ce_placement *placement,
                                 struct ce_error *err)
{
    size_t ranks = (size_t)placement->ranks;

    *account = (struct ce_account){.ranks = ranks, .placement = placement};
    account->pair = calloc(ranks * ranks, sizeof(account->pair[0]));
    account->rank = calloc(ranks, sizeof(account->rank[0]));
    account->shard = calloc(ranks, sizeof(account->shard[0]));
    if (account->pair == NULL || account->rank == NULL || account->shard == NULL) {
        ce_account_destroy(account);
        return ce_fail(
            err, CE_ERR_NOMEM, "no memory for the traffic of %zu ranks", ranks);
    }
    return CE_OK;
}

void ce_account_destroy(struct ce_account *account)
{
    free(account->pair);
    free(account->rank);
    free(account->shard);
    *account = (struct ce_account){0};
}

struct ce_account_pair *
ce_account_pair(const struct ce_account *account, size_t source, size_t destination)
{
    return &account->pair[source * account->ranks + destination];
}

static enum ce_status check_pair(const struct ce_account *account,
                                 size_t source,
                                 size_t destination,
                                 int phase,
                                 struct ce_error *err)
{
    static const char *const phases[] = {"dispatch", "combine"};
    const struct ce_account_pair *pair = ce_account_pair(account, source, destination);
    const struct ce_account_count *sent = &pair->sent[phase];
    const struct ce_account_count *received = &pair->received[phase];

    if (sent->messages != received->messages || sent->rows != received->rows ||
        sent->bytes != received->bytes) {
        return ce_fail(err,
                       CE_ERR_MISMATCH,
                       "%s from rank %zu to rank %zu: sent %" PRIu64
                       " messages, %" PRIu64 " rows, %" PRIu64
                       " bytes, but received %" PRIu64 ", %" PRIu64 ", %" PRIu64,
                       phases[phase],
                       source,
                       destination,
                       sent->messages,
                       sent->rows,
                       sent->bytes,
                       received->messages,
                       received->rows,
                       received->bytes);
    }
    if (source != destination && sent->bytes < sent->rows * account->row_bytes) {
        return ce_fail(err,
                       CE_ERR_MISMATCH,
                       "%s from rank %zu to rank %zu: %" PRIu64
                       " rows of %zu bytes in %" PRIu64 " bytes",
                       phases[phase],
                       source,
                       destination,
                       sent->rows,
                       account->row_bytes,
                       sent->bytes);
    }
    return CE_OK;
}

enum ce_status ce_account_check(const struct ce_account *account, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t s = 0; s < account->ranks; s++) {
        for (size_t d = 0; d < account->ranks; d++) {
            for (int p = 0; status == CE_OK && p < CE_ACCOUNT_PHASES; p++) {
                status = check_pair(account, s, d, p, err);
            }
        }
    }
    return status;
}

double ce_account_hidden_seconds(const struct ce_account_rank *rank, int phase)
{
    return fmax(rank->span_seconds[phase] - rank->exposed_seconds[phase], 0.0);
}

/* What one pair moves there, and what of it the pair turned round moves back. */
static void add_pair(const struct ce_account *account,
                     enum ce_account_scheme scheme,
                     size_t source,
                     size_t destination,
                     struct ce_account_total *total)
{
    const struct ce_account_pair *there = ce_account_pair(account, source, destination);
    const struct ce_account_count *sent = &there->sent[CE_ACCOUNT_DISPATCH];
    const struct ce_account_count *back =
        &ce_account_pair(account, destination, source)->sent[CE_ACCOUNT_COMBINE];
    uint64_t headers = back->messages * ce_message_combine_bytes(0, 0);

    switch (scheme) {
    case CE_ACCOUNT_FULL_PER_RANK:
        total->rows += there->full_rows;
        total->results += account->combine == CE_COMBINE_PARTIAL
                              ? there->full_rows
                              : there->full_assignments;
        total->metadata_bytes += there->full_metadata_bytes + headers;
        break;
    case CE_ACCOUNT_FULL_PER_EXPERT:
        total->rows += there->full_assignments;
        total->results += there->full_assignments;
        total->metadata_bytes += there->assignment_metadata_bytes + headers;
        break;
    case CE_ACCOUNT_RUN:
    case CE_ACCOUNT_SCHEMES:
        total->rows += sent->rows;
        total->results += back->rows;
        total->metadata_bytes +=
            sent->bytes + back->bytes - (sent->rows + back->rows) * account->row_bytes;
        break;
    }
}

uint64_t ce_account_token_layers(const struct ce_account *account)
{
    uint64_t sum = 0;

    for (size_t r = 0; r < account->ranks; r++) {
        sum += account->rank[r].token_layers;
    }
    return sum;
}

/* Copies a token and layer, expected with the shards of the placement; ranks count as
 * often as they have tokens. */
static double expect_uniform(const struct ce_account *account,
                             enum ce_account_scheme scheme)
{
    const struct ce_placement *placement = account->placement;
    const struct ce_traffic_model model = {
        .experts = placement->experts,
        .ranks = account->ranks,
        .shard = account->shard,
        .mains = scheme == CE_ACCOUNT_RUN ? account->mains : account->top_k};
    const enum ce_traffic_scheme way = scheme == CE_ACCOUNT_FULL_PER_EXPERT
                                           ? CE_TRAFFIC_PER_ASSIGNMENT
                                           : CE_TRAFFIC_ORDERED;
    double token_layers = (double)ce_account_token_layers(account);
    double copies = 0.0;

    if (account->split) {
        return 0.0;
    }
    if (ce_placement_has_replicas(placement)) {
        return (double)NAN;
    }
    for (size_t layer = 0; layer < placement->layers; layer++) {
        for (size_t r = 0; r < account->ranks; r++) {
            account->shard[r] = ce_placement_shard(placement, layer, r);
        }
        for (size_t r = 0; r < account->ranks; r++) {
            double weight = (double)account->rank[r].token_layers;

            copies += weight * ce_traffic_of_sender(&model, way, r).rows;
        }
    }
    return token_layers > 0 ? copies / token_layers / (double)placement->layers : 0.0;
}

struct ce_account_total ce_account_total(const struct ce_account *account,
                                         enum ce_account_scheme scheme)
{
    struct ce_account_total total = {.uniform = expect_uniform(account, scheme)};
    uint64_t token_layers = ce_account_token_layers(account);

    for (size_t s = 0; s < account->ranks; s++) {
        for (size_t d = 0; d < account->ranks; d++) {
            if (s != d) {
                add_pair(account, scheme, s, d, &total);
            }
        }
    }
    total.payload_bytes = (total.rows + total.results) * account->row_bytes;
    total.copies = token_layers > 0 ? (double)total.rows / (double)token_layers : 0.0;
    return total;
}

uint64_t ce_account_bytes(const struct ce_account_total *total)
{
    return total->payload_bytes + total->metadata_bytes;
}
