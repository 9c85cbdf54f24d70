/* bpe.c - byte pair encoding of one piece of text
 *
 * Nearly all pieces are words of a few symbols: the pair to merge is looked for
 * among all of them. Long pieces are the matter of bpe_long.c.
 */

#include "model/tokenizer/bpe.h"

#include "model/tokenizer/utf8.h"

#include <stdlib.h>
#include <string.h>

/* Up to here looking at all pairs beats the heap. */
#define SHORT_PIECE ((size_t)24)

#define NO_MERGE UINT32_MAX

/* Room for one symbol a byte of the piece: there are never more. */
struct symbols {
    int32_t *id;
    size_t count;
};

static void add_symbol(struct symbols *symbols, int32_t id)
{
    symbols->id[symbols->count++] = id;
}

/* The tokens of its bytes in place of a character; false when one is missing. */
static bool add_fallback(const struct ce_bpe *bpe,
                         struct symbols *symbols,
                         struct ce_span character)
{
    for (size_t i = 0; i < character.bytes; i++) {
        if (bpe->fallback_id[(unsigned char)character.data[i]] < 0) {
            return false;
        }
    }
    for (size_t i = 0; i < character.bytes; i++) {
        add_symbol(symbols, bpe->fallback_id[(unsigned char)character.data[i]]);
    }
    return true;
}

/* `unknown` tells whether one waits to be added: like in the reference it is
 * added before the next known character, behind bytes that stand between. */
static void add_character(const struct ce_bpe *bpe,
                          struct symbols *symbols,
                          struct ce_span character,
                          int32_t id,
                          bool *unknown)
{
    if (id < 0 && bpe->byte_fallback && add_fallback(bpe, symbols, character)) {
        return;
    }
    if (*unknown && (id >= 0 || !bpe->fuse_unknown)) {
        add_symbol(symbols, bpe->unknown);
        *unknown = false;
    }
    if (id >= 0) {
        add_symbol(symbols, id);
    } else if (bpe->unknown >= 0) {
        *unknown = true;
    }
}

static void
begin(const struct ce_bpe *bpe, struct symbols *symbols, struct ce_span piece)
{
    bool unknown = false;

    for (size_t at = 0; at < piece.bytes;) {
        struct ce_span character = {.data = piece.data + at, .bytes = 1};
        int32_t id;

        if (bpe->byte_level) {
            id = bpe->byte_id[(unsigned char)*character.data];
        } else {
            character.bytes = ce_utf8_read(character.data, piece.bytes - at).bytes;
            id = ce_vocabulary_find(&bpe->vocabulary, character);
        }
        add_character(bpe, symbols, character, id, &unknown);
        at += character.bytes;
    }
    if (unknown) {
        add_symbol(symbols, bpe->unknown);
    }
}

/* A symbol, and what it would become together with the next one. */
struct candidate {
    int32_t id;
    int32_t merged;
    uint32_t rank; /* NO_MERGE: they do not merge, or it is the last */
};

static void find_merge(const struct ce_bpe *bpe, struct candidate *left)
{
    const struct ce_merge *merge = ce_merges_find(&bpe->merges, left[0].id, left[1].id);

    left->rank = merge == NULL ? NO_MERGE : merge->rank;
    left->merged = merge == NULL ? -1 : merge->id;
}

static size_t find_best(const struct candidate *candidate, size_t count)
{
    size_t best = 0;

    for (size_t i = 1; i < count; i++) {
        best = candidate[i].rank < candidate[best].rank ? i : best;
    }
    return best;
}

/* Merges id[0 .. count-1] in place, returns how many are left. */
static size_t merge_short(const struct ce_bpe *bpe, int32_t *id, size_t count)
{
    struct candidate candidate[SHORT_PIECE];

    for (size_t i = 0; i < count; i++) {
        candidate[i] = (struct candidate){.id = id[i], .rank = NO_MERGE};
    }
    for (size_t i = 0; i + 1 < count; i++) {
        find_merge(bpe, &candidate[i]);
    }
    while (count > 1) {
        size_t best = find_best(candidate, count);

        if (candidate[best].rank == NO_MERGE) {
            break;
        }
        candidate[best] =
            (struct candidate){.id = candidate[best].merged, .rank = NO_MERGE};
        count--;
        memmove(&candidate[best + 1],
                &candidate[best + 2],
                (count - best - 1) * sizeof(candidate[0]));
        if (best + 1 < count) {
            find_merge(bpe, &candidate[best]);
        }
        if (best > 0) {
            find_merge(bpe, &candidate[best - 1]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        id[i] = candidate[i].id;
    }
    return count;
}

static enum ce_status
reserve(struct ce_bpe_scratch *scratch, size_t symbols, struct ce_error *err)
{
    if (symbols <= scratch->capacity) {
        return CE_OK;
    }
    ce_bpe_scratch_fini(scratch);
    scratch->id = calloc(symbols, sizeof(*scratch->id));
    scratch->link = calloc(symbols, sizeof(*scratch->link));
    scratch->heap = calloc(symbols, 2 * sizeof(*scratch->heap));
    if (scratch->id == NULL || scratch->link == NULL || scratch->heap == NULL) {
        return ce_fail(
            err, CE_ERR_NOMEM, "out of memory for a piece of %zu bytes", symbols);
    }
    scratch->capacity = symbols;
    return CE_OK;
}

void ce_bpe_scratch_fini(struct ce_bpe_scratch *scratch)
{
    free(scratch->id);
    free(scratch->link);
    free(scratch->heap);
    *scratch = (struct ce_bpe_scratch){.id = NULL};
}

static enum ce_status encode_short(const struct ce_bpe *bpe,
                                   struct ce_span piece,
                                   struct ce_ids *ids,
                                   struct ce_error *err)
{
    int32_t id[SHORT_PIECE];
    struct symbols symbols = {.id = id};

    begin(bpe, &symbols, piece);
    return ce_ids_append(ids, id, merge_short(bpe, id, symbols.count), err);
}

static enum ce_status encode_long(const struct ce_bpe *bpe,
                                  struct ce_bpe_scratch *scratch,
                                  struct ce_span piece,
                                  struct ce_ids *ids,
                                  struct ce_error *err)
{
    enum ce_status status = reserve(scratch, piece.bytes, err);
    struct symbols symbols = {.id = scratch->id};

    if (status != CE_OK) {
        return status;
    }
    begin(bpe, &symbols, piece);
    return ce_ids_append(
        ids, scratch->id, ce_bpe_merge_long(bpe, scratch, symbols.count), err);
}

enum ce_status ce_bpe_encode(const struct ce_bpe *bpe,
                             struct ce_bpe_scratch *scratch,
                             struct ce_span piece,
                             struct ce_ids *ids,
                             struct ce_error *err)
{
    if (bpe->ignore_merges) {
        int32_t id = ce_vocabulary_find(&bpe->vocabulary, piece);

        if (id >= 0) {
            return ce_ids_append(ids, &id, 1, err);
        }
    }
    return piece.bytes <= SHORT_PIECE ? encode_short(bpe, piece, ids, err)
                                      : encode_long(bpe, scratch, piece, ids, err);
}
