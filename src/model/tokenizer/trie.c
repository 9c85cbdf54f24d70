/* trie.c - the longest of many strings that a text begins with */

#include "model/tokenizer/trie.h"

#include <stdlib.h>

static enum ce_status reserve(struct ce_trie *trie, size_t nodes, struct ce_error *err)
{
    size_t wanted = trie->count + nodes;
    size_t larger = trie->capacity < 64 ? 64 : trie->capacity;

    while (larger < wanted) {
        larger *= 2;
    }
    if (larger == trie->capacity) {
        return CE_OK;
    }
    struct ce_trie_node *node =
        larger > UINT32_MAX ? NULL : realloc(trie->node, larger * sizeof(*node));

    if (node == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "out of memory for the added tokens");
    }
    trie->node = node;
    trie->capacity = larger;
    return CE_OK;
}

static uint32_t find_child(const struct ce_trie *trie,
                           uint32_t parent,
                           unsigned char byte,
                           size_t *visits)
{
    uint32_t child = trie->node[parent].child;

    while (child != 0 && trie->node[child].byte != byte) {
        child = trie->node[child].sibling;
        ++*visits;
    }
    ++*visits;
    return child;
}

/* There is room. `sibling` is the head of the list the node begins. */
static uint32_t create_node(struct ce_trie *trie, unsigned char byte, uint32_t sibling)
{
    uint32_t index = (uint32_t)trie->count++;

    trie->node[index] =
        (struct ce_trie_node){.value = -1, .byte = byte, .sibling = sibling};
    return index;
}

static uint32_t find_or_create_root(struct ce_trie *trie, unsigned char byte)
{
    if (trie->root[byte] == 0) {
        trie->root[byte] = create_node(trie, byte, 0);
    }
    return trie->root[byte];
}

static uint32_t
find_or_create_child(struct ce_trie *trie, uint32_t parent, unsigned char byte)
{
    size_t visits = 0;
    uint32_t child = find_child(trie, parent, byte, &visits);

    if (child == 0) {
        child = create_node(trie, byte, trie->node[parent].child);
        trie->node[parent].child = child;
    }
    return child;
}

enum ce_status ce_trie_add(struct ce_trie *trie,
                           struct ce_span key,
                           int32_t value,
                           bool *added,
                           struct ce_error *err)
{
    /* One more: node 0 stands for none. */
    enum ce_status status = reserve(trie, key.bytes + 1, err);

    if (status != CE_OK) {
        return status;
    }
    if (trie->count == 0) {
        (void)create_node(trie, 0, 0);
    }
    uint32_t at = find_or_create_root(trie, (unsigned char)key.data[0]);

    for (size_t i = 1; i < key.bytes; i++) {
        at = find_or_create_child(trie, at, (unsigned char)key.data[i]);
    }
    *added = trie->node[at].value < 0;
    if (*added) {
        trie->node[at].value = value;
    }
    return CE_OK;
}

int32_t ce_trie_longest(const struct ce_trie *trie,
                        struct ce_span text,
                        size_t *bytes,
                        size_t *visits)
{
    int32_t value = -1;
    uint32_t at = text.bytes == 0 ? 0 : trie->root[(unsigned char)text.data[0]];

    for (size_t i = 1; at != 0; i++) {
        if (trie->node[at].value >= 0) {
            value = trie->node[at].value;
            *bytes = i;
        }
        at = i < text.bytes ? find_child(trie, at, (unsigned char)text.data[i], visits)
                            : 0;
    }
    return value;
}

void ce_trie_fini(struct ce_trie *trie)
{
    free(trie->node);
}
