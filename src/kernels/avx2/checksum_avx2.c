/* checksum_avx2.c - XXH3, of which the library's header is compiled in: with AVX2 it
 * is twice as fast as without. The library's own choice at run time (its header
 * xxh_x86dispatch.h) is no alternative: it leaves the upper halves of the registers
 * dirty, after which code without AVX is several times slower. */

#include "kernels/avx2/avx2.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t ce_checksum_avx2(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}
