/* encode.c - the queries of a task become token requests */

#include "eval/encode.h"

#include "eval/encode_parts.h"
#include "eval/token_windows.h"

#include <stdlib.h>

struct encoding {
    const struct ce_encoder *encoder;
    const struct ce_task *task;
    const struct ce_encode_place *place;
    struct ce_encoded_query *encoded; /* [queries] */
    size_t failed;                    /* lowest document that failed; else documents */
    struct ce_error error;            /* its failure */
    enum ce_status status;
};

static bool is_wanted(const struct encoding *encoding, size_t query)
{
    return encoding->place->skip == NULL || !encoding->place->skip[query];
}

static const struct ce_generate_settings *settings_of(const struct ce_task *task,
                                                      const struct ce_query *query)
{
    return query->generate != NULL ? query->generate : &task->generate;
}

static enum ce_status check_room(const struct encoding *encoding,
                                 const struct ce_query *query,
                                 struct ce_error *err)
{
    size_t wanted = settings_of(encoding->task, query)->max_new_tokens;

    if (query->kind != CE_QUERY_GENERATE ||
        (wanted > 0 && wanted < encoding->encoder->max_length)) {
        return CE_OK;
    }
    return ce_fail(
        err,
        CE_ERR_ARG,
        "%zu new tokens are wanted, possible are 1 to %zu: one less than the "
        "maximal length",
        wanted,
        encoding->encoder->max_length - 1);
}

static enum ce_status
encode_document(struct encoding *encoding, size_t index, struct ce_error *err)
{
    const struct ce_document *document = &encoding->task->document[index];
    struct ce_encoded_context before = {.text = NULL};
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < document->queries; i++) {
        size_t number = document->first + i;
        const struct ce_query *query = &encoding->task->query[number];

        if (is_wanted(encoding, number)) {
            status = check_room(encoding, query, err);
            if (status == CE_OK) {
                status = ce_encode_query(
                    encoding->encoder, query, &before, &encoding->encoded[number], err);
            }
        }
    }
    ce_ids_free(&before.ids);
    if (status != CE_OK) {
        ce_error_prefix(
            err, "task %s, document of line %zu", encoding->task->name, document->line);
    }
    return status;
}

/* Of all failures the first in the file is reported, whoever is faster. */
static void record(struct encoding *encoding,
                   size_t document,
                   enum ce_status status,
                   const struct ce_error *err)
{
#pragma omp critical(ce_encode_failure)
    if (document < encoding->failed) {
        encoding->failed = document;
        encoding->status = status;
        encoding->error = *err;
    }
}

static enum ce_status encode_all(struct encoding *encoding, struct ce_error *err)
{
    size_t documents = encoding->task->documents;

    encoding->failed = documents;
    encoding->encoded =
        calloc(encoding->task->queries + 1, sizeof(encoding->encoded[0]));
    if (encoding->encoded == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the queries");
    }
#pragma omp parallel for schedule(dynamic, 16)
    for (size_t i = 0; i < documents; i++) {
        struct ce_error mine = {.text = ""};
        enum ce_status status = encode_document(encoding, i, &mine);

        if (status != CE_OK) {
            record(encoding, i, status, &mine);
        }
    }
    if (encoding->status != CE_OK && err != NULL) {
        *err = encoding->error;
    }
    return encoding->status;
}

/* ---- requests from sequences */

struct listing {
    const struct encoding *encoding;
    struct ce_request_list *list;
    const struct ce_generate_settings *settings; /* whose index is settings_index */
    uint32_t settings_index;
    struct ce_error *err;
};

static enum ce_status add_window(struct listing *listing,
                                 const struct ce_encoded_query *encoded,
                                 struct ce_token_window window,
                                 struct ce_token_request request)
{
    request.tokens = encoded->ids.id + window.first;
    request.count = window.count;
    request.scored = window.scored;
    return ce_request_list_add(listing->list, &request, listing->err);
}

