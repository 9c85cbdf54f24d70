/* clock.h - monotonic time */

#ifndef CE_BASE_CLOCK_H
#define CE_BASE_CLOCK_H

#include <stdint.h>

uint64_t ce_clock_ns(void);

#endif
