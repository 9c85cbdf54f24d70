/* json_string.c - strings of JSON: escapes to bytes and back */

#include "base/json_string.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void append(struct ce_json_string *string, const char *data, size_t bytes)
{
    if (string->capacity - string->bytes <= bytes) {
        const size_t capacity = 2 * string->capacity + bytes + 64;
        char *grown = string->failed ? NULL : realloc(string->data, capacity);

        if (grown == NULL) {
            string->failed = true;
            return;
        }
        string->data = grown;
        string->capacity = capacity;
    }
    memcpy(string->data + string->bytes, data, bytes);
    string->bytes += bytes;
    string->data[string->bytes] = '\0';
}

static void append_code(struct ce_json_string *string, uint32_t code)
{
    char out[4];
    size_t bytes = 0;

    if (code < 0x80) {
        out[bytes++] = (char)code;
    } else if (code < 0x800) {
        out[bytes++] = (char)(0xC0 | (code >> 6));
    } else if (code < 0x10000) {
        out[bytes++] = (char)(0xE0 | (code >> 12));
        out[bytes++] = (char)(0x80 | ((code >> 6) & 0x3F));
    } else {
        out[bytes++] = (char)(0xF0 | (code >> 18));
        out[bytes++] = (char)(0x80 | ((code >> 12) & 0x3F));
        out[bytes++] = (char)(0x80 | ((code >> 6) & 0x3F));
    }
    if (code >= 0x80) {
        out[bytes++] = (char)(0x80 | (code & 0x3F));
    }
    append(string, out, bytes);
}

static bool is_high(uint32_t code)
{
    return code >= 0xD800 && code <= 0xDBFF;
}

static bool is_low(uint32_t code)
{
    return code >= 0xDC00 && code <= 0xDFFF;
}

/* The number of \uXXXX, whose four digits are at `at`; false where they are not. */
static bool read_hex(const char *at, const char *end, uint32_t *code)
{
    *code = 0;
    if (end - at < 4) {
        return false;
    }
    for (size_t i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdefABCDEF";
        const char *found = at[i] == '\0' ? NULL : strchr(digits, at[i]);

        if (found == NULL) {
            return false;
        }
        const uint32_t digit = (uint32_t)(found - digits);

        *code = *code * 16 + (digit < 16 ? digit : digit - 6);
    }
    return true;
}

static const char *
read_unicode(struct ce_json_string *string, const char **at, const char *end)
{
    uint32_t code = 0;
    uint32_t low = 0;

    if (!read_hex(*at, end, &code)) {
        return "\\u needs four hexadecimal digits";
    }
    *at += 4;
    if (is_high(code) && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u' &&
        read_hex(*at + 2, end, &low) && is_low(low)) {
        *at += 6;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    string->halves += is_high(code) || is_low(code);
    string->nul = string->nul || code == 0;
    append_code(string, code);
    return NULL;
}

static const char *
read_escape(struct ce_json_string *string, const char **at, const char *end)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char bytes[] = "\"\\/\b\f\n\r\t";
    char letter = '\0';

    if (*at < end) {
        letter = **at;
    }
    const char *found = letter == '\0' ? NULL : strchr(letters, letter);

    if (letter == 'u') {
        (*at)++;
        return read_unicode(string, at, end);
    }
    if (found == NULL) {
        return "no such escape";
    }
    (*at)++;
    append(string, &bytes[found - letters], 1);
    return NULL;
}

/* Bytes of the UTF-8 sequence at `at`; 0 where there is none. */
static size_t sequence(const unsigned char *at, const unsigned char *end)
{
    const size_t left = (size_t)(end - at);
    const size_t bytes = at[0] < 0x80   ? 1
                         : at[0] < 0xC2 ? 0
                         : at[0] < 0xE0 ? 2
                         : at[0] < 0xF0 ? 3
                         : at[0] < 0xF5 ? 4
                                        : 0;

    if (bytes < 2 || left < bytes) {
        return left < bytes ? 0 : bytes;
    }
    for (size_t i = 1; i < bytes; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    if ((at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xED && at[1] > 0x9F) ||
        (at[0] == 0xF0 && at[1] < 0x90) || (at[0] == 0xF4 && at[1] > 0x8F)) {
        return 0; /* too long, a surrogate, or beyond the last code point */
    }
    return bytes;
}

/* Bytes up to what is not itself: quote, backslash, control character, no UTF-8. */
static size_t count_plain(const char *at, const char *end)
{
    const unsigned char *start = (const unsigned char *)at;
    const unsigned char *last = (const unsigned char *)end;
    const unsigned char *here = start;

    while (here < last && *here >= 0x20 && *here != '"' && *here != '\\') {
        const size_t bytes = sequence(here, last);

        if (bytes == 0) {
            break;
        }
        here += bytes;
    }
    return (size_t)(here - start);
}

const char *
ce_json_string_read(struct ce_json_string *string, const char **at, const char *end)
{
    const char *why = NULL;

    string->bytes = 0;
    string->halves = 0;
    string->nul = false;
    (*at)++;
    append(string, "", 0);
    while (why == NULL) {
        const size_t plain = count_plain(*at, end);

        append(string, *at, plain);
        *at += plain;
        if (*at == end) {
            return "the text ends within a string";
        }
        if (**at == '"') {
            (*at)++;
            return NULL;
        }
        if (**at == '\\') {
            (*at)++;
            why = read_escape(string, at, end);
        } else {
            why = (unsigned char)**at < 0x20 ? "a control character in a string"
                                             : "the text is not UTF-8";
        }
    }
    return why;
}

char *ce_json_string_take(struct ce_json_string *string)
{
    char *data = string->failed ? NULL : string->data;

    if (data != NULL) {
        *string = (struct ce_json_string){.data = NULL};
    }
    return data;
}

void ce_json_string_free(struct ce_json_string *string)
{
    free(string->data);
    *string = (struct ce_json_string){.data = NULL};
}

static bool is_half(const char *at, const char *end)
{
    return end - at >= 3 && (unsigned char)at[0] == 0xED && (unsigned char)at[1] > 0x9F;
}

static void quote_byte(struct ce_json_string *out, char byte)
{
    static const char named[] = "\"\\\n\r\t\f\b";
    static const char letters[] = "\"\\nrtfb";
    const char *found = byte == '\0' ? NULL : strchr(named, byte);
    char escape[8];

    if (found != NULL) {
        (void)snprintf(escape, sizeof(escape), "\\%c", letters[found - named]);
    } else {
        (void)snprintf(
            escape, sizeof(escape), "\\u%04x", (unsigned)(unsigned char)byte);
    }
    append(out, escape, strlen(escape));
}

char *ce_json_string_quote(const char *data, size_t bytes)
{
    struct ce_json_string out = {.data = NULL};
    const char *end = data + bytes;

    append(&out, "\"", 1);
    for (const char *at = data; at < end;) {
        if (is_half(at, end)) {
            char escape[8];
            const unsigned code =
                0xD000U | (((unsigned)at[1] & 0x3FU) << 6) | ((unsigned)at[2] & 0x3FU);

            (void)snprintf(escape, sizeof(escape), "\\u%04x", code);
            append(&out, escape, 6);
            at += 3;
        } else if ((unsigned char)*at < 0x20 || *at == '"' || *at == '\\') {
            quote_byte(&out, *at++);
        } else {
            append(&out, at++, 1);
        }
    }
    append(&out, "\"", 1);
    if (out.failed) {
        ce_json_string_free(&out);
    }
    return out.data;
}
