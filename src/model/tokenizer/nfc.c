/* nfc.c - Unicode normalization form C
 *
 *   text:  plain plain plain p|uuuu|plain ...
 *                            ^ a stretch: the last plain character and all
 *                              others up to the next plain one
 *
 * A character below U+0300 is plain: it never changes what is before it. Plain
 * text is copied, a stretch is decomposed, ordered and composed. utf8proc has
 * the tables and the composition; the ordering is here because utf8proc's takes
 * quadratic time for a long run of combining marks.
 *
 * The reference has tables of Unicode 9. Marks that are younger are to it like
 * letters: they stay where they are and nothing joins over them. The ids of a
 * model were made that way, so what is composed at once ends before such a mark.
 */

#include "model/tokenizer/nfc.h"

#include "model/tokenizer/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define NFC_OPTIONS        (UTF8PROC_COMPOSE | UTF8PROC_STABLE)
#define DECOMPOSITION_MOST ((size_t)8)

/* Runs up to here are sorted by insertion. */
#define SHORT_RUN ((size_t)32)

enum { COMBINING_CLASSES = 256 };

/* 0xCC is the first byte of U+0300. */
static bool is_plain(char lead)
{
    return (unsigned char)lead < 0xCC;
}

bool ce_nfc_is_plain(struct ce_span text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        if (!is_plain(text.data[i])) {
            return false;
        }
    }
    return true;
}

static int32_t combining_class(int32_t code)
{
    return utf8proc_get_property(code)->combining_class;
}

/* What never joins anything before it, though utf8proc thinks so: combining marks
 * of Unicode 10 to 14; U+11930, which composes since 13; U+11A7, which would be a
 * trailing consonant of Hangul if there were one that is none. */
static bool stands_alone(uint32_t code)
{
    static const struct {
        uint32_t first;
        uint32_t last;
    } alone[] = {
        {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},
        {0xC3C, 0xC3C},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x11A7, 0x11A7},
        {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},
        {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85},
        {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
        {0x11930, 0x11930}, {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0},
        {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42},
        {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x16FF0, 0x16FF1}, {0x1E130, 0x1E136},
        {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF},
    };
    size_t at = 0;

    while (at < sizeof(alone) / sizeof(alone[0]) && code > alone[at].last) {
        at++;
    }
    return at < sizeof(alone) / sizeof(alone[0]) && code >= alone[at].first;
}

/* Up to the next character, but the first, that stands alone; *bytes tells how
 * much of the text that was. */
static enum ce_status decompose(struct ce_ids *codes,
                                struct ce_span text,
                                size_t *bytes,
                                struct ce_error *err)
{
    enum ce_status status = CE_OK;
    size_t at = 0;

    codes->count = 0;
    while (at < text.bytes && status == CE_OK) {
        struct ce_utf8 next = ce_utf8_read(text.data + at, text.bytes - at);
        utf8proc_int32_t parts[DECOMPOSITION_MOST];
        int boundary = 0;

        if (at > 0 && stands_alone(next.code)) {
            break;
        }
        utf8proc_ssize_t count =
            utf8proc_decompose_char((utf8proc_int32_t)next.code,
                                    parts,
                                    (utf8proc_ssize_t)DECOMPOSITION_MOST,
                                    NFC_OPTIONS,
                                    &boundary);

        if (next.kind != CE_UTF8_CHARACTER || count < 0 ||
            (size_t)count > DECOMPOSITION_MOST) {
            return ce_fail(err, CE_ERR_FORMAT, "NFC: byte %zu is not UTF-8", at);
        }
        status = ce_ids_append(codes, parts, (size_t)count, err);
        at += next.bytes;
    }
    *bytes = at;
    return status;
}

static void insertion_sort(int32_t *code, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        int32_t moving = code[i];
        size_t to = i;

        while (to > 0 && combining_class(code[to - 1]) > combining_class(moving)) {
            code[to] = code[to - 1];
            to--;
        }
        code[to] = moving;
    }
}

