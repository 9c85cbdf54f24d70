/* request_list.c - requests are collected, then written as one table */

#include "eval/request_table.h"
#include "eval/request_table_parts.h"
#include "model/tokenizer/text.h"

#include <stdlib.h>
#include <string.h>

void ce_request_list_free(struct ce_request_list *list)
{
    free(list->entry);
    free(list->settings);
    free(list->stop);
    ce_ids_free(&list->tokens);
    ce_text_free(&list->text);
    *list = (struct ce_request_list){.entry = NULL};
}

/* Room for one more in an array of which `count` are used; NULL: no memory. */
static void *grow(void *array, size_t count, size_t *capacity, size_t size)
{
    size_t more = *capacity * 2 + 64;
    void *grown = array;

    if (count == *capacity) {
        grown = realloc(array, more * size);
        *capacity = grown != NULL ? more : *capacity;
    }
    return grown;
}

static enum ce_status fail_memory(struct ce_error *err)
{
    return ce_fail(err, CE_ERR_NOMEM, "no memory for the requests");
}

enum ce_status ce_request_list_add(struct ce_request_list *list,
                                   const struct ce_token_request *request,
                                   struct ce_error *err)
{
    struct ce_request_entry *entries =
        grow(list->entry, list->count, &list->capacity, sizeof(list->entry[0]));
    size_t first = list->tokens.count;

    if (entries == NULL) {
        return fail_memory(err);
    }
    list->entry = entries;
    if (request->count > UINT32_MAX || request->max_new_tokens > UINT32_MAX ||
        list->count == UINT32_MAX) {
        return ce_fail(err, CE_ERR_ARG, "a job is limited to 2^32 requests and tokens");
    }
    entries[list->count] =
        (struct ce_request_entry){.first_token = first,
                                  .key = request->key,
                                  .tokens = (uint32_t)request->count,
                                  .scored = (uint32_t)request->scored,
                                  .max_new_tokens = (uint32_t)request->max_new_tokens,
                                  .group = request->group,
                                  .settings = request->settings,
                                  .query = request->query,
                                  .dropped = request->dropped};
    enum ce_status status =
        ce_ids_append(&list->tokens, request->tokens, request->count, err);

    list->count += status == CE_OK;
    return status;
}

/* ---- settings */

static enum ce_status
add_stop(struct ce_request_list *list, const char *text, struct ce_error *err)
{
    struct ce_stop_entry *stops =
        grow(list->stop, list->stops, &list->stop_capacity, sizeof(list->stop[0]));
    struct ce_span span = {.data = text, .bytes = strlen(text)};

    if (stops == NULL) {
        return fail_memory(err);
    }
    list->stop = stops;
    if (span.bytes == 0) {
        return CE_OK;
    }
    stops[list->stops] = (struct ce_stop_entry){list->text.bytes, span.bytes};
    enum ce_status status = ce_text_append(&list->text, span, err);

    list->stops += status == CE_OK;
    return status;
}

static bool has_text(const struct ce_generate_settings *settings, const char *text)
{
    for (size_t i = 0; i < settings->untils; i++) {
        if (strcmp(settings->until[i], text) == 0) {
            return true;
        }
    }
    return false;
}

static bool same_stop(const struct ce_request_list *list, size_t a, size_t b)
{
    const struct ce_stop_entry *one = &list->stop[a];
    const struct ce_stop_entry *other = &list->stop[b];

    return one->bytes == other->bytes && memcmp(list->text.data + one->offset,
                                                list->text.data + other->offset,
                                                one->bytes) == 0;
}

static bool same_settings(const struct ce_request_list *list, size_t a, size_t b)
{
    const struct ce_settings_entry *one = &list->settings[a];
    const struct ce_settings_entry *other = &list->settings[b];

    if (one->temperature != other->temperature || one->top_p != other->top_p ||
        one->seed != other->seed || one->stops != other->stops) {
        return false;
    }
    for (uint32_t i = 0; i < one->stops; i++) {
        if (!same_stop(list, one->first_stop + i, other->first_stop + i)) {
            return false;
        }
    }
    return true;
}

/* Takes the newest settings back where older ones are the same. The last few are
 * compared: a file whose lines all differ must not take quadratic time. */
static uint32_t settle(struct ce_request_list *list, size_t stops, size_t text_bytes)
{
    size_t newest = list->settings_count - 1;
    size_t oldest = newest > 16 ? newest - 16 : 0;

    for (size_t i = newest; i-- > oldest;) {
        if (same_settings(list, i, newest)) {
            list->settings_count = newest;
            list->stops = stops;
            list->text.bytes = text_bytes;
            return (uint32_t)i;
        }
    }
    return (uint32_t)newest;
}

enum ce_status ce_request_list_add_settings(struct ce_request_list *list,
                                            const struct ce_generate_settings *settings,
                                            const char *eos,
                                            uint32_t *index,
                                            struct ce_error *err)
{
    struct ce_settings_entry *all = grow(list->settings,
                                         list->settings_count,
                                         &list->settings_capacity,
                                         sizeof(list->settings[0]));
    size_t stops = list->stops;
    size_t text_bytes = list->text.bytes;
    enum ce_status status = CE_OK;

    if (all == NULL) {
        return fail_memory(err);
    }
    list->settings = all;
    for (size_t i = 0; status == CE_OK && i < settings->untils; i++) {
        status = add_stop(list, settings->until[i], err);
    }
    if (status == CE_OK && eos != NULL && !has_text(settings, eos)) {
        status = add_stop(list, eos, err);
    }
    if (status != CE_OK || list->stops > UINT32_MAX) {
        return status != CE_OK ? status
                               : ce_fail(err, CE_ERR_ARG, "too many stop strings");
    }
    all[list->settings_count++] =
        (struct ce_settings_entry){.temperature = settings->temperature,
                                   .top_p = settings->top_p,
                                   .seed = settings->seed,
                                   .first_stop = (uint32_t)stops,
                                   .stops = (uint32_t)(list->stops - stops)};
    *index = settle(list, stops, text_bytes);
    return CE_OK;
}

/* ---- the table */

static void append(unsigned char **end, const void *data, size_t count, size_t size)
{
    if (count > 0) {
        memcpy(*end, data, count * size);
        *end += count * size;
    }
}

enum ce_status ce_request_table_build(const struct ce_request_list *list,
                                      void **data,
                                      size_t *bytes,
                                      struct ce_error *err)
{
    struct ce_request_header header = {.magic = CE_REQUEST_TABLE_MAGIC,
                                       .requests = list->count,
                                       .settings = list->settings_count,
                                       .stops = list->stops,
                                       .tokens = list->tokens.count,
                                       .text_bytes = list->text.bytes};
    size_t total = sizeof(header) + list->count * sizeof(list->entry[0]) +
                   list->settings_count * sizeof(list->settings[0]) +
                   list->stops * sizeof(list->stop[0]) +
                   list->tokens.count * sizeof(list->tokens.id[0]) + list->text.bytes;
    unsigned char *end = malloc(total);

    *data = end;
    *bytes = end == NULL ? 0 : total;
    if (end == NULL) {
        return fail_memory(err);
    }
    append(&end, &header, 1, sizeof(header));
    append(&end, list->entry, list->count, sizeof(list->entry[0]));
    append(&end, list->settings, list->settings_count, sizeof(list->settings[0]));
    append(&end, list->stop, list->stops, sizeof(list->stop[0]));
    append(&end, list->tokens.id, list->tokens.count, sizeof(list->tokens.id[0]));
    append(&end, list->text.data, list->text.bytes, 1);
    return CE_OK;
}
