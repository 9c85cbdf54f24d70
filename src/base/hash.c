/* hash.c - 64-bit FNV-1a */

#include "base/hash.h"

uint64_t ce_hash_bytes(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *byte = data;

    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

uint64_t ce_hash_u64(uint64_t hash, uint64_t value)
{
    unsigned char bytes[8];

    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (unsigned char)(value >> (8 * i));
    }
    return ce_hash_bytes(hash, bytes, sizeof(bytes));
}
