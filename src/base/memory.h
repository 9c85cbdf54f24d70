/* memory.h - large anonymous memory, and how much of it there is */

#ifndef CE_BASE_MEMORY_H
#define CE_BASE_MEMORY_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

/* Zeroed, 2 MiB aligned when large, huge pages asked for; pages cost nothing
 * until touched. NULL when the address space is exhausted. Free with
 * ce_memory_unmap and the same size. bytes 0 gives a valid pointer. */
void *ce_memory_map(size_t bytes);
void ce_memory_unmap(void *memory, size_t bytes);

/* Bytes this process could still take without swapping: the least of
 * MemAvailable and what the cgroup (v1 or v2) leaves. */
uint64_t ce_memory_available(void);

/* a * b and a + b, CE_ERR_NOMEM on overflow; for sizes that come from files. */
CE_MUST_CHECK enum ce_status ce_size_mul(size_t a, size_t b, size_t *out);
CE_MUST_CHECK enum ce_status ce_size_add(size_t a, size_t b, size_t *out);

#endif
