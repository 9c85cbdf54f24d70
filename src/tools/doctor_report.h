/* doctor_report.h - what `cemoe doctor` found, for people and for programs */

#ifndef CE_TOOLS_DOCTOR_REPORT_H
#define CE_TOOLS_DOCTOR_REPORT_H

#include "doctor/facts.h"
#include "doctor/finding.h"

#include <jansson.h>

struct ce_doctor_report {
    const struct ce_rank_facts *facts; /* [ranks] */
    size_t ranks;
    const char *transport; /* NULL where there is none */
    const struct ce_findings *findings;
};

/* Two tables on stdout. */
void ce_doctor_report_print(const struct ce_doctor_report *report);
/* The same; the fields are in the help of the command. */
json_t *ce_doctor_report_describe(const struct ce_doctor_report *report);

#endif
