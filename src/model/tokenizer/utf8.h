/* utf8.h - reading UTF-8 that may be broken */

#ifndef CE_MODEL_TOKENIZER_UTF8_H
#define CE_MODEL_TOKENIZER_UTF8_H

#include <stddef.h>
#include <stdint.h>

enum ce_utf8_kind {
    CE_UTF8_CHARACTER, /* a whole character of `bytes` bytes */
    CE_UTF8_INVALID,   /* `bytes` bytes that one U+FFFD stands for */
    CE_UTF8_TRUNCATED, /* all bytes there are begin a character, more could end it */
};

struct ce_utf8 {
    enum ce_utf8_kind kind;
    uint32_t code; /* of a character */
    size_t bytes;
};

/* What the text (of at least one byte) begins with. Invalid bytes are taken by
 * maximal subparts: Unicode 15, section 3.9, "U+FFFD Substitution of Maximal
 * Subparts", table 3-7 for what may follow what. */
struct ce_utf8 ce_utf8_read(const char *text, size_t bytes);

/* Length of the longest prefix that is UTF-8; `bytes` when all of it is. */
size_t ce_utf8_valid_bytes(const char *text, size_t bytes);

#define CE_UTF8_REPLACEMENT       "\xEF\xBF\xBD"
#define CE_UTF8_REPLACEMENT_BYTES ((size_t)3)

#endif
