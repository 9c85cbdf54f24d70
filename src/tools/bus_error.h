/* bus_error.h - a line for SIGBUS, which kills without one
 *
 * A mapped file that is cut short while it is used raises it. The process then ends
 * with CE_EXIT_FAILED and a line that names the file; the launcher ends the other
 * ranks. An address in no file of ours ends it as without this handler.
 */

#ifndef CE_TOOLS_BUS_ERROR_H
#define CE_TOOLS_BUS_ERROR_H

/* `rank` is for the line. Again after MPI and UCX have started, which set handlers. */
void ce_bus_error_install(int rank);

#endif
