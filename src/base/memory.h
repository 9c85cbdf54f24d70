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
void ce_memory_unmap(void *memory, size_t bytes); /* accepts NULL */

/* Bytes this process could still take without swapping: the least of
 * MemAvailable, what the memory cgroup (v1 or v2) leaves, and the environment
 * variable CEMOE_MEMORY_LIMIT (a number of bytes), with which a user or a test
 * makes the machine look smaller. A limit that is not a number counts as 0, so
 * that a typing error is noticed instead of lifting the limit. */
uint64_t ce_memory_available(void);

/* The same without the memory cgroup: what all processes of the machine share. */
uint64_t ce_memory_available_to_machine(void);

/* The last-level cache that a core can use, 32 MiB where the system does not say. */
size_t ce_cache_bytes(void);

/* a * b and a + b, CE_ERR_NOMEM on overflow; for sizes that come from files. */
CE_MUST_CHECK enum ce_status ce_size_mul(size_t a, size_t b, size_t *out);
CE_MUST_CHECK enum ce_status ce_size_add(size_t a, size_t b, size_t *out);

static inline size_t ce_size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

#endif
