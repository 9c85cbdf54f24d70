/* json_text.h - JSON text to values, as Python's json.loads reads it
 *
 * Data of others are written by Python and hold what other parsers refuse: NaN and
 * Infinity, integers of any size, NUL in strings, halves of surrogate pairs. Such a
 * value is an "odd" one: an object that nobody's text can write, with what Python's
 * json.dumps(ensure_ascii=False) would print. It is kept and printed; who asks for a
 * string or a number finds neither and refuses it by the name of its field.
 */

#ifndef CE_BASE_JSON_TEXT_H
#define CE_BASE_JSON_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum ce_json_flags {
    /* Keys differ, and have neither NUL nor half surrogates. */
    CE_JSON_PLAIN = 0,
    /* Any key, and of equal ones the last counts, as in Python. */
    CE_JSON_LAST_KEY = 1,
    /* Strings with NUL are strings; for who asks their length. */
    CE_JSON_NUL = 2,
};

/* Why and where a text is refused. */
struct ce_json_problem {
    bool memory;   /* it ran out; the rest says nothing */
    size_t line;   /* from 1 */
    size_t column; /* in bytes, from 1 */
    char text[96];
};

/* The whole text is one value, which the caller json_decref's; a byte order mark before
 * it is skipped. NULL: see *problem. */
json_t *ce_json_text_parse(const char *text,
                           size_t bytes,
                           unsigned flags,
                           struct ce_json_problem *problem);

/* The text of an odd value; NULL for all others. */
const char *ce_json_odd(const json_t *value);
/* Of an odd value that is an integer, its digits; else NULL. */
const char *ce_json_big_integer(const json_t *value);

#endif
