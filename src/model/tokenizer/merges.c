/* merges.c - which two symbols become one, and in which order */

#include "model/tokenizer/merges.h"

#include <stdlib.h>
#include <string.h>

#define EMPTY UINT64_MAX

static uint64_t key_of(int32_t left, int32_t right)
{
    return (uint64_t)left << 24 | (uint64_t)right;
}

/* Source: the finalizer of MurmurHash3. */
static size_t hash_key(uint64_t key)
{
    key = (key ^ key >> 33) * 0xFF51AFD7ED558CCDU;
    key = (key ^ key >> 33) * 0xC4CEB9FE1A85EC53U;
    return (size_t)(key ^ key >> 33);
}

static struct ce_merge *find_slot(const struct ce_merges *merges, uint64_t key)
{
    size_t at = hash_key(key) & merges->mask;

    while (merges->slot[at].key != key && merges->slot[at].key != EMPTY) {
        at = (at + 1) & merges->mask;
    }
    return &merges->slot[at];
}

const struct ce_merge *
ce_merges_find(const struct ce_merges *merges, int32_t left, int32_t right)
{
    const struct ce_merge *slot = find_slot(merges, key_of(left, right));

    return slot->key == EMPTY ? NULL : slot;
}

static enum ce_status
create_slots(struct ce_merges *merges, size_t count, struct ce_error *err)
{
    size_t slots = 16;

    while (slots / 2 < count) {
        slots *= 2;
    }
    merges->slot = malloc(slots * sizeof(*merges->slot));
    if (merges->slot == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "out of memory for the merges");
    }
    for (size_t i = 0; i < slots; i++) {
        merges->slot[i] = (struct ce_merge){.key = EMPTY};
    }
    merges->mask = slots - 1;
    return CE_OK;
}

struct pair {
    struct ce_span left;
    struct ce_span right;
};

/* "left right": exactly one U+0020. */
static bool split_line(struct ce_span line, struct pair *pair)
{
    const char *space = memchr(line.data, ' ', line.bytes);

    if (space == NULL) {
        return false;
    }
    size_t left = (size_t)(space - line.data);

    pair->left = (struct ce_span){.data = line.data, .bytes = left};
    pair->right = (struct ce_span){.data = space + 1, .bytes = line.bytes - left - 1};
    return memchr(pair->right.data, ' ', pair->right.bytes) == NULL;
}

static struct ce_span span_of(const json_t *string)
{
    return (struct ce_span){.data = json_string_value(string),
                            .bytes = json_string_length(string)};
}

static bool read_pair(const json_t *item, struct pair *pair)
{
    if (json_is_string(item)) {
        return split_line(span_of(item), pair);
    }
    const json_t *left = json_array_get(item, 0);
    const json_t *right = json_array_get(item, 1);

    if (json_array_size(item) != 2 || !json_is_string(left) || !json_is_string(right)) {
        return false;
    }
    pair->left = span_of(left);
    pair->right = span_of(right);
    return true;
}

/* -1 when the vocabulary has no such token. */
static int32_t find_token(const json_t *vocab, struct ce_span text)
{
    const json_t *id = json_object_getn(vocab, text.data, text.bytes);

    return id == NULL ? -1 : (int32_t)json_integer_value(id);
}

static enum ce_status
fail_item(const char *file, size_t index, const char *why, struct ce_error *err)
{
    return ce_fail(err, CE_ERR_FORMAT, "%s: model.merges[%zu]: %s", file, index, why);
}

static enum ce_status add_merge(struct ce_merges *merges,
                                const struct pair *pair,
                                const json_t *vocab,
                                uint32_t rank,
                                struct ce_text *joined,
                                bool *known,
                                struct ce_error *err)
{
    joined->bytes = 0;
    enum ce_status status = ce_text_append(joined, pair->left, err);

    if (status == CE_OK) {
        status = ce_text_append(joined, pair->right, err);
    }
    if (status != CE_OK) {
        return status;
    }
    struct ce_span whole = {.data = joined->data, .bytes = joined->bytes};
    int32_t left = find_token(vocab, pair->left);
    int32_t right = find_token(vocab, pair->right);
    int32_t id = find_token(vocab, whole);

    *known = left >= 0 && right >= 0 && id >= 0;
    if (*known) {
        /* Of two merges of one pair the later counts. */
        uint64_t key = key_of(left, right);

        *find_slot(merges, key) = (struct ce_merge){.key = key, .rank = rank, .id = id};
    }
    return CE_OK;
}

/* Files converted from merges.txt may still have its first line. */
static bool is_version_line(const json_t *item)
{
    const char *text = json_string_value(item);

    return text != NULL && strncmp(text, "#version", strlen("#version")) == 0;
}

enum ce_status ce_merges_read(struct ce_merges *merges,
                              const json_t *list,
                              const json_t *vocab,
                              const char *file,
                              struct ce_error *err)
{
    struct ce_text joined = {.data = NULL};
    enum ce_status status = create_slots(merges, json_array_size(list), err);

    for (size_t i = 0; i < json_array_size(list) && status == CE_OK; i++) {
        const json_t *item = json_array_get(list, i);
        struct pair pair;
        bool known = false;

        if (is_version_line(item)) {
            continue;
        }
        if (!read_pair(item, &pair)) {
            status = fail_item(file, i, "is not two strings", err);
            break;
        }
        status = add_merge(merges, &pair, vocab, (uint32_t)i, &joined, &known, err);
        if (status == CE_OK && !known) {
            status =
                fail_item(file, i, "a part or the result is not in model.vocab", err);
        }
    }
    ce_text_free(&joined);
    return status;
}

void ce_merges_fini(struct ce_merges *merges)
{
    free(merges->slot);
}
