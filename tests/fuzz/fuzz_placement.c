/* fuzz_placement.c - no file image gives a placement that is not valid
 *
 * The input is tried as a whole file and once more as what stands inside one,
 * because a fuzzer cannot guess a checksum.
 */

#include "base/hash.h"
#include "moe/placement_file.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static void check(const struct ce_placement *placement)
{
    size_t used = 0;

    require(placement->layers > 0 && placement->experts > 0 && placement->ranks > 0);
    require(strlen(placement->name) < CE_PLACEMENT_NAME);
    for (size_t i = 0; i < placement->layers * placement->experts; i++) {
        struct ce_owners owners = ce_placement_owners(placement, 0, i);

        require(owners.count > 0 && owners.rank == placement->owner + used);
        for (size_t j = 0; j < owners.count; j++) {
            require(owners.rank[j] < placement->ranks);
            require(j == 0 || owners.rank[j - 1] < owners.rank[j]);
        }
        used += owners.count;
    }
    (void)ce_placement_hash(placement);
}

static void try_image(const uint8_t *image, size_t size)
{
    struct ce_placement placement;
    struct ce_error err = {.text = ""};

    if (ce_placement_parse(&placement, image, size, "image", &err) == CE_OK) {
        check(&placement);
    } else {
        require(strncmp(err.text, "image: ", 7) == 0);
        require(placement.begin == NULL && placement.owner == NULL);
    }
    ce_placement_destroy(&placement);
}

/* Format 1, the checksum and the bytes as protobuf writes them; returns the size. */
static size_t wrap(uint8_t *image, const uint8_t *data, size_t size)
{
    uint64_t checksum = ce_hash_bytes(CE_HASH_START, data, size);
    size_t used = 0;

    image[used++] = 0x08;
    image[used++] = 1;
    image[used++] = 0x11;
    for (unsigned i = 0; i < 8; i++) {
        image[used++] = (uint8_t)(checksum >> (8 * i));
    }
    image[used++] = 0x1a;
    for (size_t left = size; used == 12 || left > 0; left >>= 7) {
        image[used++] = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    }
    for (size_t i = 0; i < size; i++) {
        image[used + i] = data[i];
    }
    return used + size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *image = malloc(size + 32);

    require(image != NULL);
    try_image(data, size);
    try_image(image, wrap(image, data, size));
    free(image);
    return 0;
}
