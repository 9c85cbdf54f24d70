/* size_list.h - "1 4 8": sizes of a list option */

#ifndef CE_TOOLS_SIZE_LIST_H
#define CE_TOOLS_SIZE_LIST_H

#include "base/options.h"

#include <stdbool.h>
#include <stddef.h>

enum { CE_SIZE_LIST_MOST = 16 };

struct ce_size_list {
    size_t item[CE_SIZE_LIST_MOST];
    size_t count;
};

/* Adds the option's values, each a number from 1 to `most`, to the list. Says on stderr
 * what is wrong and returns false otherwise; the exit code is then CE_EXIT_USAGE. */
bool ce_size_list_read(struct ce_size_list *list,
                       const struct ce_option_list *text,
                       size_t most,
                       const char *command,
                       const char *option);

#endif
