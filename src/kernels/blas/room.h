/* room.h - whether the threads of a process have room for the buffers of OpenBLAS */

#ifndef CE_KERNELS_BLAS_ROOM_H
#define CE_KERNELS_BLAS_ROOM_H

#include "base/status.h"

#include <stddef.h>

/* OpenBLAS takes a buffer for every thread that calls it, when it first does, and tries
 * without end where a limit of address space or of data leaves no room. Call this
 * before `threads` threads call it at a time, and allocate little in between. Fails
 * with CE_ERR_NOMEM. */
CE_MUST_CHECK enum ce_status ce_blas_check_room(size_t threads, struct ce_error *err);

#endif
