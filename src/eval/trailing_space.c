/* trailing_space.c - Unicode white space, from the end */

#include "eval/trailing_space.h"

#include "model/tokenizer/utf8.h"

#include <stdbool.h>
#include <stdint.h>

/* Characters that are white space, separators or bidirectionally WS, B or S: what
 * str.isspace() is true for, also in the newest Unicode. */
static bool is_space(uint32_t code)
{
    return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) ||
           code == 0x85 || code == 0xA0 || code == 0x1680 ||
           (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 ||
           code == 0x202F || code == 0x205F || code == 0x3000;
}

/* Bytes of the last character; 0: it is not white space. */
static size_t last_space(const char *text, size_t bytes)
{
    size_t length = 1;

    while (length < bytes && length < 3 &&
           ((unsigned char)text[bytes - length] & 0xC0) == 0x80) {
        length++;
    }
    struct ce_utf8 last = ce_utf8_read(text + bytes - length, length);

    return last.kind == CE_UTF8_CHARACTER && last.bytes == length && is_space(last.code)
               ? length
               : 0;
}

size_t ce_trailing_space(const char *text, size_t bytes)
{
    size_t left = bytes;

    while (left > 0) {
        size_t length = last_space(text, left);

        if (length == 0) {
            break;
        }
        left -= length;
    }
    return bytes - left;
}
