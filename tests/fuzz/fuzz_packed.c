/* fuzz_packed.c - no file gives a packed model that is not valid
 *
 * The input is tried as a whole file and once more as the header of one, because a
 * fuzzer cannot guess a checksum. Then its first byte is the number of pages
 * before the header; the data there is zeros.
 */

#include "kernels/kernels.h"
#include "model/packed_file.h"

#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FRONT = 24, ENVELOPE = 32, PAGE = 4096 };

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

/* All tensors lie apart within the file, so there is never much to read. */
static void check(const struct ce_packed_file *file, size_t size)
{
    struct ce_packed_read *reads = calloc(file->count + 1, sizeof(*reads));
    struct ce_error err = {.text = ""};
    size_t total = 0;
    enum ce_status status = CE_OK;

    require(reads != NULL);
    for (size_t i = 0; i < file->count; i++) {
        const struct ce_packed_tensor *tensor = &file->tensors[i];

        require(ce_packed_file_find(file, tensor->name) == tensor);
        require(i == 0 || strcmp(tensor[-1].name, tensor->name) < 0);
        require(tensor->dims <= CE_TENSOR_MAX_DIMS);
        require(tensor->offset + tensor->bytes <= size);
        total += tensor->bytes;
        reads[i] = (struct ce_packed_read){tensor, malloc(tensor->bytes + 1)};
        require(reads[i].to != NULL);
    }
    require(total <= size);
    status = ce_packed_file_read(file, NULL, reads, file->count, &err);
    require(status == CE_OK || status == CE_ERR_FORMAT);
    for (size_t i = 0; i < file->count; i++) {
        free(reads[i].to);
    }
    free(reads);
}

static void try_file(int fd, size_t size)
{
    struct ce_packed_file file;
    struct ce_error err = {.text = ""};
    char path[32];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (ce_packed_file_open(&file, path, ce_kernels_get(CE_ISA_REF), &err) == CE_OK) {
        check(&file, size);
    } else {
        require(strncmp(err.text, path, strlen(path)) == 0);
        require(file.path == NULL && file.tensors == NULL && file.message == NULL);
    }
    ce_packed_file_close(&file);
}

static void put_u64(uint8_t *to, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        to[i] = (uint8_t)(value >> (8 * i));
    }
}

/* Format 1, the checksum and the bytes as protobuf writes them; returns the size. */
static size_t wrap(uint8_t *image, const uint8_t *data, size_t size)
{
    size_t used = 0;

    image[used++] = 0x08;
    image[used++] = 1;
    image[used++] = 0x11;
    put_u64(image + used, ce_kernels_get(CE_ISA_REF)->checksum(data, size));
    used += 8;
    image[used++] = 0x1a;
    for (size_t left = size; used == 12 || left > 0; left >>= 7) {
        image[used++] = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    }
    for (size_t i = 0; i < size; i++) {
        image[used + i] = data[i];
    }
    return used + size;
}

static void put(int fd, const void *data, size_t bytes, size_t offset)
{
    require(pwrite(fd, data, bytes, (off_t)offset) == (ssize_t)bytes);
}

static void try_as_header(int fd, const uint8_t *data, size_t size)
{
    uint8_t front[FRONT] = "cemoepk\n";
    uint8_t *envelope = malloc(size + ENVELOPE);
    size_t place = (size_t)data[0] * PAGE;

    require(envelope != NULL);
    size_t bytes = wrap(envelope, data + 1, size - 1);

    put_u64(front + 8, place);
    put_u64(front + 16, bytes);
    require(ftruncate(fd, 0) == 0);
    put(fd, envelope, bytes, place);
    put(fd, front, FRONT, 0);
    try_file(fd, place + bytes);
    free(envelope);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;

    if (fd < 0) {
        fd = memfd_create("packed", MFD_CLOEXEC);
        require(fd >= 0);
        omp_set_num_threads(1);
    }
    require(ftruncate(fd, 0) == 0);
    put(fd, data, size, 0);
    try_file(fd, size);
    if (size > 0) {
        try_as_header(fd, data, size);
    }
    return 0;
}
