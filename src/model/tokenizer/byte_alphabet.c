/* byte_alphabet.c - the printable characters that byte-level vocabularies use */

#include "model/tokenizer/byte_alphabet.h"

#include "model/tokenizer/utf8.h"

/* The 68 bytes are 0x00-0x20, 0x7F-0xA0 and 0xAD. */
enum { MOVED_LOW = 0x21, MOVED_MIDDLE = 0x22, MOVED = 68 };

static int byte_of(uint32_t code)
{
    if ((code >= 0x21 && code <= 0x7E) ||
        (code >= 0xA1 && code <= 0xFF && code != 0xAD)) {
        return (int)code;
    }
    if (code < 0x100 || code >= 0x100 + MOVED) {
        return -1;
    }
    int nth = (int)code - 0x100;

    if (nth < MOVED_LOW) {
        return nth;
    }
    nth -= MOVED_LOW;
    return nth < MOVED_MIDDLE ? 0x7F + nth : 0xAD;
}

bool ce_byte_alphabet_decode(struct ce_span text, char *out, size_t *bytes)
{
    size_t count = 0;

    for (size_t at = 0; at < text.bytes;) {
        struct ce_utf8 next = ce_utf8_read(text.data + at, text.bytes - at);
        int byte = next.kind == CE_UTF8_CHARACTER ? byte_of(next.code) : -1;

        if (byte < 0) {
            return false;
        }
        out[count++] = (char)byte;
        at += next.bytes;
    }
    *bytes = count;
    return true;
}
