/* bpe_long.c - merging the symbols of a long piece
 *
 *   symbols:  h - e - (l) - l - o        a linked list: a merged symbol drops out
 *   heap:     rank, position of the left symbol of each pair that can merge
 *
 * An entry of the heap may be stale: its pair has changed since. It shows when
 * the pair at the position has another rank, or none.
 */

#include "model/tokenizer/bpe.h"

#define NO_SYMBOL UINT32_MAX

/* A min-heap of rank << 32 | position. */
struct heap {
    uint64_t *entry;
    size_t count;
};

static void sift_down(struct heap *heap, size_t at)
{
    uint64_t moving = heap->entry[at];

    for (size_t child = 2 * at + 1; child < heap->count; child = 2 * at + 1) {
        if (child + 1 < heap->count && heap->entry[child + 1] < heap->entry[child]) {
            child++;
        }
        if (moving <= heap->entry[child]) {
            break;
        }
        heap->entry[at] = heap->entry[child];
        at = child;
    }
    heap->entry[at] = moving;
}

static void push(struct heap *heap, uint64_t entry)
{
    size_t at = heap->count++;

    while (at > 0 && entry < heap->entry[(at - 1) / 2]) {
        heap->entry[at] = heap->entry[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->entry[at] = entry;
}

static uint64_t pop(struct heap *heap)
{
    uint64_t top = heap->entry[0];

    heap->entry[0] = heap->entry[--heap->count];
    if (heap->count > 0) {
        sift_down(heap, 0);
    }
    return top;
}

struct merging {
    const struct ce_bpe *bpe;
    int32_t *id; /* -1: merged into the one before */
    struct ce_bpe_link *link;
    struct heap heap;
};

/* The merge of the symbol at `left` and the next one, or NULL. */
static const struct ce_merge *merge_at(const struct merging *merging, uint32_t left)
{
    uint32_t right = merging->link[left].next;

    if (merging->id[left] < 0 || right == NO_SYMBOL) {
        return NULL;
    }
    return ce_merges_find(&merging->bpe->merges, merging->id[left], merging->id[right]);
}

static void offer(struct merging *merging, uint32_t left)
{
    const struct ce_merge *merge = merge_at(merging, left);

    if (merge != NULL) {
        push(&merging->heap, (uint64_t)merge->rank << 32 | left);
    }
}

/* Merges the symbol at `left` with the next one into `id`. */
static void unite(struct merging *merging, uint32_t left, int32_t id)
{
    uint32_t right = merging->link[left].next;
    uint32_t behind = merging->link[right].next;

    merging->id[left] = id;
    merging->id[right] = -1;
    merging->link[left].next = behind;
    if (behind != NO_SYMBOL) {
        merging->link[behind].previous = left;
    }
}

static void begin(struct merging *merging, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        merging->link[i] = (struct ce_bpe_link){
            .previous = i == 0 ? NO_SYMBOL : (uint32_t)(i - 1),
            .next = i + 1 == count ? NO_SYMBOL : (uint32_t)(i + 1)};
    }
    for (uint32_t i = 0; i < count; i++) {
        offer(merging, i);
    }
}

static size_t drop_merged(int32_t *id, size_t count)
{
    size_t left = 0;

    for (size_t i = 0; i < count; i++) {
        if (id[i] >= 0) {
            id[left++] = id[i];
        }
    }
    return left;
}

/* Each merge takes one entry from the heap and offers two: it never holds more
 * than twice as many as there were symbols. */
size_t ce_bpe_merge_long(const struct ce_bpe *bpe,
                         struct ce_bpe_scratch *scratch,
                         size_t count)
{
    struct merging merging = {.bpe = bpe,
                              .id = scratch->id,
                              .link = scratch->link,
                              .heap = {.entry = scratch->heap}};

    begin(&merging, count);
    while (merging.heap.count > 0) {
        uint64_t top = pop(&merging.heap);
        uint32_t left = (uint32_t)top;
        const struct ce_merge *merge = merge_at(&merging, left);

        if (merge == NULL || merge->rank != (uint32_t)(top >> 32)) {
            continue;
        }
        unite(&merging, left, merge->id);
        if (merging.link[left].previous != NO_SYMBOL) {
            offer(&merging, merging.link[left].previous);
        }
        offer(&merging, left);
    }
    return drop_merged(scratch->id, count);
}
