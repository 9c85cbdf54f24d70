/* hash.h - 64-bit FNV-1a: tells whether two things are the same, not more
 *
 * Source: Fowler, Noll, Vo; draft-eastlake-fnv. Not for anything an adversary
 * chooses.
 */

#ifndef CE_BASE_HASH_H
#define CE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define CE_HASH_START UINT64_C(0xcbf29ce484222325)

/* The hash of what went before, followed by these bytes. */
uint64_t ce_hash_bytes(uint64_t hash, const void *data, size_t bytes);
/* Followed by a value, low byte first. */
uint64_t ce_hash_u64(uint64_t hash, uint64_t value);

#endif
