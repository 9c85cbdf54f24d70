/* pack_report.h - what packing did to a model, for people and for programs */

#ifndef CE_TOOLS_PACK_REPORT_H
#define CE_TOOLS_PACK_REPORT_H

#include "model/pack.h"

#include <jansson.h>

/* A table with a line for each kind of tensor, to the log. */
void ce_pack_report_log(const struct ce_pack_report *report, double seconds);

/* Everything; the fields are in the help of the command. */
json_t *ce_pack_report_describe(const struct ce_pack_report *report,
                                struct ce_weight_formats formats);

#endif
