/* crc32c.c - CRC32C with a table that is made once */

#include "base/crc32c.h"

#include <pthread.h>

/* 0x1EDC6F41, low bit first. */
#define POLYNOMIAL UINT32_C(0x82f63b78)

static uint32_t table[256];

static void fill_table(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;

        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ ((crc & 1) != 0 ? POLYNOMIAL : 0);
        }
        table[byte] = crc;
    }
}

uint32_t ce_crc32c(uint32_t crc, const void *data, size_t bytes)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const unsigned char *byte = data;

    (void)pthread_once(&once, fill_table);
    crc = ~crc;
    for (size_t i = 0; i < bytes; i++) {
        crc = crc >> 8 ^ table[(crc ^ byte[i]) & 0xff];
    }
    return ~crc;
}
