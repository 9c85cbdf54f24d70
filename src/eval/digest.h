/* digest.h - SHA-256 as hexadecimal digits, for hashes that others compute too */

#ifndef CE_EVAL_DIGEST_H
#define CE_EVAL_DIGEST_H

#include <nettle/sha2.h>
#include <stddef.h>

#define CE_DIGEST_BYTES 65 /* 64 digits and NUL */

struct ce_digest {
    struct sha256_ctx state;
};

void ce_digest_start(struct ce_digest *digest);
void ce_digest_add(struct ce_digest *digest, const void *data, size_t bytes);
void ce_digest_finish(struct ce_digest *digest, char hex[CE_DIGEST_BYTES]);

/* Of one string; NULL counts as "". */
void ce_digest_string(const char *string, char hex[CE_DIGEST_BYTES]);

#endif
