/* read_ref.c - reading memory and nothing else */

#include "kernels/ref/ref.h"

uint64_t ce_xor_words_ref(const uint64_t *words, size_t n)
{
    uint64_t all = 0;

    for (size_t i = 0; i < n; i++) {
        all ^= words[i];
    }
    return all;
}
