/* roll.h - which ranks of this host are there, before ranks can talk to each other
 *
 * While MPI starts and ends a rank hears of no other, and MPI's own waits know neither
 * deadline nor names. But the processes of a job on one host see each other in /proc:
 * by what the launcher wrote into their environment, by their state, and by a thread
 * that each of them has while it waits.
 */

#ifndef CE_COMM_ROLL_H
#define CE_COMM_ROLL_H

#include "base/patience.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Name of the thread by which a rank shows that it waits. */
#define CE_ROLL_THREAD "cemoe-waits"

struct ce_roll_rank {
    int rank;
    long
        process; /* of several with the same rank, the one that waits, or one of them */
    bool waits;  /* it has come to where we are */
    bool stopped;    /* by a signal, of a debugger or not */
    uint64_t ticks;  /* of the processor that it has used */
    uint64_t before; /* the same at the last look */
    char name[16];   /* of the program: a rank may still be its wrapper script */
    struct ce_patience silent; /* since it last gave a sign: moved on, or waits */
    bool missing;              /* no sign within the deadline */
};

struct ce_roll {
    const char *proc; /* "/proc" but in tests */
    uint64_t deadline_ms;
    bool none_may_end;         /* a rank without a process is missing, too */
    struct ce_roll_rank *rank; /* [count], those that were ever seen */
    size_t count;
};

/* `none_may_end`: a rank that ends now leaves the others waiting, as one that only
 * printed its help. Where all ranks are on this host, one that was never seen counts,
 * too. */
void ce_roll_init(struct ce_roll *roll,
                  const char *proc,
                  uint64_t deadline_ms,
                  bool none_may_end);
void ce_roll_fini(struct ce_roll *roll); /* accepts a zeroed object */

/* Looks at the processes at `now_ns`, to be called again and again; the number of ranks
 * of this host that have given no sign for the deadline. 0 where the launcher says too
 * little or the system does not show even our own process. */
size_t ce_roll_look(struct ce_roll *roll, uint64_t now_ns);

/* "rank 2 (process 4711 is stopped), rank 5 (process 4714, bash, has not come so far)"
 */
#define CE_ROLL_TEXT 320
void ce_roll_describe(const struct ce_roll *roll, char *text);

#endif
