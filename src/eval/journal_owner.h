/* journal_owner.h - who has a lock, as its file says it */

#ifndef CE_EVAL_JOURNAL_OWNER_H
#define CE_EVAL_JOURNAL_OWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ce_journal_owner {
    char host[65];
    long process;
    char boot[65]; /* the kernel's boot_id: no two machines have the same */
    unsigned long long processes; /* the namespace in which `process` is a number */
    unsigned long long started;   /* of the process, in ticks since the boot */
    long long since;              /* Unix time in seconds */
};

/* This process, now. What the system does not tell stays 0 or "unknown". */
void ce_journal_owner_self(struct ce_journal_owner *owner);

/* The file; returns its length. */
size_t
ce_journal_owner_print(const struct ce_journal_owner *owner, char *text, size_t bytes);
/* False, and an owner of whom nothing is known, for any other text. */
bool ce_journal_owner_parse(struct ce_journal_owner *owner, const char *text);

/* Whether it runs, or ran, under the kernel that runs now. */
bool ce_journal_owner_is_here(const struct ce_journal_owner *owner,
                              const struct ce_journal_owner *self);
/* Whether it certainly has ended: its number is one of ours, and nobody has it or
 * somebody who started at another time. */
bool ce_journal_owner_is_dead(const struct ce_journal_owner *owner,
                              const struct ce_journal_owner *self);

#endif
