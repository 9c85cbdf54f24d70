/* streams.h - standard input, output and error as a program finds them
 *
 *   descriptor     0                1                      2
 *   as started     input            results                log
 *   afterwards     input            log, of libraries      log      one above 2:
 * results
 *
 * A descriptor that is closed is the first to be given to the next file that is opened,
 * and what is printed then goes into that file. And a library that prints a warning on
 * standard output breaks a result that is one JSON document.
 */

#ifndef CE_BASE_STREAMS_H
#define CE_BASE_STREAMS_H

#include <stdio.h>

/* Opens /dev/null for each of the descriptors 0 to 2 that is closed, and keeps standard
 * output for ce_results alone: who writes to descriptor 1 from here on writes to
 * standard error. To be called once by a program, before anything else is opened; it
 * only makes system calls, so that it may run before any library is initialised. */
void ce_streams_open(void);
/* As they were, for another program that this process becomes; and back again, if it
 * does not become one. */
void ce_streams_restore(void);
void ce_streams_hide(void);

/* Where results go: standard output. Without ce_streams_open it is stdout. */
FILE *ce_results(void);
/* printf for results; a failure shows when they are flushed. */
__attribute__((format(printf, 1, 2))) void ce_print(const char *format, ...);

#endif
