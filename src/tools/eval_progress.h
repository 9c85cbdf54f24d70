/* eval_progress.h - how far an evaluation is, on standard error
 *
 * On a terminal one line that is written over; in a log a line now and then, the rarer
 * the longer the job takes.
 */

#ifndef CE_TOOLS_EVAL_PROGRESS_H
#define CE_TOOLS_EVAL_PROGRESS_H

#include "engine/scheduler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ce_eval_progress {
    bool silent;
    bool terminal;
    const char *variant; /* NULL: there is one only */
    size_t total;        /* requests of this run, of all variants */
    size_t before;       /* that variants before this one have done */
    uint64_t began_ns;
    uint64_t shown_ns;
    uint64_t wait_ns; /* until the next line of a log */
    uint64_t tokens;  /* since it was shown */
    uint64_t room;
};

void ce_eval_progress_start(struct ce_eval_progress *progress,
                            bool quiet,
                            size_t total);
/* After a step. */
void ce_eval_progress_step(struct ce_eval_progress *progress,
                           const struct ce_schedule_state *state);
/* Ends the line of a terminal. */
void ce_eval_progress_end(struct ce_eval_progress *progress);

#endif
