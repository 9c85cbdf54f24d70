/* text_file.c - a file that should be text, as Python reads it in text mode */

#include "base/text_file.h"

#include "base/file.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* How files of other kinds begin; the longer of two that begin alike comes first. */
static const struct kind {
    const char *start;
    size_t bytes;
    const char *name;
    const char *advice;
} kinds[] = {
    {"\xff\xfe\0\0", 4, "UTF-32", "save it as UTF-8"},
    {"\0\0\xfe\xff", 4, "UTF-32", "save it as UTF-8"},
    {"\xff\xfe", 2, "UTF-16", "save it as UTF-8"},
    {"\xfe\xff", 2, "UTF-16", "save it as UTF-8"},
    {"\x1f\x8b", 2, "a gzip file", "unpack it first"},
    {"PK\x03\x04", 4, "a zip archive", "unpack it first"},
    {"\x28\xb5\x2f\xfd", 4, "a zstd file", "unpack it first"},
    {"\xfd"
     "7zXZ",
     5,
     "an xz file",
     "unpack it first"},
    {"7z\xbc\xaf", 4, "a 7z archive", "unpack it first"},
    {"\x04\x22\x4d\x18", 4, "an lz4 file", "unpack it first"},
    {"ARROW1\0", 7, "an Arrow table", "write it as JSON Lines"},
    {"\x93NUMPY", 6, "a NumPy array", "write it as text"},
    {"SQLite format 3\0", 16, "an SQLite database", "write it as JSON Lines"},
    {"%PDF-", 5, "a PDF", "write it as text"},
};

/* bzip2 has a digit in its mark, Parquet the mark at both ends. */
static const struct kind bzip2 = {"", 0, "a bzip2 file", "unpack it first"};
static const struct kind parquet = {"", 0, "a Parquet table", "write it as JSON Lines"};
static const struct kind wide = {
    "", 0, "UTF-16 without a byte order mark", "save it as UTF-8"};

static bool begins(const char *text, size_t bytes, const char *start, size_t count)
{
    return bytes >= count && memcmp(text, start, count) == 0;
}

/* Letters of ASCII in two bytes each, of either order. */
static bool is_wide(const char *text, size_t bytes)
{
    return bytes >= 4 && bytes % 2 == 0 &&
           ((text[0] == '\0' && text[1] != '\0' && text[2] == '\0' &&
             text[3] != '\0') ||
            (text[0] != '\0' && text[1] == '\0' && text[2] != '\0' && text[3] == '\0'));
}

static const struct kind *find_kind(const char *text, size_t bytes)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (begins(text, bytes, kinds[i].start, kinds[i].bytes)) {
            return &kinds[i];
        }
    }
    if (begins(text, bytes, "BZh", 3) && bytes >= 10 &&
        memcmp(text + 4, "1AY&SY", 6) == 0) {
        return &bzip2;
    }
    if (begins(text, bytes, "PAR1", 4) && bytes >= 12 &&
        memcmp(text + bytes - 4, "PAR1", 4) == 0) {
        return &parquet;
    }
    return is_wide(text, bytes) ? &wide : NULL;
}

enum ce_status
ce_text_check(const char *text, size_t bytes, const char *path, struct ce_error *err)
{
    const struct kind *kind = find_kind(text, bytes);

    return kind == NULL ? CE_OK
                        : ce_fail(err,
                                  CE_ERR_FORMAT,
                                  "%s: is %s, not UTF-8 text: %s",
                                  path,
                                  kind->name,
                                  kind->advice);
}

size_t ce_text_mark(const char *text, size_t bytes)
{
    return begins(text, bytes, "\xEF\xBB\xBF", 3) ? 3 : 0;
}

enum ce_status
ce_text_clean(char *text, size_t *bytes, const char *path, struct ce_error *err)
{
    size_t from = ce_text_mark(text, *bytes);
    size_t to = 0;
    enum ce_status status = ce_text_check(text, *bytes, path, err);

    if (status != CE_OK) {
        return status;
    }
    if (from == 0 && memchr(text, '\r', *bytes) == NULL) {
        return CE_OK;
    }
    for (; from < *bytes; from++) {
        if (text[from] != '\r') {
            text[to++] = text[from];
        } else if (from + 1 == *bytes || text[from + 1] != '\n') {
            text[to++] = '\n';
        }
    }
    text[to] = '\0';
    *bytes = to;
    return CE_OK;
}

enum ce_status ce_text_file_read(
    const char *path, size_t limit, char **text, size_t *bytes, struct ce_error *err)
{
    enum ce_status status = ce_file_read_input(path, limit, text, bytes, err);

    if (status == CE_OK) {
        status = ce_text_clean(*text, bytes, path, err);
    }
    if (status != CE_OK) {
        free(*text);
        *text = NULL;
        *bytes = 0;
    }
    return status;
}
