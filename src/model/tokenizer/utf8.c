/* utf8.c - reading UTF-8 that may be broken */

#include "model/tokenizer/utf8.h"

/* What the first byte of a character promises. */
struct lead {
    size_t bytes;       /* 0: no character begins with it */
    unsigned char low;  /* the range of the second byte, */
    unsigned char high; /* which excludes overlong forms and surrogates */
};

static struct lead read_lead(unsigned char byte)
{
    if (byte < 0x80) {
        return (struct lead){.bytes = 1};
    }
    if (byte >= 0xC2 && byte <= 0xDF) {
        return (struct lead){.bytes = 2, .low = 0x80, .high = 0xBF};
    }
    if (byte >= 0xE0 && byte <= 0xEF) {
        return (struct lead){.bytes = 3,
                             .low = byte == 0xE0 ? 0xA0 : 0x80,
                             .high = byte == 0xED ? 0x9F : 0xBF};
    }
    if (byte >= 0xF0 && byte <= 0xF4) {
        return (struct lead){.bytes = 4,
                             .low = byte == 0xF0 ? 0x90 : 0x80,
                             .high = byte == 0xF4 ? 0x8F : 0xBF};
    }
    return (struct lead){.bytes = 0};
}

struct ce_utf8 ce_utf8_read(const char *text, size_t bytes)
{
    unsigned char first = (unsigned char)text[0];
    struct lead lead = read_lead(first);

    if (lead.bytes <= 1) {
        return (struct ce_utf8){.kind = lead.bytes == 1 ? CE_UTF8_CHARACTER
                                                        : CE_UTF8_INVALID,
                                .code = first,
                                .bytes = 1};
    }
    uint32_t code = first & (0x7FU >> lead.bytes);

    for (size_t i = 1; i < lead.bytes; i++) {
        if (i == bytes) {
            return (struct ce_utf8){.kind = CE_UTF8_TRUNCATED, .bytes = i};
        }
        unsigned char byte = (unsigned char)text[i];

        if (byte < (i == 1 ? lead.low : 0x80) || byte > (i == 1 ? lead.high : 0xBF)) {
            return (struct ce_utf8){.kind = CE_UTF8_INVALID, .bytes = i};
        }
        code = code << 6 | (byte & 0x3FU);
    }
    return (struct ce_utf8){
        .kind = CE_UTF8_CHARACTER, .code = code, .bytes = lead.bytes};
}

size_t ce_utf8_valid_bytes(const char *text, size_t bytes)
{
    size_t at = 0;

    while (at < bytes) {
        if ((unsigned char)text[at] < 0x80) {
            at++;
            continue;
        }
        struct ce_utf8 next = ce_utf8_read(text + at, bytes - at);

        if (next.kind != CE_UTF8_CHARACTER) {
            break;
        }
        at += next.bytes;
    }
    return at;
}
