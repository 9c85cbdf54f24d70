/* watch.h - a deadline for calls that know none
 *
 * Starting and ending MPI wait for all ranks inside the library, as long as it takes.
 * A watch ends the process with CE_EXIT_FAILED and one line when such a call does not
 * return; the launcher then ends the others. One at a time; it uses SIGALRM.
 */

#ifndef CE_TOOLS_WATCH_H
#define CE_TOOLS_WATCH_H

#include <stdint.h>

/* `line` is printed when `ms` have passed before ce_watch_end; 0 ms: never. */
void ce_watch_begin(uint64_t ms, const char *line);
void ce_watch_end(void);

#endif
