/* random.h - counter-based random numbers: a pure function of (key, counter)
 *
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011: Philox4x32-10. The same on every machine and in any
 * order, so a sample depends on (seed, request, position) and nothing else.
 */

#ifndef CE_BASE_RANDOM_H
#define CE_BASE_RANDOM_H

#include <stdint.h>

struct ce_philox {
    uint32_t word[4];
};

/* Philox4x32-10 of a 64-bit key and a 128-bit counter (low word first). */
struct ce_philox
ce_philox4x32(uint64_t key, uint64_t counter_low, uint64_t counter_high);

/* Uniform in [0, 1) with 53 bits, from the first two words. */
double ce_random_unit(uint64_t key, uint64_t counter_low, uint64_t counter_high);

#endif
