/* placement.c - lists of owners, made by a rule */

#include "moe/placement.h"

#include "base/hash.h"
#include "base/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum ce_status ce_placement_create(struct ce_placement *placement,
                                   size_t layers,
                                   size_t experts,
                                   int ranks,
                                   size_t owners,
                                   struct ce_error *err)
{
    *placement =
        (struct ce_placement){.layers = layers, .experts = experts, .ranks = ranks};
    placement->begin = calloc(layers * experts + 1, sizeof(placement->begin[0]));
    placement->owner = calloc(owners, sizeof(placement->owner[0]));
    if (placement->begin == NULL || placement->owner == NULL) {
        ce_placement_destroy(placement);
        return ce_fail(err, CE_ERR_NOMEM, "no memory for a placement");
    }
    return CE_OK;
}

void ce_placement_destroy(struct ce_placement *placement)
{
    free(placement->begin);
    free(placement->owner);
    *placement = (struct ce_placement){0};
}

/* `count` ranks at equal distances from `first` on, ascending: those beyond the
 * last rank start again at 0, and come first. */
static void spread(uint16_t *owner, size_t count, size_t first, size_t ranks)
{
    size_t below = 0; /* how many do not start again */

    while (below < count && first + below * ranks / count < ranks) {
        below++;
    }
    for (size_t i = 0; i < count; i++) {
        size_t j = (below + i) % count;

        owner[i] = (uint16_t)((first + j * ranks / count) % ranks);
    }
}

/* 1 to `most` ranks, every set of a size equally likely; returns how many.
 * Source: Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S. */
static size_t
draw(uint16_t *owner, size_t most, size_t ranks, uint64_t seed, uint64_t index)
{
    size_t count = 1 + (size_t)(ce_random_unit(seed, 0, index) * (double)most);
    size_t taken = 0;

    for (size_t r = 0; taken < count; r++) {
        double chance = (double)(count - taken) / (double)(ranks - r);

        if (ce_random_unit(seed, 1 + r, index) < chance) {
            owner[taken++] = (uint16_t)r;
        }
    }
    return count;
}

/* The rank that owns expert e in a contiguous placement: the last r with
 * r E / N <= e. */
static size_t contiguous_rank(size_t expert, size_t experts, size_t ranks)
{
    return ((expert + 1) * ranks - 1) / experts;
}

static void write_name(struct ce_placement *placement,
                       const struct ce_placement_recipe *recipe)
{
    char replicas[48] = "";

    if (recipe->replicas > 1) {
        (void)snprintf(replicas,
                       sizeof(replicas),
                       ", %s%zu replicas",
                       recipe->kind == CE_PLACEMENT_RANDOM ? "1 to " : "",
                       recipe->replicas);
    }
    if (recipe->kind == CE_PLACEMENT_RANDOM) {
        (void)snprintf(placement->name,
                       sizeof(placement->name),
                       "random %" PRIu64 "%s",
                       recipe->seed,
                       replicas);
        return;
    }
    (void)snprintf(placement->name,
                   sizeof(placement->name),
                   "%s%s",
                   recipe->kind == CE_PLACEMENT_STRIDED ? "strided" : "contiguous",
                   replicas);
}

static void fill(struct ce_placement *placement,
                 const struct ce_placement_recipe *recipe)
{
    size_t ranks = (size_t)placement->ranks;
    size_t used = 0;

    for (size_t i = 0; i < placement->layers * placement->experts; i++) {
        uint16_t *owner = placement->owner + used;
        size_t e = i % placement->experts;
        size_t first = recipe->kind == CE_PLACEMENT_STRIDED
                           ? e % ranks
                           : contiguous_rank(e, placement->experts, ranks);

        if (recipe->kind == CE_PLACEMENT_RANDOM) {
            used += draw(owner, recipe->replicas, ranks, recipe->seed, i);
        } else {
            spread(owner, recipe->replicas, first, ranks);
            used += recipe->replicas;
        }
        placement->begin[i + 1] = used;
    }
}

enum ce_status ce_placement_make(struct ce_placement *placement,
                                 const struct ce_placement_recipe *recipe,
                                 size_t layers,
                                 size_t experts,
                                 int ranks,
                                 struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *placement = (struct ce_placement){0};
    if (recipe->replicas < 1 || recipe->replicas > (size_t)ranks) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "%zu replicas of an expert on %d rank(s): 1 to %d are possible, "
                       "one a rank",
                       recipe->replicas,
                       ranks,
                       ranks);
    }
    status = ce_placement_create(
        placement, layers, experts, ranks, layers * experts * recipe->replicas, err);
    if (status == CE_OK) {
        write_name(placement, recipe);
        fill(placement, recipe);
    }
    return status;
}

enum ce_status ce_placement_contiguous(struct ce_placement *placement,
                                       size_t layers,
                                       size_t experts,
                                       int ranks,
                                       struct ce_error *err)
{
    struct ce_placement_recipe recipe = {.kind = CE_PLACEMENT_CONTIGUOUS,
                                         .replicas = 1};

    return ce_placement_make(placement, &recipe, layers, experts, ranks, err);
}

struct ce_owners
ce_placement_owners(const struct ce_placement *placement, size_t layer, size_t expert)
{
    const size_t *begin = placement->begin + layer * placement->experts + expert;

    return (struct ce_owners){placement->owner + begin[0], begin[1] - begin[0]};
}

bool ce_owners_include(struct ce_owners owners, size_t rank)
{
    for (size_t i = 0; i < owners.count; i++) {
        if (owners.rank[i] == rank) {
            return true;
        }
    }
    return false;
}

void ce_placement_mask(const struct ce_placement *placement,
                       int rank,
                       unsigned char *owned)
{
    for (size_t i = 0; i < placement->layers * placement->experts; i++) {
        owned[i] =
            ce_owners_include(ce_placement_owners(placement, 0, i), (size_t)rank);
    }
}

size_t
ce_placement_shard(const struct ce_placement *placement, size_t layer, size_t rank)
{
    size_t count = 0;

    for (size_t e = 0; e < placement->experts; e++) {
        count += ce_owners_include(ce_placement_owners(placement, layer, e), rank);
    }
    return count;
}

size_t ce_placement_largest_shard(const struct ce_placement *placement)
{
    size_t largest = 0;

    for (size_t layer = 0; layer < placement->layers; layer++) {
        for (int rank = 0; rank < placement->ranks; rank++) {
            size_t size = ce_placement_shard(placement, layer, (size_t)rank);

            largest = size > largest ? size : largest;
        }
    }
    return largest;
}

uint64_t ce_placement_hash(const struct ce_placement *placement)
{
    uint64_t hash = ce_hash_u64(CE_HASH_START, placement->layers);

    hash = ce_hash_u64(hash, placement->experts);
    hash = ce_hash_u64(hash, (uint64_t)placement->ranks);
    for (size_t i = 0; i < placement->layers * placement->experts; i++) {
        struct ce_owners owners = ce_placement_owners(placement, 0, i);

        hash = ce_hash_u64(hash, owners.count);
        for (size_t j = 0; j < owners.count; j++) {
            hash = ce_hash_u64(hash, owners.rank[j]);
        }
    }
    return hash;
}

bool ce_placement_has_replicas(const struct ce_placement *placement)
{
    size_t experts = placement->layers * placement->experts;

    return placement->begin[experts] > experts;
}
