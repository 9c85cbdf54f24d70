/* fuzz_tokenizer_text.c - any bytes are encoded or refused, any ids decoded or
 * refused, and a stream gives what the whole does
 *
 * Input: one byte (0: plain_specials), then text, which is read as ids as well.
 */

#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/utf8.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static const struct ce_tokenizer *shared_tokenizer(void)
{
    static struct ce_tokenizer *tokenizer;

    if (tokenizer == NULL) {
        require(ce_tokenizer_open(&tokenizer, CE_MODEL_DIR, NULL) == CE_OK);
    }
    return tokenizer;
}

static void check_stream(const struct ce_tokenizer *tokenizer,
                         const struct ce_ids *ids,
                         const struct ce_text *whole)
{
    struct ce_decode_stream stream;
    struct ce_text pieces = {.data = NULL};

    ce_decode_stream_init(&stream, tokenizer, false);
    for (size_t i = 0; i < ids->count; i++) {
        size_t start = pieces.bytes;

        require(ce_decode_stream_push(&stream, ids->id[i], &pieces, NULL) == CE_OK);
        require(ce_utf8_valid_bytes(pieces.data + start, pieces.bytes - start) ==
                pieces.bytes - start);
    }
    require(ce_decode_stream_finish(&stream, &pieces, NULL) == CE_OK);
    require(pieces.bytes == whole->bytes);
    require(pieces.bytes == 0 || memcmp(pieces.data, whole->data, pieces.bytes) == 0);
    ce_decode_stream_fini(&stream);
    ce_text_free(&pieces);
}

/* What was decoded, when encoded again, decodes to itself: it is in NFC. */
static void check_text(const struct ce_tokenizer *tokenizer,
                       const char *text,
                       size_t bytes,
                       int plain_specials)
{
    struct ce_ids ids = {.id = NULL};
    struct ce_ids again = {.id = NULL};
    struct ce_text first = {.data = NULL};
    struct ce_text second = {.data = NULL};
    enum ce_status status =
        ce_tokenizer_encode(tokenizer, text, bytes, plain_specials != 0, &ids, NULL);

    require(status ==
            (ce_utf8_valid_bytes(text, bytes) == bytes ? CE_OK : CE_ERR_FORMAT));
    if (status == CE_OK) {
        require(ce_tokenizer_decode(
                    tokenizer, ids.id, ids.count, false, &first, NULL) == CE_OK);
        check_stream(tokenizer, &ids, &first);
        require(ce_tokenizer_encode(
                    tokenizer, first.data, first.bytes, true, &again, NULL) == CE_OK);
        require(ce_tokenizer_decode(
                    tokenizer, again.id, again.count, false, &second, NULL) == CE_OK);
        require(first.bytes == second.bytes);
        require(first.bytes == 0 || memcmp(first.data, second.data, first.bytes) == 0);
    }
    ce_ids_free(&ids);
    ce_ids_free(&again);
    ce_text_free(&first);
    ce_text_free(&second);
}

/* Two bytes an id, all of which the vocabulary has. */
static void
check_ids(const struct ce_tokenizer *tokenizer, const uint8_t *data, size_t size)
{
    struct ce_ids ids = {.id = calloc(size / 2 + 1, sizeof(int32_t))};
    struct ce_text text = {.data = NULL};

    require(ids.id != NULL);
    for (; ids.count < size / 2; ids.count++) {
        size_t id = data[2 * ids.count] * (size_t)256 + data[2 * ids.count + 1];

        ids.id[ids.count] = (int32_t)(id % ce_tokenizer_size(tokenizer));
    }
    require(ce_tokenizer_decode(tokenizer, ids.id, ids.count, false, &text, NULL) ==
            CE_OK);
    require(text.bytes == 0 ||
            ce_utf8_valid_bytes(text.data, text.bytes) == text.bytes);
    check_stream(tokenizer, &ids, &text);
    ce_ids_free(&ids);
    ce_text_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ce_tokenizer *tokenizer = shared_tokenizer();

    if (size > 0) {
        check_text(tokenizer, (const char *)data + 1, size - 1, data[0] == 0);
        check_ids(tokenizer, data + 1, size - 1);
    }
    return 0;
}
