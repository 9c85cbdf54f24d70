/* strings.c - growing, searching, trimming, case */

#include "eval/strings.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static bool reserve(struct ce_string *text, size_t more)
{
    if (text->failed || more >= SIZE_MAX / 2 - text->length) {
        text->failed = true;
        return false;
    }
    if (text->length + more + 1 > text->capacity) {
        size_t capacity = (text->length + more + 1) * 2;
        char *grown = realloc(text->data, capacity);

        if (grown == NULL) {
            text->failed = true;
            return false;
        }
        text->data = grown;
        text->capacity = capacity;
    }
    return true;
}

void ce_string_append_bytes(struct ce_string *text, const char *data, size_t length)
{
    if (reserve(text, length)) {
        memcpy(text->data + text->length, data, length);
        text->length += length;
        text->data[text->length] = '\0';
    }
}

void ce_string_append(struct ce_string *text, const char *string)
{
    ce_string_append_bytes(text, string, strlen(string));
}

char *ce_string_take(struct ce_string *text)
{
    char *data = NULL;

    ce_string_append_bytes(text, "", 0);
    if (!text->failed) {
        data = text->data;
        *text = (struct ce_string){.data = NULL};
    }
    return data;
}

void ce_string_free(struct ce_string *text)
{
    free(text->data);
    *text = (struct ce_string){.data = NULL};
}

struct ce_span ce_span_of(const char *string)
{
    return (struct ce_span){.data = string, .length = strlen(string)};
}

/* str.isspace() of one character, by Unicode 14: bidirectional type WS, B or S, or
 * category Zs. */
static bool is_space(utf8proc_int32_t point)
{
    return (point >= 0x09 && point <= 0x0d) || (point >= 0x1c && point <= 0x20) ||
           point == 0x85 || point == 0xa0 || point == 0x1680 ||
           (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 ||
           point == 0x202f || point == 0x205f || point == 0x3000;
}

/* Bytes of the code point at the start, of valid UTF-8 that is not empty. */
static size_t decode(const char *data, size_t length, utf8proc_int32_t *point)
{
    utf8proc_ssize_t bytes = utf8proc_iterate(
        (const utf8proc_uint8_t *)data, (utf8proc_ssize_t)length, point);

    return bytes > 0 ? (size_t)bytes : 1;
}

static size_t last_start(struct ce_span span)
{
    size_t start = span.length - 1;

    while (start > 0 && ((unsigned char)span.data[start] & 0xc0) == 0x80) {
        start--;
    }
    return start;
}

struct ce_span ce_span_trim(struct ce_span span)
{
    utf8proc_int32_t point = 0;

    while (span.length > 0) {
        size_t bytes = decode(span.data, span.length, &point);

        if (!is_space(point)) {
            break;
        }
        span.data += bytes;
        span.length -= bytes;
    }
    while (span.length > 0) {
        size_t start = last_start(span);

        (void)decode(span.data + start, span.length - start, &point);
        if (!is_space(point)) {
            break;
        }
        span.length = start;
    }
    return span;
}

size_t ce_span_pieces(struct ce_span span)
{
    size_t pieces = 1;
    bool in_space = false;

    while (span.length > 0) {
        utf8proc_int32_t point = 0;
        size_t bytes = decode(span.data, span.length, &point);
        bool space = is_space(point);

        pieces += space && !in_space ? 1 : 0;
        in_space = space;
        span.data += bytes;
        span.length -= bytes;
    }
    return pieces;
}

const char *ce_span_find(struct ce_span span, const char *needle)
{
    return memmem(span.data, span.length, needle, strlen(needle));
}

const char *ce_span_find_last(struct ce_span span, const char *needle)
{
    size_t bytes = strlen(needle);

    for (size_t at = span.length; at >= bytes && at > 0; at--) {
        const char *place = span.data + at - bytes;

        if (memcmp(place, needle, bytes) == 0) {
            return place;
        }
    }
    return NULL;
}

/* Puts the result in the place of what it was made from. */
static void replace_by(struct ce_string *text, struct ce_string *result)
{
    result->failed |= text->failed;
    free(text->data);
    *text = *result;
}

size_t ce_span_count(struct ce_span span, const char *needle)
{
    const char *end = span.data + span.length;
    size_t count = 0;
    const char *found = span.length > 0 ? ce_span_find(span, needle) : NULL;

    while (found != NULL) {
        count++;
        span.data = found + strlen(needle);
        span.length = (size_t)(end - span.data);
        found = ce_span_find(span, needle);
    }
    return count;
}

void ce_string_replace(struct ce_string *text, const char *from, const char *to)
{
    struct ce_string result = {.data = NULL};
    struct ce_span rest = {.data = text->data, .length = text->length};
    const char *found = rest.length > 0 ? ce_span_find(rest, from) : NULL;

    if (found == NULL) {
        return;
    }
    while (found != NULL) {
        ce_string_append_bytes(&result, rest.data, (size_t)(found - rest.data));
        ce_string_append(&result, to);
        rest.length -= (size_t)(found - rest.data) + strlen(from);
        rest.data = found + strlen(from);
        found = ce_span_find(rest, from);
    }
    ce_string_append_bytes(&result, rest.data, rest.length);
    replace_by(text, &result);
}

/* The first code point by `first`, all others to lower case. */
static void map_case(struct ce_string *text,
                     utf8proc_int32_t (*first)(utf8proc_int32_t))
{
    struct ce_string result = {.data = NULL};

    for (size_t at = 0; at < text->length;) {
        utf8proc_int32_t point = 0;
        utf8proc_uint8_t bytes[4];
        size_t next = at + decode(text->data + at, text->length - at, &point);

        point = at == 0 ? first(point) : utf8proc_tolower(point);
        ce_string_append_bytes(
            &result, (const char *)bytes, (size_t)utf8proc_encode_char(point, bytes));
        at = next;
    }
    replace_by(text, &result);
}

void ce_string_lower(struct ce_string *text)
{
    map_case(text, utf8proc_tolower);
}

void ce_string_capitalize(struct ce_string *text)
{
    map_case(text, utf8proc_totitle);
}
