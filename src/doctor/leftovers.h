/* leftovers.h - shared memory that jobs which were killed have left on a host
 *
 * Open MPI and UCX make files in /dev/shm, which take memory like any other there. They
 * are removed when a job ends, but not when all of it is killed. This program's own
 * shared memory has no name and goes with its processes.
 */

#ifndef CE_DOCTOR_LEFTOVERS_H
#define CE_DOCTOR_LEFTOVERS_H

#include <stddef.h>
#include <stdint.h>

#define CE_LEFTOVERS_FOLDER "/dev/shm"

struct ce_leftovers {
    size_t count;
    uint64_t bytes;
    char first[96]; /* the name of one, cut to fit */
};

/* Files of this user, of any user for root, with the names that those libraries give,
 * and that no process which can be seen has mapped. What cannot be read is none. */
void ce_leftovers_find(struct ce_leftovers *leftovers, const char *folder);

#endif
