/* room.c - looks for the address space that OpenBLAS will take */

#include "kernels/blas/room.h"

#include "base/memory.h"

#include <sys/mman.h>

#define BUFFER_BYTES ((size_t)128 << 20)

/* What threads and libraries allocate beside the buffers. */
#define SPARE_BYTES ((size_t)64 << 20)

enum ce_status ce_blas_check_room(size_t threads, struct ce_error *err)
{
    size_t bytes = 0;
    enum ce_status status = ce_size_mul(threads, BUFFER_BYTES, &bytes);

    if (status == CE_OK) {
        status = ce_size_add(bytes, SPARE_BYTES, &bytes);
    }
    /* Writable memory counts for all limits; none of it is used. */
    void *room = status == CE_OK ? mmap(NULL,
                                        bytes,
                                        PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                                        -1,
                                        0)
                                 : MAP_FAILED;

    if (room == MAP_FAILED) {
        return ce_fail(err,
                       CE_ERR_NOMEM,
                       "%zu MiB of address space for OpenBLAS on %zu threads are not "
                       "left: raise its limit (ulimit -v, ulimit -d), or lower "
                       "OMP_NUM_THREADS",
                       bytes >> 20,
                       threads);
    }
    (void)munmap(room, bytes);
    return CE_OK;
}
