/* one_fails.h - one rank fails, under one setting: see one_fails.c
 *
 * A setting is NAME WIRE COMBINE OVERLAP SPLIT KIND...; the kinds of failure are at the
 * end of one_fails.c.
 */

#ifndef CE_TESTS_RANKS_ONE_FAILS_H
#define CE_TESTS_RANKS_ONE_FAILS_H

#include "comm/transport.h"

enum { ONE_FAILS_RANKS = 3 };

/* How a call in which one rank fails has ended on a rank. */
struct one_fails_end {
    int rank;
    const char *setting;
    const char *kind;
    enum ce_status status;
    struct ce_error err;
};

typedef void one_fails_report(void *context, const struct one_fails_end *end);

/* Reports each kind of the setting, in order. What is not as it must be ends the
 * program. Collective, on ONE_FAILS_RANKS ranks. */
void one_fails_run(struct ce_transport *transport,
                   const char *model,
                   const char *words,
                   one_fails_report *report,
                   void *context);

#endif
