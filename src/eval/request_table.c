/* request_table.c - bytes from rank 0 become requests, each number checked */

#include "eval/request_table.h"

#include "eval/request_table_parts.h"
#include "model/tokenizer/utf8.h"

#include <math.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>

/* The sections of a table whose sizes hold. */
struct sections {
    struct ce_request_header header;
    const struct ce_request_entry *request;
    const struct ce_settings_entry *settings;
    const struct ce_stop_entry *stop;
    const int32_t *token;
    const char *text;
};

static enum ce_status fail_layout(struct ce_error *err, const char *what)
{
    return ce_fail(err, CE_ERR_FORMAT, "the requests from rank 0: %s", what);
}

/* Takes `count` times `size` bytes off what is left; false when there is less. */
static bool take(const unsigned char **at,
                 size_t *left,
                 uint64_t count,
                 size_t size,
                 const void **section)
{
    if (count > *left / size) {
        return false;
    }
    *section = *at;
    *at += count * size;
    *left -= count * size;
    return true;
}

static enum ce_status find_sections(struct sections *sections,
                                    const void *data,
                                    size_t bytes,
                                    struct ce_error *err)
{
    const unsigned char *at = data;
    const struct ce_request_header *header = data;
    const void *part[5] = {NULL};

    if (bytes < sizeof(*header) || (uintptr_t)data % alignof(uint64_t) != 0) {
        return fail_layout(err, "no header");
    }
    if (header->magic != CE_REQUEST_TABLE_MAGIC) {
        return fail_layout(err, "not a table of requests of this version");
    }
    at += sizeof(*header);
    bytes -= sizeof(*header);
    if (!take(
            &at, &bytes, header->requests, sizeof(struct ce_request_entry), &part[0]) ||
        !take(&at,
              &bytes,
              header->settings,
              sizeof(struct ce_settings_entry),
              &part[1]) ||
        !take(&at, &bytes, header->stops, sizeof(struct ce_stop_entry), &part[2]) ||
        !take(&at, &bytes, header->tokens, sizeof(int32_t), &part[3]) ||
        !take(&at, &bytes, header->text_bytes, 1, &part[4]) || bytes != 0) {
        return fail_layout(err, "sections and size do not agree");
    }
    *sections = (struct sections){.header = *header,
                                  .request = part[0],
                                  .settings = part[1],
                                  .stop = part[2],
                                  .token = part[3],
                                  .text = part[4]};
    return CE_OK;
}

static enum ce_status allocate(struct ce_request_table *table,
                               const struct ce_request_header *header,
                               struct ce_error *err)
{
    table->request = calloc(header->requests + 1, sizeof(table->request[0]));
    table->settings = calloc(header->settings + 1, sizeof(table->settings[0]));
    table->stop = calloc(header->stops + 1, sizeof(table->stop[0]));
    if (table->request == NULL || table->settings == NULL || table->stop == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the requests");
    }
    return CE_OK;
}

static enum ce_status view_stops(struct ce_request_table *table,
                                 const struct sections *sections,
                                 struct ce_error *err)
{
    for (size_t i = 0; i < sections->header.stops; i++) {
        const struct ce_stop_entry *entry = &sections->stop[i];
        uint64_t size = sections->header.text_bytes;

        if (entry->bytes == 0 || entry->offset > size ||
            entry->bytes > size - entry->offset) {
            return fail_layout(err, "a stop string lies outside");
        }
        table->stop[i] = (struct ce_stop_string){.text = sections->text + entry->offset,
                                                 .bytes = entry->bytes};
        if (ce_utf8_valid_bytes(table->stop[i].text, entry->bytes) != entry->bytes) {
            return fail_layout(err, "a stop string is not UTF-8");
        }
    }
    return CE_OK;
}