static enum ce_status add_rolling(struct listing *listing,
                                  const struct ce_encoded_query *encoded,
                                  struct ce_token_request request)
{
    size_t max_length = listing->encoding->encoder->max_length;
    size_t tokens = encoded->ids.count - encoded->context;
    size_t windows = ce_token_windows_rolling(tokens, max_length);
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < windows; i++) {
        status = add_window(
            listing, encoded, ce_token_window_rolling(tokens, max_length, i), request);
    }
    return status;
}

static enum ce_status add_generate(struct listing *listing,
                                   const struct ce_query *query,
                                   const struct ce_encoded_query *encoded,
                                   struct ce_token_request request)
{
    const struct ce_encoder *encoder = listing->encoding->encoder;
    const struct ce_generate_settings *settings =
        settings_of(listing->encoding->task, query);
    struct ce_token_window window = ce_token_window_generate(
        encoded->context, settings->max_new_tokens, encoder->max_length);
    enum ce_status status = CE_OK;

    if (settings != listing->settings) {
        status =
            ce_request_list_add_settings(listing->list,
                                         settings,
                                         settings->openai ? NULL : encoder->eos_text,
                                         &listing->settings_index,
                                         listing->err);
        listing->settings = settings;
    }
    request.settings = listing->settings_index;
    request.max_new_tokens = settings->max_new_tokens;
    request.dropped = (uint32_t)window.first;
    return status == CE_OK ? add_window(listing, encoded, window, request) : status;
}

static enum ce_status add_query(struct listing *listing, size_t document, size_t index)
{
    const struct encoding *encoding = listing->encoding;
    const struct ce_task *task = encoding->task;
    size_t number = task->document[document].first + index;
    const struct ce_query *query = &task->query[number];
    const struct ce_encoded_query *encoded = &encoding->encoded[number];
    size_t place = encoding->place->first_query + number;
    struct ce_token_request request = {
        .key = place,
        .group = (uint32_t)(encoding->place->first_document + document),
        .query = (uint32_t)place};
    struct ce_token_window window;

    switch (query->kind) {
    case CE_QUERY_LOGLIKELIHOOD:
        window = ce_token_window_score(encoded->context,
                                       encoded->ids.count - encoded->context,
                                       encoding->encoder->max_length);
        request.dropped = (uint32_t)window.first;
        return add_window(listing, encoded, window, request);
    case CE_QUERY_ROLLING:
        return add_rolling(listing, encoded, request);
    case CE_QUERY_GENERATE:
        break;
    }
    if (settings_of(task, query)->openai) {
        request.key = index;
    }
    return add_generate(listing, query, encoded, request);
}

static enum ce_status add_all(struct listing *listing)
{
    const struct ce_task *task = listing->encoding->task;
    enum ce_status status = CE_OK;

    for (size_t i = 0; status == CE_OK && i < task->documents; i++) {
        const struct ce_document *document = &task->document[i];

        for (size_t j = 0; status == CE_OK && j < document->queries; j++) {
            if (is_wanted(listing->encoding, document->first + j)) {
                status = add_query(listing, i, j);
            }
        }
    }
    return status;
}

static void free_encoded(struct encoding *encoding)
{
    for (size_t i = 0; encoding->encoded != NULL && i < encoding->task->queries; i++) {
        ce_ids_free(&encoding->encoded[i].ids);
    }
    free(encoding->encoded);
}

enum ce_status ce_encode_task(const struct ce_encoder *encoder,
                              const struct ce_task *task,
                              const struct ce_encode_place *place,
                              struct ce_request_list *list,
                              struct ce_error *err)
{
    struct encoding encoding = {.encoder = encoder, .task = task, .place = place};
    struct listing listing = {.encoding = &encoding, .list = list, .err = err};
    size_t count = list->count;
    size_t tokens = list->tokens.count;
    enum ce_status status = CE_OK;

    if (place->first_query + task->queries > UINT32_MAX ||
        place->first_document + task->documents > UINT32_MAX) {
        return ce_fail(err, CE_ERR_ARG, "a job is limited to 2^32 queries");
    }
    status = encode_all(&encoding, err);
    if (status == CE_OK) {
        status = add_all(&listing);
    }
    if (status != CE_OK) {
        list->count = count;
        list->tokens.count = tokens;
    }
    free_encoded(&encoding);
    return status;
}
