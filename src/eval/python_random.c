/* python_random.c - MT19937, and samples drawn as CPython does */

#include "eval/python_random.h"

#include <stdlib.h>

#define WORDS 624
#define SHIFT 397

static void seed_word(struct ce_python_random *random, uint32_t seed)
{
    random->state[0] = seed;
    for (uint32_t i = 1; i < WORDS; i++) {
        uint32_t last = random->state[i - 1];

        random->state[i] = UINT32_C(1812433253) * (last ^ (last >> 30)) + i;
    }
    random->used = WORDS;
}

/* init_by_array(): the key is the seed, low word first, without high words of zero. */
void ce_python_random_seed(struct ce_python_random *random, uint64_t seed)
{
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t length = key[1] == 0 ? 1 : 2;
    uint32_t *state = random->state;
    uint32_t i = 1, j = 0;

    seed_word(random, UINT32_C(19650218));
    for (uint32_t turns = WORDS; turns > 0; turns--) {
        uint32_t last = state[i - 1];

        state[i] =
            (state[i] ^ ((last ^ (last >> 30)) * UINT32_C(1664525))) + key[j] + j;
        j = (j + 1) % length;
        if (++i == WORDS) {
            state[0] = state[WORDS - 1];
            i = 1;
        }
    }
    for (uint32_t turns = WORDS - 1; turns > 0; turns--) {
        uint32_t last = state[i - 1];

        state[i] = (state[i] ^ ((last ^ (last >> 30)) * UINT32_C(1566083941))) - i;
        if (++i == WORDS) {
            state[0] = state[WORDS - 1];
            i = 1;
        }
    }
    state[0] = UINT32_C(0x80000000);
}

static void refill(struct ce_python_random *random)
{
    uint32_t *state = random->state;

    for (size_t i = 0; i < WORDS; i++) {
        uint32_t mixed = (state[i] & UINT32_C(0x80000000)) |
                         (state[(i + 1) % WORDS] & UINT32_C(0x7fffffff));

        state[i] = state[(i + SHIFT) % WORDS] ^ (mixed >> 1) ^
                   ((mixed & 1) != 0 ? UINT32_C(0x9908b0df) : 0);
    }
    random->used = 0;
}

uint32_t ce_python_random_next(struct ce_python_random *random)
{
    uint32_t word = 0;

    if (random->used == WORDS) {
        refill(random);
    }
    word = random->state[random->used++];
    word ^= word >> 11;
    word ^= (word << 7) & UINT32_C(0x9d2c5680);
    word ^= (word << 15) & UINT32_C(0xefc60000);
    return word ^ (word >> 18);
}

double ce_python_random_unit(struct ce_python_random *random)
{
    uint32_t high = ce_python_random_next(random) >> 5;
    uint32_t low = ce_python_random_next(random) >> 6;

    return ((double)high * 67108864.0 + (double)low) * (1.0 / 9007199254740992.0);
}

/* _randbelow(limit): as many bits as limit has, until they are below it. */
static size_t below(struct ce_python_random *random, size_t limit)
{
    unsigned bits = 0;
    size_t value = 0;

    while (limit >> bits > 0) {
        bits++;
    }
    do {
        value = ce_python_random_next(random) >> (32 - bits);
    } while (value >= limit);
    return value;
}

/* Up to which population sample() moves a list about, rather than remembering a set. */
static size_t list_limit(size_t wanted)
{
    size_t limit = 1;

    if (wanted <= 5) {
        return 21;
    }
    while (limit < wanted * 3) {
        limit *= 4;
    }
    return 21 + limit;
}

static bool sample_list(struct ce_python_random *random,
                        size_t population,
                        size_t wanted,
                        size_t *chosen)
{
    size_t *pool = malloc(population * sizeof(*pool));

    if (pool == NULL) {
        return false;
    }
    for (size_t i = 0; i < population; i++) {
        pool[i] = i;
    }
    for (size_t i = 0; i < wanted; i++) {
        size_t at = below(random, population - i);

        chosen[i] = pool[at];
        pool[at] = pool[population - i - 1];
    }
    free(pool);
    return true;
}

static bool contains(const size_t *list, size_t count, size_t value)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == value) {
            return true;
        }
    }
    return false;
}

bool ce_python_random_sample(struct ce_python_random *random,
                             size_t population,
                             size_t wanted,
                             size_t *chosen)
{
    if (wanted == 0) {
        return true;
    }
    if (population <= list_limit(wanted)) {
        return sample_list(random, population, wanted, chosen);
    }
    for (size_t i = 0; i < wanted; i++) {
        do {
            chosen[i] = below(random, population);
        } while (contains(chosen, i, chosen[i]));
    }
    return true;
}
