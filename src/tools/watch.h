/* watch.h - a deadline for calls that know none
 *
 * Starting and ending MPI wait for all ranks inside the library, as long as it takes.
 * A watch ends the process with CE_EXIT_FAILED and one line when such a call does not
 * return; the launcher then ends the others. It is a thread, which looks for the other
 * ranks of this host (comm/roll.h): one of them that is stopped, or has neither come
 * nor moved for the deadline, is named then. Ranks of other hosts are seen by those of
 * their own; where nobody is seen to be missing the call may take longer, since MPI
 * needs its time on a busy machine whatever a step takes.
 */

#ifndef CE_TOOLS_WATCH_H
#define CE_TOOLS_WATCH_H

#include "base/status.h"

#include <stdint.h>

/* The stage in which no rank may end. */
#define CE_WATCH_START "start"

/* Begins to watch over `stage` of `command`, both literals; one at a time. It may take
 * `factor` deadlines when nobody is seen to be missing, for ever with 0. Does nothing
 * for a deadline of 0 ms and for a rank alone. Errors: CE_ERR_NOMEM when there is no
 * thread. */
CE_MUST_CHECK enum ce_status ce_watch_begin(const char *command,
                                            const char *stage,
                                            uint64_t deadline_ms,
                                            uint64_t factor,
                                            struct ce_error *err);
void ce_watch_end(void); /* also when there is none */

#endif
