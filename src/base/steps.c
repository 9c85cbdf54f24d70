/* steps.c - how many steps the searches in one text may take */

#include "base/steps.h"

#include <time.h>

/* About half a second. The patterns of known models need a few steps per byte. */
#define STEPS_AT_LEAST ((unsigned long)32 << 20)
#define STEPS_PER_BYTE 64UL

/* Nearly every search of known models ends below it. */
#define FIRST_LIMIT 64UL
#define LIMIT_GROWS 4UL

/* Encoding takes 200 ns per byte. */
#define TIME_AT_LEAST_NS  ((uint64_t)4 * 1000 * 1000 * 1000)
#define TIME_PER_BYTE_NS  ((uint64_t)10000)
#define SEARCHES_PER_LOOK 256U

static uint64_t read_processor_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID,
                        &now); /* cannot fail with this clock */
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

void ce_steps_begin(struct ce_steps *steps, size_t text_bytes)
{
    *steps = (struct ce_steps){.left = STEPS_AT_LEAST + STEPS_PER_BYTE * text_bytes,
                               .latest_ns = read_processor_ns() + TIME_AT_LEAST_NS +
                                            TIME_PER_BYTE_NS * text_bytes};
}

static void look_at_clock(struct ce_steps *steps)
{
    steps->searches = 0;
    if (read_processor_ns() > steps->latest_ns) {
        steps->left = 0;
    }
}

unsigned long ce_steps_first(struct ce_steps *steps)
{
    if (++steps->searches >= SEARCHES_PER_LOOK) {
        look_at_clock(steps);
    }
    return steps->left == 0 ? 0 : FIRST_LIMIT;
}

bool ce_steps_take(struct ce_steps *steps, unsigned long count)
{
    steps->left -= count < steps->left ? count : steps->left;
    return steps->left > 0;
}

/* Half of a search would be for nothing: the last one gets all that is left. */
unsigned long ce_steps_more(struct ce_steps *steps, unsigned long limit)
{
    unsigned long next = LIMIT_GROWS * limit;

    look_at_clock(steps);
    (void)ce_steps_take(steps, limit);
    if (steps->left <= limit) {
        steps->left = 0;
    }
    return steps->left / 2 < next ? steps->left : next;
}
