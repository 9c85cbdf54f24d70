/* status.h - how a failure is recorded inside the library */

#ifndef CE_BASE_STATUS_H
#define CE_BASE_STATUS_H

#include "cemoe/status.h"

/* Writes the text of a failure and returns `code`, so that one line both
 * records and returns: `return ce_fail(err, CE_ERR_IO, "%s: %s", path, why);`
 * `err` may be NULL. */
enum ce_status
ce_fail(struct ce_error *err, enum ce_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "where: " before a text that was written further down, by a caller that
 * knows a place the callee does not, such as the file the bytes came from. */
void ce_error_prefix(struct ce_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
