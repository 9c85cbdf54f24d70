/* fuzz_safetensors.c - no file image makes the reader misbehave
 *
 * The image is tried as it is and once more with its header length set to end
 * at the last '}', because a fuzzer rarely gets that number right.
 */

#include "model/safetensors.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

/* Touches every byte that a view gives out: a sanitizer sees one outside. */
static size_t read_views(const struct ce_safetensors *file)
{
    static volatile unsigned char sink;
    size_t total = 0;

    for (size_t i = 0; i < file->count; i++) {
        const struct ce_safetensors_entry *entry = &file->entries[i];
        const unsigned char *data = entry->tensor.data;

        require(ce_safetensors_find(file, entry->name) == &entry->tensor);
        for (size_t k = 0; k < entry->tensor.bytes; k++) {
            sink = data[k];
        }
        total += entry->tensor.bytes;
    }
    (void)sink;
    return total;
}

static void try_image(const uint8_t *image, size_t size)
{
    struct ce_safetensors file;
    struct ce_error err = {.text = ""};

    if (ce_safetensors_parse(&file, image, size, "image", &err) == CE_OK) {
        require(read_views(&file) <= size - 8);
    } else {
        require(strncmp(err.text, "image: ", 7) == 0);
    }
    ce_safetensors_close(&file);
}

static size_t end_of_header(const uint8_t *image, size_t size)
{
    while (size > 8 && image[size - 1] != '}') {
        size--;
    }
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_image(data, size);
    if (size <= 8) {
        return 0;
    }
    uint8_t *repaired = malloc(size);

    require(repaired != NULL);
    memcpy(repaired, data, size);
    for (unsigned i = 0; i < 8; i++) {
        repaired[i] = (uint8_t)((end_of_header(data, size) - 8) >> (8 * i));
    }
    try_image(repaired, size);
    free(repaired);
    return 0;
}
