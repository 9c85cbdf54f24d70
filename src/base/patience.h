/* patience.h - how long a loop that polls has waited, as far as it could have noticed
 *
 * A deadline bounds how long this process waits for another one. While it stands still
 * itself (SIGSTOP, scontrol suspend, a machine that sleeps), it cannot judge: the
 * others may have stood still with it, or their messages are here and unread. So the
 * time between two polls counts, but of a long gap only its first part.
 */

#ifndef CE_BASE_PATIENCE_H
#define CE_BASE_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

struct ce_patience {
    uint64_t deadline_ms; /* 0: for ever */
    uint64_t polled_ns;   /* the clock at the last poll */
    uint64_t waited_ns;   /* what counts of the time before it */
};

/* A wait that begins now. */
void ce_patience_begin(struct ce_patience *patience, uint64_t deadline_ms);

/* A poll now: true when the deadline has passed. */
bool ce_patience_is_over(struct ce_patience *patience);

/* The same at a time of the caller's clock, for tests. Of a gap an eighth of the
 * deadline counts, or a second where that is less: a machine on which every poll comes
 * so late still finds an end. */
void ce_patience_begin_at(struct ce_patience *patience,
                          uint64_t deadline_ms,
                          uint64_t now_ns);
bool ce_patience_is_over_at(struct ce_patience *patience, uint64_t now_ns);

#endif