static enum ce_status counting_sort(int32_t *code, size_t count, struct ce_error *err)
{
    size_t start[COMBINING_CLASSES + 1] = {0};
    int32_t *sorted = malloc(count * sizeof(*sorted));

    if (sorted == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "NFC: out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        start[combining_class(code[i]) + 1]++;
    }
    for (size_t i = 1; i <= COMBINING_CLASSES; i++) {
        start[i] += start[i - 1];
    }
    for (size_t i = 0; i < count; i++) {
        sorted[start[combining_class(code[i])]++] = code[i];
    }
    memcpy(code, sorted, count * sizeof(*sorted));
    free(sorted);
    return CE_OK;
}

/* Canonical ordering: each run of combining marks by class, stable. */
static enum ce_status order(struct ce_ids *codes, struct ce_error *err)
{
    enum ce_status status = CE_OK;
    size_t first = codes->count > 0 && stands_alone((uint32_t)codes->id[0]) ? 1 : 0;

    for (size_t i = first; i < codes->count && status == CE_OK;) {
        size_t end = i;

        while (end < codes->count && combining_class(codes->id[end]) != 0) {
            end++;
        }
        if (end - i <= SHORT_RUN) {
            insertion_sort(codes->id + i, end - i);
        } else {
            status = counting_sort(codes->id + i, end - i, err);
        }
        i = end + 1;
    }
    return status;
}

static enum ce_status
append_composed(struct ce_text *out, struct ce_ids *codes, struct ce_error *err)
{
    enum ce_status status = order(codes, err);

    if (status != CE_OK) {
        return status;
    }
    utf8proc_ssize_t count = utf8proc_normalize_utf32(
        codes->id, (utf8proc_ssize_t)codes->count, NFC_OPTIONS);

    for (utf8proc_ssize_t i = 0; i < count && status == CE_OK; i++) {
        unsigned char bytes[4];
        size_t length = (size_t)utf8proc_encode_char(codes->id[i], bytes);

        status = ce_text_append(
            out, (struct ce_span){.data = (const char *)bytes, .bytes = length}, err);
    }
    return status;
}

static enum ce_status append_stretch(struct ce_text *out,
                                     struct ce_span stretch,
                                     struct ce_ids *codes,
                                     struct ce_error *err)
{
    enum ce_status status = CE_OK;

    while (stretch.bytes > 0 && status == CE_OK) {
        size_t bytes = 0;

        status = decompose(codes, stretch, &bytes, err);
        if (status == CE_OK) {
            status = append_composed(out, codes, err);
        }
        stretch.data += bytes;
        stretch.bytes -= bytes;
    }
    return status;
}

/* Where the next stretch begins: at the character before the next not plain one,
 * `end` when there is none. */
static size_t find_stretch(struct ce_span text, size_t from)
{
    size_t at = from;

    while (at < text.bytes && is_plain(text.data[at])) {
        at++;
    }
    if (at == text.bytes || at == from) {
        return at;
    }
    do {
        at--;
    } while (at > from && ((unsigned char)text.data[at] & 0xC0) == 0x80);
    return at;
}

/* Behind its first character and all that are not plain. */
static size_t find_stretch_end(struct ce_span text, size_t start)
{
    size_t at = start + 1;

    while (at < text.bytes && (((unsigned char)text.data[at] & 0xC0) == 0x80 ||
                               !is_plain(text.data[at]))) {
        at++;
    }
    return at;
}

enum ce_status ce_nfc_append(struct ce_text *out,
                             struct ce_span text,
                             struct ce_ids *codes,
                             struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t at = 0; at < text.bytes && status == CE_OK;) {
        size_t start = find_stretch(text, at);
        size_t end = start < text.bytes ? find_stretch_end(text, start) : start;

        status = ce_text_append(
            out, (struct ce_span){.data = text.data + at, .bytes = start - at}, err);
        if (status == CE_OK) {
            status = append_stretch(
                out,
                (struct ce_span){.data = text.data + start, .bytes = end - start},
                codes,
                err);
        }
        at = end;
    }
    return status;
}
