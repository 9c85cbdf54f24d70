/* steps.h - how many steps the searches in one text may take
 *
 * A regular expression can take exponential time, and many searches that each stay
 * below a limit can together take as long. Oniguruma does not tell the steps of a
 * search, it only stops at a limit. So a search begins with a small limit, which is
 * free; each time that it is reached it is charged and the search is made again with
 * four times as much. What is charged is thus at least a quarter of the steps of long
 * searches, and the same on every machine.
 *
 * Steps that a library does not count are bounded by the processor time of the thread,
 * at fifty times what known models need: no text of theirs gets there.
 */

#ifndef CE_BASE_STEPS_H
#define CE_BASE_STEPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One text's; used by the thread that begins it. */
struct ce_steps {
    unsigned long left;
    unsigned searches;  /* since the clock was read */
    uint64_t latest_ns; /* of the thread's processor time */
};

/* In proportion to the text, with a floor that suffices for any short one. */
void ce_steps_begin(struct ce_steps *steps, size_t text_bytes);

/* The limit with which a search begins; 0: the text has used up what it may. */
unsigned long ce_steps_first(struct ce_steps *steps);
/* Charges `limit`, which was not enough, and returns the next; 0 as above. */
unsigned long ce_steps_more(struct ce_steps *steps, unsigned long limit);
/* Charges steps that were counted; false: as above. */
bool ce_steps_take(struct ce_steps *steps, unsigned long count);

#endif
