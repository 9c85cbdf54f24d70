/* finding.h - what a check says: how it is, and what to change */

#ifndef CE_DOCTOR_FINDING_H
#define CE_DOCTOR_FINDING_H

#include <stddef.h>

/* From the best to the worst. */
enum ce_verdict {
    CE_VERDICT_SKIPPED = 0, /* could not or need not be looked at */
    CE_VERDICT_OK,
    CE_VERDICT_WARNING, /* will run, but not as well as it could */
    CE_VERDICT_FAILED,  /* will not run, or far slower than it could */
};

struct ce_finding {
    const char *check; /* a literal: "memory" */
    enum ce_verdict verdict;
    char text[640];
    const char *advice; /* a literal, or NULL */
};

/* A check says each of its few faults once, whatever the number of ranks. */
#define CE_MOST_FINDINGS 32

struct ce_findings {
    struct ce_finding item[CE_MOST_FINDINGS];
    size_t count;
};

/* What does not fit any more is dropped. */
void ce_findings_add(struct ce_findings *findings,
                     const char *check,
                     enum ce_verdict verdict,
                     const char *advice,
                     const char *format,
                     ...) __attribute__((format(printf, 5, 6)));

/* The worst of them; CE_VERDICT_OK for none. */
enum ce_verdict ce_findings_worst(const struct ce_findings *findings);

const char *ce_verdict_name(enum ce_verdict verdict);

#endif
