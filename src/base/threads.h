/* threads.h - whether the system gives a process the threads it is told to use */

#ifndef CE_BASE_THREADS_H
#define CE_BASE_THREADS_H

#include "base/status.h"

#include <stddef.h>

/* Starts `count` - 1 threads beside the caller's, which wait for each other, and ends
 * them. OpenMP's library would end the process where it gets less. Errors: CE_ERR_NOMEM
 * names the number and the cause. */
CE_MUST_CHECK enum ce_status ce_threads_check(size_t count, struct ce_error *err);

#endif
