/* mapped.h - which file is mapped at an address, for a handler of SIGBUS
 *
 * A file that is cut short, or whose medium fails, while it is mapped raises that
 * signal at the address that was read. There is room for 1024 files; of more no name is
 * known.
 */

#ifndef CE_BASE_MAPPED_H
#define CE_BASE_MAPPED_H

#include <stddef.h>

/* Any thread. `path` is copied, its end if it is long. */
void ce_mapped_add(const void *data, size_t bytes, const char *path);
void ce_mapped_remove(const void *data);

/* The path, or NULL. May be called in a handler of a signal. */
const char *ce_mapped_find(const void *address);

#endif
