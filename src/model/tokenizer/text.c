/* text.c - growing ids and text */

#include "model/tokenizer/text.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY ((size_t)32)

/* At least `wanted`, doubling; 0 when that many elements cannot exist. */
static size_t next_capacity(size_t capacity, size_t wanted, size_t element)
{
    size_t most = (size_t)PTRDIFF_MAX / element;

    if (wanted > most) {
        return 0;
    }
    if (capacity < FIRST_CAPACITY) {
        capacity = FIRST_CAPACITY;
    }
    while (capacity < wanted) {
        capacity = capacity > most / 2 ? most : capacity * 2;
    }
    return capacity;
}

/* NULL when out of memory; *capacity is then as it was. */
static void *grow(void *old, size_t *capacity, size_t used, size_t more, size_t element)
{
    size_t wanted = more > SIZE_MAX - used ? 0 : used + more;
    size_t larger = wanted == 0 ? 0 : next_capacity(*capacity, wanted, element);
    void *new = larger == 0 ? NULL : realloc(old, larger * element);

    if (new != NULL) {
        *capacity = larger;
    }
    return new;
}

void ce_ids_free(struct ce_ids *ids)
{
    free(ids->id);
    *ids = (struct ce_ids){.id = NULL};
}

void ce_text_free(struct ce_text *text)
{
    free(text->data);
    *text = (struct ce_text){.data = NULL};
}

enum ce_status
ce_ids_append(struct ce_ids *ids, const int32_t *id, size_t count, struct ce_error *err)
{
    if (count > ids->capacity - ids->count) {
        int32_t *larger =
            grow(ids->id, &ids->capacity, ids->count, count, sizeof(*larger));

        if (larger == NULL) {
            return ce_fail(err, CE_ERR_NOMEM, "out of memory for token ids");
        }
        ids->id = larger;
    }
    if (count > 0) {
        memcpy(ids->id + ids->count, id, count * sizeof(*id));
        ids->count += count;
    }
    return CE_OK;
}

enum ce_status ce_text_reserve(struct ce_text *text, size_t bytes, struct ce_error *err)
{
    /* Strictly less: one byte is for the NUL. */
    if (text->data == NULL || bytes >= text->capacity - text->bytes) {
        char *larger =
            bytes == SIZE_MAX
                ? NULL
                : grow(text->data, &text->capacity, text->bytes, bytes + 1, 1);

        if (larger == NULL) {
            return ce_fail(err, CE_ERR_NOMEM, "out of memory for text");
        }
        text->data = larger;
        text->data[text->bytes] = '\0';
    }
    return CE_OK;
}

enum ce_status
ce_text_append(struct ce_text *text, struct ce_span more, struct ce_error *err)
{
    enum ce_status status = ce_text_reserve(text, more.bytes, err);

    if (status == CE_OK && more.bytes > 0) {
        memcpy(text->data + text->bytes, more.data, more.bytes);
        text->bytes += more.bytes;
        text->data[text->bytes] = '\0';
    }
    return status;
}

const char *ce_text_quote(char *out, size_t size, struct ce_span text)
{
    size_t bytes = text.bytes < size ? text.bytes : size - 1;

    /* Not in the middle of a character. */
    while (bytes > 0 && bytes < text.bytes &&
           ((unsigned)text.data[bytes] & 0xC0) == 0x80) {
        bytes--;
    }
    for (size_t i = 0; i < bytes; i++) {
        unsigned char byte = (unsigned char)text.data[i];

        out[i] = text.data[i];
        if (byte < 0x20 || byte == 0x7F) {
            out[i] = '?';
        }
    }
    out[bytes] = '\0';
    return out;
}
