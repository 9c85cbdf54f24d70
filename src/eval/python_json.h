/* python_json.h - JSON text as Python's json.dumps(ensure_ascii=False) has it
 *
 * Hashes in results are of such text, so it must be the same in every byte: order of
 * keys, separators, escapes, and numbers as repr() prints them.
 */

#ifndef CE_EVAL_PYTHON_JSON_H
#define CE_EVAL_PYTHON_JSON_H

#include "eval/strings.h"

#include <jansson.h>

/* With the sign and ".0" or exponent that repr(float) would write. */
#define CE_PYTHON_FLOAT_BYTES 48
void ce_python_float(double value, char text[CE_PYTHON_FLOAT_BYTES]);

/* Appends json.dumps(value, ensure_ascii=False, indent=indent); indent 0 is Python's
 * None: all in one line. */
void ce_python_json(struct ce_string *text, const json_t *value, size_t indent);
/* Appends a JSON string with its quotes. */
void ce_python_json_string(struct ce_string *text, const char *string);

#endif