static enum ce_status view_settings(struct ce_request_table *table,
                                    const struct sections *sections,
                                    struct ce_error *err)
{
    for (size_t i = 0; i < sections->header.settings; i++) {
        const struct ce_settings_entry *entry = &sections->settings[i];
        uint64_t stops = sections->header.stops;

        if (entry->first_stop > stops || entry->stops > stops - entry->first_stop) {
            return fail_layout(err, "settings have stop strings that are not there");
        }
        if (!isfinite(entry->temperature) || entry->temperature < 0 ||
            !(entry->top_p > 0 && entry->top_p <= 1)) {
            return fail_layout(err, "temperature or top_p is out of range");
        }
        table->settings[i] =
            (struct ce_request_settings){.temperature = entry->temperature,
                                         .top_p = entry->top_p,
                                         .seed = entry->seed,
                                         .stop = table->stop + entry->first_stop,
                                         .stops = entry->stops};
    }
    table->settings_count = sections->header.settings;
    return CE_OK;
}

/* Scoring needs a token before the first that is scored and does not run the last. */
static enum ce_status check_request(const struct ce_request_entry *entry,
                                    const struct sections *sections,
                                    const struct ce_request_limits *limits,
                                    struct ce_error *err)
{
    size_t positions = entry->scored > 0
                           ? entry->tokens - (size_t)1
                           : entry->tokens + (size_t)entry->max_new_tokens;

    if (entry->tokens == 0 || entry->first_token > sections->header.tokens ||
        entry->tokens > sections->header.tokens - entry->first_token) {
        return fail_layout(err, "tokens lie outside");
    }
    if (entry->zero != 0 || (entry->scored == 0) != (entry->max_new_tokens > 0) ||
        (entry->scored > 0 && entry->scored >= entry->tokens)) {
        return fail_layout(err, "a request neither scores nor generates");
    }
    if (entry->settings >= sections->header.settings &&
        (entry->scored == 0 || entry->settings != 0)) {
        return fail_layout(err, "a request has settings that are not there");
    }
    if (positions > limits->positions) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "a request takes %zu positions of %zu",
                       positions,
                       limits->positions);
    }
    return CE_OK;
}

/* All tokens at once: requests may share some. */
static enum ce_status check_tokens(const struct sections *sections,
                                   const struct ce_request_limits *limits,
                                   struct ce_error *err)
{
    for (size_t i = 0; i < sections->header.tokens; i++) {
        int32_t token = sections->token[i];

        if (token < 0 || (size_t)token >= limits->vocab) {
            return ce_fail(err,
                           CE_ERR_ARG,
                           "token %d is not among the %zu of the vocabulary",
                           (int)token,
                           limits->vocab);
        }
    }
    return CE_OK;
}

static enum ce_status view_requests(struct ce_request_table *table,
                                    const struct sections *sections,
                                    const struct ce_request_limits *limits,
                                    struct ce_error *err)
{
    enum ce_status status = check_tokens(sections, limits, err);

    for (size_t i = 0; status == CE_OK && i < sections->header.requests; i++) {
        const struct ce_request_entry *entry = &sections->request[i];

        status = check_request(entry, sections, limits, err);
        if (status == CE_OK) {
            table->request[i] = (struct ce_token_request){
                .tokens = sections->token + entry->first_token,
                .count = entry->tokens,
                .scored = entry->scored,
                .max_new_tokens = entry->max_new_tokens,
                .key = entry->key,
                .group = entry->group,
                .settings = entry->settings,
                .query = entry->query,
                .dropped = entry->dropped};
            table->dropping += entry->dropped > 0;
            table->dropped += entry->dropped;
        }
    }
    table->count = status == CE_OK ? sections->header.requests : 0;
    return status;
}

enum ce_status ce_request_table_view(struct ce_request_table *table,
                                     const void *data,
                                     size_t bytes,
                                     const struct ce_request_limits *limits,
                                     struct ce_error *err)
{
    struct sections sections = {.text = NULL};
    enum ce_status status = CE_OK;

    *table = (struct ce_request_table){.request = NULL};
    status = find_sections(&sections, data, bytes, err);
    if (status == CE_OK) {
        status = allocate(table, &sections.header, err);
    }
    if (status == CE_OK) {
        status = view_stops(table, &sections, err);
    }
    if (status == CE_OK) {
        status = view_settings(table, &sections, err);
    }
    return status == CE_OK ? view_requests(table, &sections, limits, err) : status;
}

void ce_request_table_free(struct ce_request_table *table)
{
    free(table->request);
    free(table->settings);
    free(table->stop);
    *table = (struct ce_request_table){.request = NULL};
}
