/* fuzz_openai_batch.c - any bytes are a batch or refused; each line of a batch is an
 * error or can be run, and has an output line that is JSON */

#include "eval/openai_batch.h"
#include "requests.h"

#include <string.h>

static void check_line(const struct ce_openai_batch *batch,
                       size_t document,
                       const struct ce_outcome *outcome)
{
    char *text = NULL;
    json_t *line = NULL;

    require(ce_openai_batch_write(batch, document, outcome, 1, &text, NULL) == CE_OK);
    require(strchr(text, '\n') == NULL);
    line = json_loads(text, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    require(line != NULL);
    json_decref(line);
    free(text);
}

static void check_lines(const struct ce_openai_batch *batch)
{
    static char answer[] = "answer";
    struct ce_outcome *outcomes = calloc(batch->task.queries + 1, sizeof(*outcomes));

    require(outcomes != NULL);
    for (size_t i = 0; i < batch->task.queries; i++) {
        outcomes[i] =
            (struct ce_outcome){.done = true, .text = answer, .by_length = i % 2 == 0};
    }
    for (size_t i = 0; i < batch->task.documents; i++) {
        const struct ce_document *document = &batch->task.document[i];

        require(ce_openai_batch_is_error(batch, i) == (document->queries == 0));
        check_line(batch, i, outcomes + document->first);
    }
    free(outcomes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ce_openai_batch batch;

    if (ce_openai_batch_parse(
            &batch, (const char *)data, size, "batch", shared_encoder(), NULL) ==
        CE_OK) {
        require(batch.task.documents > 0);
        require(check_task(&batch.task));
        check_lines(&batch);
    }
    ce_openai_batch_close(&batch);
    return 0;
}
