/* digest.c - SHA-256 as hexadecimal digits */

#include "eval/digest.h"

#include <nettle/base16.h>
#include <string.h>

void ce_digest_start(struct ce_digest *digest)
{
    sha256_init(&digest->state);
}

void ce_digest_add(struct ce_digest *digest, const void *data, size_t bytes)
{
    sha256_update(&digest->state, bytes, data);
}

void ce_digest_finish(struct ce_digest *digest, char hex[CE_DIGEST_BYTES])
{
    unsigned char bytes[SHA256_DIGEST_SIZE];

    sha256_digest(&digest->state, sizeof(bytes), bytes);
    base16_encode_update(hex, sizeof(bytes), bytes);
    hex[CE_DIGEST_BYTES - 1] = '\0';
}

void ce_digest_string(const char *string, char hex[CE_DIGEST_BYTES])
{
    struct ce_digest digest;

    ce_digest_start(&digest);
    ce_digest_add(
        &digest, string != NULL ? string : "", strlen(string != NULL ? string : ""));
    ce_digest_finish(&digest, hex);
}
