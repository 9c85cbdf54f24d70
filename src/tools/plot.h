/* plot.h - pictures by gnuplot, where there is one */

#ifndef CE_TOOLS_PLOT_H
#define CE_TOOLS_PLOT_H

#include "base/status.h"

#include <stdint.h>

/* Has gnuplot run a script of `directory` that writes a picture to the file which its
 * variable `out` names, and gives that the name `picture` there: whole, or not at all.
 * Waits, but not beyond the deadline (0: for ever), when it ends gnuplot. Errors:
 * CE_ERR_UNSUPPORTED without a gnuplot, or one that fails; what it says is on stderr.
 */
CE_MUST_CHECK enum ce_status ce_plot_draw(const char *directory,
                                          const char *script,
                                          const char *picture,
                                          uint64_t deadline_ms,
                                          struct ce_error *err);

#endif
