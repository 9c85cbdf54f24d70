/* fuzz_request_table.c - any bytes are a table of requests or refused, and what is in a
 * table can be relied on */

#include "eval/request_table.h"
#include "model/tokenizer/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct ce_request_limits limits = {.vocab = 300, .positions = 40};

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static void check_request(const struct ce_request_table *table,
                          const struct ce_token_request *request)
{
    size_t positions = request->count + request->max_new_tokens - (request->scored > 0);

    require(request->count > 0 && positions <= limits.positions);
    require(request->scored < request->count);
    require((request->scored > 0) != (request->max_new_tokens > 0));
    require(request->scored > 0 || request->settings < table->settings_count);
    for (size_t i = 0; i < request->count; i++) {
        require(request->tokens[i] >= 0 && (size_t)request->tokens[i] < limits.vocab);
    }
}

static void check_settings(const struct ce_request_settings *settings)
{
    require(isfinite(settings->temperature) && settings->temperature >= 0);
    require(settings->top_p > 0 && settings->top_p <= 1);
    for (size_t i = 0; i < settings->stops; i++) {
        require(settings->stop[i].bytes > 0);
        require(ce_utf8_valid_bytes(settings->stop[i].text, settings->stop[i].bytes) ==
                settings->stop[i].bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void *copy = malloc(size > 0 ? size : 1); /* aligned, its end watched */
    struct ce_request_table table;

    require(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    if (ce_request_table_view(&table, copy, size, &limits, NULL) == CE_OK) {
        for (size_t i = 0; i < table.count; i++) {
            check_request(&table, &table.request[i]);
        }
        for (size_t i = 0; i < table.settings_count; i++) {
            check_settings(&table.settings[i]);
        }
    }
    ce_request_table_free(&table);
    free(copy);
    return 0;
}
