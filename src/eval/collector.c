/* collector.c - sums log-probabilities, gathers ids, records what is complete */

#include "eval/collector.h"

#include "eval/stop_text.h"

#include <stdlib.h>

/* What has come of one request. */
struct ce_collected {
    double logprob;
    bool unlikely; /* some token was not the most likely one */
    enum ce_finish finish;
    struct ce_ids ids; /* generated */
};

enum ce_status ce_collector_open(struct ce_collector *collector,
                                 const struct ce_collector_parts *parts,
                                 uint32_t variant,
                                 struct ce_error *err)
{
    *collector = (struct ce_collector){.parts = *parts, .variant = variant};
    collector->request = calloc(parts->table->count + 1, sizeof(collector->request[0]));
    return collector->request == NULL
               ? ce_fail(err, CE_ERR_NOMEM, "no memory for the answers")
               : CE_OK;
}

void ce_collector_close(struct ce_collector *collector)
{
    for (size_t i = 0; collector->request != NULL && i < collector->parts.table->count;
         i++) {
        ce_ids_free(&collector->request[i].ids);
    }
    free(collector->request);
    *collector = (struct ce_collector){.request = NULL};
}

static enum ce_status append_id(struct ce_ids *ids, int32_t id, struct ce_error *err)
{
    if (ids->count == ids->capacity) {
        size_t capacity = ids->capacity * 2 + 16;
        int32_t *grown = realloc(ids->id, capacity * sizeof(grown[0]));

        if (grown == NULL) {
            return ce_fail(err, CE_ERR_NOMEM, "no memory for the answers");
        }
        ids->id = grown;
        ids->capacity = capacity;
    }
    ids->id[ids->count++] = id;
    return CE_OK;
}

/* The requests of one query, which stand next to each other. */
struct range {
    size_t first;
    size_t end;
};

static struct range find_range(const struct ce_request_table *table, size_t request)
{
    uint32_t query = table->request[request].query;
    struct range range = {request, request + 1};

    while (range.first > 0 && table->request[range.first - 1].query == query) {
        range.first--;
    }
    while (range.end < table->count && table->request[range.end].query == query) {
        range.end++;
    }
    return range;
}

static bool is_complete(const struct ce_collector *collector, struct range range)
{
    for (size_t i = range.first; i < range.end; i++) {
        if (collector->request[i].finish == CE_FINISH_NONE) {
            return false;
        }
    }
    return true;
}

static enum ce_status add_text(const struct ce_collector *collector,
                               size_t request,
                               struct ce_outcome *outcome,
                               struct ce_error *err)
{
    const struct ce_request_table *table = collector->parts.table;
    const struct ce_request_settings *settings =
        &table->settings[table->request[request].settings];
    const struct ce_collected *collected = &collector->request[request];

    outcome->tokens = (uint32_t)collected->ids.count;
    outcome->by_length = collected->finish == CE_FINISH_LENGTH;
    return ce_stop_final_text(collector->parts.tokenizer,
                              collected->ids.id,
                              collected->ids.count,
                              settings->stop,
                              settings->stops,
                              &outcome->text,
                              err);
}

static struct ce_outcome add_windows(const struct ce_collector *collector,
                                     struct range range)
{
    const struct ce_token_request *first =
        &collector->parts.table->request[range.first];
    struct ce_outcome outcome = {.done = true,
                                 .greedy = first->scored > 0,
                                 .context = (uint32_t)(first->count - first->scored)};

    for (size_t i = range.first; i < range.end; i++) {
        const struct ce_token_request *request = &collector->parts.table->request[i];

        outcome.logprob += collector->request[i].logprob;
        outcome.greedy = outcome.greedy && !collector->request[i].unlikely;
        outcome.tokens += (uint32_t)request->scored;
        outcome.dropped += request->dropped;
    }
    return outcome;
}

static struct ce_journal_item find_item(const struct ce_collector *collector,
                                        uint32_t query)
{
    const struct ce_inputs *inputs = collector->parts.inputs;
    size_t i = inputs->count - 1;

    while (inputs->input[i].first_query > query) {
        i--;
    }
    return (struct ce_journal_item){.variant = collector->variant,
                                    .task = (uint32_t)i,
                                    .query = query - inputs->input[i].first_query};
}

static enum ce_status
record(struct ce_collector *collector, struct range range, struct ce_error *err)
{
    const struct ce_token_request *request =
        &collector->parts.table->request[range.first];
    const struct ce_journal_item item = find_item(collector, request->query);
    struct ce_outcome outcome = add_windows(collector, range);
    enum ce_status status = CE_OK;

    if (request->scored == 0) {
        status = add_text(collector, range.first, &outcome, err);
    }
    if (status == CE_OK) {
        status = ce_journal_append(collector->parts.journal, &item, &outcome, err);
    }
    free(outcome.text);
    for (size_t i = range.first; i < range.end; i++) {
        ce_ids_free(&collector->request[i].ids);
    }
    collector->recorded += status == CE_OK;
    return status;
}

enum ce_status ce_collector_take(struct ce_collector *collector,
                                 size_t request,
                                 const struct ce_new_token *tokens,
                                 size_t count,
                                 enum ce_finish finish,
                                 struct ce_error *err)
{
    struct ce_collected *collected = &collector->request[request];
    bool scored = collector->parts.table->request[request].scored > 0;
    struct range range = {0};
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < count; i++) {
        if (scored) {
            collected->logprob += tokens[i].logprob;
            collected->unlikely |= tokens[i].id != tokens[i].most_likely;
        } else {
            status = append_id(&collected->ids, tokens[i].id, err);
        }
    }
    collected->finish = finish;
    if (status != CE_OK || finish == CE_FINISH_NONE) {
        return status;
    }
    range = find_range(collector->parts.table, request);
    return is_complete(collector, range) ? record(collector, range, err) : CE_OK;
}
