/* crc32c.h - CRC32C (Castagnoli): the checksum of records that may be torn
 *
 * Source: RFC 3720, appendix B.4. By table, a byte at a time: for small records, not
 * for weights.
 */

#ifndef CE_BASE_CRC32C_H
#define CE_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of what went before, whose value is `crc` (0 for nothing), followed by these bytes.
 */
uint32_t ce_crc32c(uint32_t crc, const void *data, size_t bytes);

#endif
