/* requests.h - what the fuzz targets of requests share
 *
 * Whatever a file asks for, its requests are a table that a rank accepts.
 */

#ifndef CE_TESTS_FUZZ_REQUESTS_H
#define CE_TESTS_FUZZ_REQUESTS_H

#include "eval/encode.h"

#include <stdlib.h>

#define FUZZ_MAX_LENGTH ((size_t)32)

static inline void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static inline const struct ce_encoder *shared_encoder(void)
{
    static struct ce_tokenizer *tokenizer;
    static struct ce_encoder encoder;

    if (tokenizer == NULL) {
        require(ce_tokenizer_open(&tokenizer, CE_MODEL_DIR, NULL) == CE_OK);
        require(ce_encoder_open(
                    &encoder, tokenizer, CE_MODEL_DIR, FUZZ_MAX_LENGTH, NULL) == CE_OK);
    }
    return &encoder;
}

static inline void require_table(const struct ce_request_list *list, size_t queries)
{
    const struct ce_request_limits limits = {
        .vocab = ce_tokenizer_size(shared_encoder()->tokenizer),
        .positions = FUZZ_MAX_LENGTH};
    struct ce_request_table table;
    void *data = NULL;
    size_t bytes = 0;

    require(ce_request_table_build(list, &data, &bytes, NULL) == CE_OK);
    require(ce_request_table_view(&table, data, bytes, &limits, NULL) == CE_OK);
    require(table.count >= queries);
    ce_request_table_free(&table);
    free(data);
}

/* An empty text that is scored from its beginning asks nothing. */
static inline size_t count_asking(const struct ce_task *task)
{
    size_t count = 0;

    for (size_t i = 0; i < task->queries; i++) {
        const struct ce_query *query = &task->query[i];

        count += query->kind != CE_QUERY_ROLLING || query->continuation[0] != '\0';
    }
    return count;
}

/* True when the task could be encoded. */
static inline int check_task(const struct ce_task *task)
{
    const struct ce_encode_place place = {.first_query = 0};
    struct ce_request_list list = {.count = 0};
    enum ce_status status = ce_encode_task(shared_encoder(), task, &place, &list, NULL);

    require(status == CE_OK || status == CE_ERR_FORMAT || status == CE_ERR_ARG);
    if (status == CE_OK) {
        require_table(&list, count_asking(task));
    }
    ce_request_list_free(&list);
    return status == CE_OK;
}

#endif
