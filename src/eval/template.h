/* template.h - text with places for the fields of a document
 *
 *   Question: {{question|trim}}\nA. {{choices[0]}}\nAnswer:
 *
 *   template   text with substitutions {{VALUE|OPERATION|OPERATION(ARGUMENT)...}}
 *   value      a path, name.name[0][-1], or a string, 'text' or "text"
 *   argument   a string; in it \n \t \\ \' \" as in C
 *
 * A string or an integer of a document becomes text as it is. Operations, as in Python:
 * trim, lower, capitalize, replace(FROM, TO), join(SEPARATOR) of a list of strings;
 * before(S), after(S), of the first S, an error where there is none; before_last(S),
 * after_last(S), of the last S, "" and everything where there is none; wikitext. A
 * small part of Jinja's syntax and none of its control structures, so that a
 * description stays data.
 */

#ifndef CE_EVAL_TEMPLATE_H
#define CE_EVAL_TEMPLATE_H

#include "base/status.h"
#include "eval/strings.h"

#include <jansson.h>
#include <stddef.h>

struct ce_template; /* compiled */

/* Errors say what is wrong at which character, not in which file or field, which the
 * caller knows. */
CE_MUST_CHECK enum ce_status ce_template_create(struct ce_template **compiled,
                                                const char *source,
                                                struct ce_error *err);
void ce_template_destroy(struct ce_template *compiled); /* accepts NULL */

/* Adds to *text. Errors name the field of the document, not the document. What comes of
 * one value is bounded by 16 times its bytes and 64 KiB: more is CE_ERR_FORMAT. */
CE_MUST_CHECK enum ce_status ce_template_render(const struct ce_template *compiled,
                                                const json_t *document,
                                                struct ce_string *text,
                                                struct ce_error *err);

/* The value that a path alone leads to, for fields that are no text; borrowed. */
CE_MUST_CHECK enum ce_status ce_template_find(const struct ce_template *path,
                                              const json_t *document,
                                              const json_t **value,
                                              struct ce_error *err);

#endif
