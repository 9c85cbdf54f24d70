/* fuzz_tokenizer_json.c - no tokenizer.json makes the reader misbehave, and what
 * it accepts encodes and decodes or fails with an error
 *
 * Input: tokenizer.json, and behind a NUL byte, where there is one,
 * tokenizer_config.json.
 */

#include "base/json.h"
#include "base/log.h"
#include "model/tokenizer/tokenizer_config.h"
#include "model/tokenizer/tokenizer_internal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char text[] = "<s>Hi we'LL  12\n\n\xC3\xA9\xE6\xBC\xA2 e\xCC\x81</s> "
                           "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_\xF0\x9F\x98\x80";

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

/* Every id is a token's. */
static void check_ids(const struct ce_tokenizer *tokenizer, const struct ce_ids *ids)
{
    struct ce_text back = {.data = NULL};

    require(ce_tokenizer_decode(tokenizer, ids->id, ids->count, false, &back, NULL) ==
            CE_OK);
    ce_text_free(&back);
}

/* With the tokens of the second document in the first. */
static enum ce_status open_both(struct ce_tokenizer **tokenizer,
                                const char *json,
                                size_t bytes,
                                const char *config,
                                size_t config_bytes,
                                struct ce_error *err)
{
    json_t *document = NULL;
    json_t *more = NULL;
    enum ce_status status =
        ce_tokenizer_parse_document(&document, json, bytes, "fuzz", err);

    if (status == CE_OK) {
        status = ce_json_parse_object(config, config_bytes, "config", &more, err);
    }
    if (status == CE_OK) {
        status = ce_tokenizer_config_apply(document, more, "config", err);
    }
    if (status == CE_OK) {
        status = ce_tokenizer_read(tokenizer, document, "fuzz", err);
    }
    json_decref(document);
    json_decref(more);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ce_tokenizer *tokenizer = NULL;
    struct ce_error err = {.text = ""};
    struct ce_ids ids = {.id = NULL};
    const char *json = (const char *)data;
    const size_t first = size == 0 ? 0 : strnlen(json, size);

    ce_log_init(CE_LOG_ERROR, 0);
    if ((first < size
             ? open_both(
                   &tokenizer, json, first, json + first + 1, size - first - 1, &err)
             : ce_tokenizer_parse(&tokenizer, json, size, "fuzz", &err)) != CE_OK) {
        require(tokenizer == NULL && err.text[0] != '\0');
        return 0;
    }
    if (ce_tokenizer_encode(tokenizer, text, strlen(text), false, &ids, &err) ==
        CE_OK) {
        check_ids(tokenizer, &ids);
    } else {
        require(ids.count == 0 && err.text[0] != '\0');
    }
    ce_ids_free(&ids);
    ce_tokenizer_close(tokenizer);
    return 0;
}
