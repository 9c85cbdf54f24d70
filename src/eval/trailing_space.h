/* trailing_space.h - what Python's str.rstrip() would take off a text */

#ifndef CE_EVAL_TRAILING_SPACE_H
#define CE_EVAL_TRAILING_SPACE_H

#include <stddef.h>

/* Bytes of white space, as str.isspace() has it, at the end of a text; what is not
 * UTF-8 is no white space. */
size_t ce_trailing_space(const char *text, size_t bytes);

#endif
