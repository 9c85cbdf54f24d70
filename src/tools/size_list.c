/* size_list.c - sizes from the words of a list option */

#include "tools/size_list.h"

#include "base/log.h"

#include <ctype.h>
#include <stdlib.h>

static bool read_size(const char *text, size_t most, size_t *size)
{
    char *end = NULL;
    unsigned long value = strtoul(text, &end, 10);

    *size = value;
    return isdigit((unsigned char)*text) && *end == '\0' && value >= 1 && value <= most;
}

bool ce_size_list_read(struct ce_size_list *list,
                       const struct ce_option_list *text,
                       size_t most,
                       const char *command,
                       const char *option)
{
    bool right = text->count + list->count <= CE_SIZE_LIST_MOST;
    const char *wrong = "so many values";

    for (size_t i = 0; right && i < text->count; i++) {
        wrong = text->item[i];
        right = read_size(wrong, most, &list->item[list->count++]);
    }
    if (!right && ce_log_is_speaker()) {
        ce_log(CE_LOG_ERROR,
               "%s: %s wants at most %d whole numbers from 1 to %zu, not %s",
               command,
               option,
               CE_SIZE_LIST_MOST,
               most,
               wrong);
    }
    return right;
}
