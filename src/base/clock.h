/* clock.h - monotonic time */

#ifndef CE_BASE_CLOCK_H
#define CE_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

uint64_t ce_clock_ns(void);

/* The time of CLOCK_MONOTONIC in `ms` milliseconds, for waits that take an end. */
struct timespec ce_clock_in_ms(uint64_t ms);

#endif
