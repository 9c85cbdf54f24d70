/* python_random.h - the generator of Python's module random, for what is defined by it
 *
 * Source: Matsumoto, Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998), mt19937ar.c;
 * CPython 3.11, Lib/random.py and Modules/_randommodule.c.
 */

#ifndef CE_EVAL_PYTHON_RANDOM_H
#define CE_EVAL_PYTHON_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ce_python_random {
    uint32_t state[624];
    size_t used; /* of state */
};

/* random.Random(seed) */
void ce_python_random_seed(struct ce_python_random *random, uint64_t seed);
uint32_t ce_python_random_next(struct ce_python_random *random); /* getrandbits(32) */

double ce_python_random_unit(struct ce_python_random *random); /* random() */

/* random.sample(range(population), wanted) into `chosen` [wanted], where wanted is at
 * most population, which is below 2^32. False when out of memory. */
bool ce_python_random_sample(struct ce_python_random *random,
                             size_t population,
                             size_t wanted,
                             size_t *chosen);

#endif
