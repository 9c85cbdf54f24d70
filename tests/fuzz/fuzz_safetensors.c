/* fuzz_safetensors.c - no file image makes the reader misbehave
 */

#include "model/safetensors.h"
#include "safetensors_image.h"

#include <stdint.h>
#include <string.h>

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_as_is_and_repaired(data, size, try_image);
    return 0;
}
