/* identity.c - chunks to tensors, tensors to a model, and where two ranks differ */

#include "model/identity.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

/* Spreads a hash and the place it has over all bits, so that what is added is not
 * undone by the same hash elsewhere. Source: the finalizer of SplitMix64 (Steele, Lea,
 * Flood, 2014). */
static uint64_t mix(uint64_t hash, uint64_t place)
{
    uint64_t x = hash ^ ((place + 1) * UINT64_C(0x9e3779b97f4a7c15));

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t ce_identity_chunks(const struct ce_kernels *kernels,
                            const void *data,
                            size_t bytes,
                            size_t begin,
                            size_t end)
{
    const size_t first = begin / CE_IDENTITY_CHUNK + (begin % CE_IDENTITY_CHUNK != 0);
    uint64_t sum = 0;

    for (size_t c = first; c * CE_IDENTITY_CHUNK < end; c++) {
        const size_t at = c * CE_IDENTITY_CHUNK;
        const size_t left = bytes - at;

        sum +=
            mix(kernels->checksum((const unsigned char *)data + at,
                                  left < CE_IDENTITY_CHUNK ? left : CE_IDENTITY_CHUNK),
                c);
    }
    return sum;
}

static bool grow(struct ce_identity *identity)
{
    size_t capacity = identity->capacity * 2 + 64;
    struct ce_identity_mark *mark =
        reallocarray(identity->mark, capacity, sizeof(mark[0]));
    struct ce_identity_name *tensor = NULL;

    if (mark == NULL) {
        return false;
    }
    identity->mark = mark;
    tensor = reallocarray(identity->tensor, capacity, sizeof(tensor[0]));
    if (tensor == NULL) {
        return false;
    }
    identity->tensor = tensor;
    identity->capacity = capacity;
    return true;
}

enum ce_status ce_identity_add(struct ce_identity *identity,
                               const struct ce_tensor_slot *slot,
                               const char *dtype,
                               struct ce_error *err)
{
    uint64_t kind = ce_hash_bytes(CE_HASH_START, slot->name, strlen(slot->name) + 1);

    if (identity->count == identity->capacity && !grow(identity)) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the hashes of the tensors");
    }
    kind = ce_hash_bytes(kind, dtype, strlen(dtype) + 1);
    for (unsigned i = 0; i < slot->dims; i++) {
        kind = ce_hash_u64(kind, slot->shape[i]);
    }
    struct ce_identity_name *tensor = &identity->tensor[identity->count];

    memcpy(tensor->name, slot->name, sizeof(tensor->name));
    tensor->is_table = slot->role == CE_TENSOR_TABLE;
    identity->mark[identity->count++] = (struct ce_identity_mark){.kind = kind};
    return CE_OK;
}

void ce_identity_free(struct ce_identity *identity)
{
    free(identity->mark);
    free(identity->tensor);
    *identity = (struct ce_identity){.count = 0};
}

void ce_identity_take_packed(struct ce_identity *identity,
                             const struct ce_packed_tensor *tensor)
{
    struct ce_identity_mark *mark = &identity->mark[identity->count - 1];

    mark->content = 0;
    mark->cover = CE_IDENTITY_WHOLE;
    for (size_t i = 0; i < tensor->checksums; i++) {
        mark->content += mix(tensor->checksum[i], i);
    }
}

/* In kind, or in what both have read in whole. */
static bool differ(const struct ce_identity_mark *const *all,
                   const size_t *count,
                   size_t tensor,
                   int rank,
                   int other,
                   bool *kind)
{
    const bool here = tensor < count[rank];
    const bool there = tensor < count[other];

    *kind = here != there;
    if (*kind || !here) {
        return *kind;
    }
    const struct ce_identity_mark *mine = &all[rank][tensor];
    const struct ce_identity_mark *theirs = &all[other][tensor];

    *kind = mine->kind != theirs->kind;
    return *kind ||
           (mine->cover == CE_IDENTITY_WHOLE && theirs->cover == CE_IDENTITY_WHOLE &&
            mine->content != theirs->content);
}

/* The first rank that read all of it; 0 where there is none. */
static int first_whole(const struct ce_identity_mark *const *all,
                       const size_t *count,
                       int ranks,
                       size_t tensor)
{
    for (int r = 0; r < ranks; r++) {
        if (tensor < count[r] && all[r][tensor].cover == CE_IDENTITY_WHOLE) {
            return r;
        }
    }
    return 0;
}

bool ce_identity_find_difference(const struct ce_identity_mark *const *all,
                                 const size_t *count,
                                 int ranks,
                                 struct ce_identity_difference *difference)
{
    size_t most = 0;

    for (int r = 0; r < ranks; r++) {
        most = count[r] > most ? count[r] : most;
    }
    for (size_t t = 0; t < most; t++) {
        const int whole = first_whole(all, count, ranks, t);

        for (int r = 1; r < ranks; r++) {
            bool kind = false;
            int other = 0;
            bool found = differ(all, count, t, r, other, &kind);

            if (!found && whole != 0 && r > whole) {
                other = whole;
                found = differ(all, count, t, r, other, &kind);
            }
            if (found) {
                *difference = (struct ce_identity_difference){t, r, other, kind};
                return true;
            }
        }
    }
    return false;
}

enum ce_status ce_identity_combine(struct ce_identity *identity,
                                   const struct ce_identity_mark *const *all,
                                   int ranks,
                                   struct ce_error *err)
{
    for (size_t t = 0; t < identity->count; t++) {
        uint64_t whole = 0;
        uint64_t parts = 0;
        bool has_whole = false;
        bool has_parts = false;

        for (int r = 0; r < ranks; r++) {
            const struct ce_identity_mark *mark = &all[r][t];

            if (mark->cover == CE_IDENTITY_WHOLE) {
                whole = mark->content;
                has_whole = true;
            } else if (mark->cover == CE_IDENTITY_PART) {
                parts += mark->content;
                has_parts = true;
            }
        }
        if (!has_whole && !has_parts) {
            return ce_fail(err,
                           CE_ERR_MISMATCH,
                           "tensor '%s': no rank has read it",
                           identity->tensor[t].name);
        }
        identity->mark[t].content = has_whole ? whole : parts;
        identity->mark[t].cover = CE_IDENTITY_WHOLE;
    }
    return CE_OK;
}

uint64_t
ce_identity_sum(const struct ce_identity *identity, bool tables, uint64_t start)
{
    uint64_t hash = start;

    for (size_t t = 0; t < identity->count; t++) {
        if (identity->tensor[t].is_table == tables) {
            hash = ce_hash_u64(hash, identity->mark[t].kind);
            hash = ce_hash_u64(hash, identity->mark[t].content);
        }
    }
    return hash;
}
