/* status.c - the names of the status codes and the error text */

#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum ce_status
ce_fail(struct ce_error *err, enum ce_status code, const char *format, ...)
{
    if (err != NULL) {
        va_list args;

        va_start(args, format);
        (void)vsnprintf(err->text, sizeof(err->text), format, args);
        va_end(args);
    }
    return code;
}

void ce_error_prefix(struct ce_error *err, const char *format, ...)
{
    char why[sizeof(err->text)];
    va_list args;

    (void)snprintf(why, sizeof(why), "%s", err->text);
    va_start(args, format);
    (void)vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    size_t used = strlen(err->text);
    (void)snprintf(err->text + used, sizeof(err->text) - used, ": %s", why);
}

const char *ce_status_name(enum ce_status code)
{
    switch (code) {
    case CE_OK:
        return "ok";
    case CE_AGAIN:
        return "not finished yet";
    case CE_ERR_ARG:
        return "bad argument";
    case CE_ERR_NOMEM:
        return "out of memory";
    case CE_ERR_IO:
        return "input/output error";
    case CE_ERR_FORMAT:
        return "invalid file";
    case CE_ERR_UNSUPPORTED:
        return "not supported";
    case CE_ERR_NUMERIC:
        return "not a finite number";
    case CE_ERR_COMM:
        return "communication failed";
    case CE_ERR_TIMEOUT:
        return "deadline passed";
    case CE_ERR_MISMATCH:
        return "ranks disagree";
    }
    return "unknown status";
}
