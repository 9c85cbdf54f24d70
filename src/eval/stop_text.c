/* stop_text.c - stop strings in a growing text and in the final one */

#include "eval/stop_text.h"

#include <stdlib.h>
#include <string.h>

void ce_stop_init(struct ce_stop *stop,
                  const struct ce_tokenizer *tokenizer,
                  const struct ce_stop_string *string,
                  size_t strings)
{
    *stop = (struct ce_stop){.string = string, .strings = strings};
    ce_decode_stream_init(&stop->stream, tokenizer, false);
    for (size_t i = 0; i < strings; i++) {
        stop->longest =
            string[i].bytes > stop->longest ? string[i].bytes : stop->longest;
    }
}

void ce_stop_fini(struct ce_stop *stop)
{
    ce_decode_stream_fini(&stop->stream);
    ce_text_free(&stop->tail);
}

/* Keeps what a stop string may still begin with. */
static void drop_head(struct ce_stop *stop)
{
    size_t most = stop->longest == 0 ? 0 : stop->longest - 1;

    if (stop->tail.bytes > most) {
        memmove(stop->tail.data, stop->tail.data + stop->tail.bytes - most, most);
        stop->tail.bytes = most;
    }
}

enum ce_status ce_stop_push(struct ce_stop *stop, int32_t id, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    drop_head(stop);
    status = ce_decode_stream_push(&stop->stream, id, &stop->tail, err);
    for (size_t i = 0; status == CE_OK && i < stop->strings && !stop->found; i++) {
        const struct ce_stop_string *string = &stop->string[i];

        stop->found =
            stop->tail.bytes > 0 &&
            memmem(stop->tail.data, stop->tail.bytes, string->text, string->bytes) !=
                NULL;
    }
    return status;
}

enum ce_status ce_stop_final_text(const struct ce_tokenizer *tokenizer,
                                  const int32_t *ids,
                                  size_t count,
                                  const struct ce_stop_string *string,
                                  size_t strings,
                                  char **text,
                                  struct ce_error *err)
{
    struct ce_text decoded = {.data = NULL};
    enum ce_status status =
        ce_tokenizer_decode(tokenizer, ids, count, true, &decoded, err);

    *text = NULL;
    if (status == CE_OK && decoded.data == NULL) {
        decoded.data = calloc(1, 1);
        if (decoded.data == NULL) {
            status = ce_fail(err, CE_ERR_NOMEM, "no memory for a text");
        }
    }
    if (status != CE_OK) {
        ce_text_free(&decoded);
        return status;
    }
    for (size_t i = 0; i < strings; i++) {
        char *at = memmem(decoded.data, decoded.bytes, string[i].text, string[i].bytes);

        if (at != NULL) {
            decoded.bytes = (size_t)(at - decoded.data);
            *at = '\0';
        }
    }
    *text = decoded.data;
    return CE_OK;
}
