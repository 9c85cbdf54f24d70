/* id_list.c - token ids from the command line */

#include "tools/id_list.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static size_t count_items(const char *text)
{
    size_t count = 1;

    for (; *text != '\0'; text++) {
        count += *text == ',';
    }
    return count;
}

enum ce_status ce_id_list_parse(const char *text,
                                const char *option,
                                int32_t **id,
                                size_t *count,
                                struct ce_error *err)
{
    const char *at = text;

    *count = 0;
    *id = calloc(count_items(text), sizeof((*id)[0]));
    if (*id == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory", option);
    }
    for (;;) {
        char *end = NULL;
        long value = 0;

        errno = 0;
        value = strtol(at, &end, 10);
        if (!isdigit((unsigned char)*at) || errno != 0 || value > INT32_MAX ||
            (*end != ',' && *end != '\0')) {
            return ce_fail(err,
                           CE_ERR_ARG,
                           "%s: \"%.20s\" is not a list of token ids such as 1,2,3",
                           option,
                           at);
        }
        (*id)[(*count)++] = (int32_t)value;
        if (*end == '\0') {
            return CE_OK;
        }
        at = end + 1;
    }
}
