/* strings.h - strings that grow, and what Python's str and re do to text
 *
 * Tasks are defined in Python, so "white space" here is what str.isspace() says, which
 * is also \s of the module re. Texts are valid UTF-8 without NUL.
 */

#ifndef CE_EVAL_STRINGS_H
#define CE_EVAL_STRINGS_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed: empty. Once memory runs out it stays `failed` and takes no more, so that only
 * the end of a long chain has to ask. */
struct ce_string {
    char *data; /* NUL-terminated; NULL while nothing was added */
    size_t length;
    size_t capacity;
    bool failed;
};

void ce_string_append_bytes(struct ce_string *text, const char *data, size_t length);
void ce_string_append(struct ce_string *text, const char *string);
/* Gives the string away, "" for nothing, NULL if it failed; the text is empty then. */
char *ce_string_take(struct ce_string *text);
void ce_string_free(struct ce_string *text);

/* A piece of somebody's text. */
struct ce_span {
    const char *data;
    size_t length;
};

struct ce_span ce_span_of(const char *string);
/* str.strip() */
struct ce_span ce_span_trim(struct ce_span span);
/* len(re.split(r"\s+", text)): white space at an end has an empty piece beyond it. */
size_t ce_span_pieces(struct ce_span span);
/* Where `needle`, which is not empty, is first or last; NULL if nowhere. */
const char *ce_span_find(struct ce_span span, const char *needle);
const char *ce_span_find_last(struct ce_span span, const char *needle);

/* str.count(needle); it is not empty. */
size_t ce_span_count(struct ce_span span, const char *needle);

/* str.replace(from, to) of *text. `from` is not empty. */
void ce_string_replace(struct ce_string *text, const char *from, const char *to);
/* str.lower() and str.capitalize() of *text, by simple case mapping: one code point
 * becomes one, so that "ß" has no upper case. */
void ce_string_lower(struct ce_string *text);
void ce_string_capitalize(struct ce_string *text);

#endif
