/* safetensors_image.h - an image as it is, and once more with a header that ends
 *
 * The length of the header is set to end at the last '}', because a fuzzer rarely gets
 * that number right.
 */

#ifndef CE_TESTS_FUZZ_SAFETENSORS_IMAGE_H
#define CE_TESTS_FUZZ_SAFETENSORS_IMAGE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static size_t end_of_header(const uint8_t *image, size_t size)
{
    while (size > 8 && image[size - 1] != '}') {
        size--;
    }
    return size;
}

static void try_as_is_and_repaired(const uint8_t *data,
                                   size_t size,
                                   void (*try_image)(const uint8_t *image, size_t size))
{
    try_image(data, size);
    if (size <= 8) {
        return;
    }
    uint8_t *repaired = malloc(size);

    require(repaired != NULL);
    memcpy(repaired, data, size);
    for (unsigned i = 0; i < 8; i++) {
        repaired[i] = (uint8_t)((end_of_header(data, size) - 8) >> (8 * i));
    }
    try_image(repaired, size);
    free(repaired);
}

#endif
