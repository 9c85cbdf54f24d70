/* vocabulary.c - from the text of a token to its id */

#include "model/tokenizer/vocabulary.h"

#include "model/tokenizer/byte_alphabet.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_text(struct ce_span text)
{
    uint64_t hash = 14695981039346656037U;

    for (size_t i = 0; i < text.bytes; i++) {
        hash = (hash ^ (unsigned char)text.data[i]) * 1099511628211U;
    }
    return hash ^ hash >> 32;
}

static struct ce_vocabulary_slot *find_slot(const struct ce_vocabulary *vocabulary,
                                            struct ce_span text)
{
    size_t at = (size_t)hash_text(text) & vocabulary->mask;

    for (;; at = (at + 1) & vocabulary->mask) {
        struct ce_vocabulary_slot *slot = &vocabulary->slot[at];

        if (slot->id < 0 ||
            (slot->bytes == text.bytes &&
             memcmp(vocabulary->text.data + slot->offset, text.data, text.bytes) ==
                 0)) {
            return slot;
        }
    }
}

int32_t ce_vocabulary_find(const struct ce_vocabulary *vocabulary, struct ce_span text)
{
    return find_slot(vocabulary, text)->id;
}

static enum ce_status
fail_entry(const char *file, struct ce_span key, const char *why, struct ce_error *err)
{
    char name[64];

    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: model.vocab: \"%s\" %s",
                   file,
                   ce_text_quote(name, sizeof(name), key),
                   why);
}

/* Twice as many slots as tokens, at least; all empty. */
static enum ce_status
create_slots(struct ce_vocabulary *vocabulary, size_t tokens, struct ce_error *err)
{
    size_t slots = 16;

    while (slots / 2 < tokens) {
        slots *= 2;
    }
    vocabulary->slot = malloc(slots * sizeof(*vocabulary->slot));
    if (vocabulary->slot == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "out of memory for the vocabulary");
    }
    for (size_t i = 0; i < slots; i++) {
        vocabulary->slot[i] = (struct ce_vocabulary_slot){.id = -1};
    }
    vocabulary->mask = slots - 1;
    return CE_OK;
}

/* Appends the text of a token; false when BPE can never produce it. */
static bool
append_text(struct ce_text *text, struct ce_span key, bool byte_level, size_t *bytes)
{
    if (byte_level) {
        return ce_byte_alphabet_decode(key, text->data + text->bytes, bytes);
    }
    memcpy(text->data + text->bytes, key.data, key.bytes);
    *bytes = key.bytes;
    return true;
}

static enum ce_status add_token(struct ce_vocabulary *vocabulary,
                                struct ce_span key,
                                int32_t id,
                                bool byte_level,
                                struct ce_error *err)
{
    struct ce_text *text = &vocabulary->text;
    size_t bytes = 0;
    enum ce_status status = ce_text_reserve(text, key.bytes, err);

    if (status != CE_OK || !append_text(text, key, byte_level, &bytes)) {
        return status;
    }
    if (text->bytes + bytes > UINT32_MAX) {
        return ce_fail(err, CE_ERR_NOMEM, "the vocabulary is longer than 4 GiB");
    }
    struct ce_span own = {.data = text->data + text->bytes, .bytes = bytes};

    *find_slot(vocabulary, own) = (struct ce_vocabulary_slot){
        .offset = (uint32_t)text->bytes, .bytes = (uint32_t)bytes, .id = id};
    text->bytes += bytes;
    return CE_OK;
}

enum ce_status ce_vocabulary_read(struct ce_vocabulary *vocabulary,
                                  json_t *vocab,
                                  bool byte_level,
                                  const char *file,
                                  struct ce_error *err)
{
    enum ce_status status = create_slots(vocabulary, json_object_size(vocab), err);
    void *entry = json_object_iter(vocab);

    for (; entry != NULL && status == CE_OK;
         entry = json_object_iter_next(vocab, entry)) {
        const json_t *value = json_object_iter_value(entry);
        json_int_t id = json_integer_value(value);
        struct ce_span key = {.data = json_object_iter_key(entry),
                              .bytes = json_object_iter_key_len(entry)};

        if (!json_is_integer(value) || id < 0 || (size_t)id >= CE_TOKEN_ID_LIMIT) {
            return fail_entry(file, key, "has no id from 0 to 2^24 - 1", err);
        }
        if ((size_t)id >= vocabulary->size) {
            vocabulary->size = (size_t)id + 1;
        }
        status = add_token(vocabulary, key, (int32_t)id, byte_level, err);
    }
    return status;
}

void ce_vocabulary_fini(struct ce_vocabulary *vocabulary)
{
    free(vocabulary->slot);
    ce_text_free(&vocabulary->text);
}
