/* json_string.h - strings of JSON: escapes to bytes and back
 *
 * In bytes a string is UTF-8, but for halves of surrogate pairs, which JSON can write
 * and UTF-8 cannot: they are the three bytes that UTF-8 would have for them.
 */

#ifndef CE_BASE_JSON_STRING_H
#define CE_BASE_JSON_STRING_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed: empty. The memory is used again by the next one read. */
struct ce_json_string {
    char *data; /* NUL-terminated once something was read */
    size_t bytes;
    size_t capacity;
    size_t halves; /* of surrogate pairs, alone */
    bool nul;      /* a NUL is in it */
    bool failed;   /* memory ran out */
};

/* Reads from the opening quote at *at and moves *at behind the closing one, or to where
 * the text is wrong. NULL, or what is wrong. */
const char *
ce_json_string_read(struct ce_json_string *string, const char **at, const char *end);
/* Gives the bytes away; NULL: no memory. */
char *ce_json_string_take(struct ce_json_string *string);
void ce_json_string_free(struct ce_json_string *string);

/* With quotes and escapes as json.dumps(ensure_ascii=False) writes them, and half
 * surrogates as escapes. Malloc'ed; NULL: no memory. */
char *ce_json_string_quote(const char *data, size_t bytes);

#endif
