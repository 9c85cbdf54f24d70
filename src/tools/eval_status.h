/* eval_status.h - `cemoe eval --status`: what a journal says of its job */

#ifndef CE_TOOLS_EVAL_STATUS_H
#define CE_TOOLS_EVAL_STATUS_H

#include <stdbool.h>

/* Prints it; no MPI, no model, no lock. The exit code: CE_EXIT_DONE complete,
 * CE_EXIT_STOPPED can be resumed, CE_EXIT_FAILED no journal that can be read. */
int ce_eval_status(const char *out, bool json);

#endif
