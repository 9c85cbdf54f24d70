/* eval_signals.h - a job that is asked to end
 *
 *   SIGUSR1, or the time limit   begin nothing more, finish what runs, for a bounded
 * time SIGTERM, SIGINT              the journal goes to the disk at once; leave after
 * the step
 *
 * Handlers only note a signal; a thread of this process acts on it. Outside the loop of
 * steps, where nobody asks for the pace, that thread ends the process after SIGTERM and
 * SIGINT: loading a model is nothing to be finished. One job a process.
 */

#ifndef CE_TOOLS_EVAL_SIGNALS_H
#define CE_TOOLS_EVAL_SIGNALS_H

#include "base/status.h"
#include "engine/scheduler.h"
#include "eval/journal.h"

#include <stdbool.h>

/* Times in seconds, from now; limit 0: none. */
CE_MUST_CHECK enum ce_status
ce_eval_signals_start(double time_limit, double grace, struct ce_error *err);

/* The journal that SIGTERM syncs; NULL before it is closed. */
void ce_eval_signals_set_journal(struct ce_journal *journal);

/* Between these the pace is asked for before every step. */
void ce_eval_signals_enter_loop(void);
void ce_eval_signals_leave_loop(void);

/* What this process wants. */
enum ce_pace ce_eval_signals_pace(void);

/* From here on nothing ends the process early: all is written. */
void ce_eval_signals_ignore(void);

#endif
