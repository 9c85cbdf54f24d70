/* report.h - parts of what is said of a job, for the files that say it */

#ifndef CE_TOOLS_REPORT_H
#define CE_TOOLS_REPORT_H

#include "base/status.h"
#include "engine/engine.h"
#include "tools/session.h"

#include <jansson.h>

/* Seconds of each stage, in the order of a step, as a new JSON object; `all` is
 * [CE_STAGES], `moe` [CE_MOE_STAGES]. */
json_t *ce_report_times(const uint64_t *all, const uint64_t *moe);

/* How the job ran, as a new JSON object: version, command, transport and the like. */
json_t *ce_report_head(const struct ce_session *session);

/* What all ranks have sent to others in the exchanges of the layers, since counters
 * were reset. Collective. */
CE_MUST_CHECK enum ce_status ce_report_moved_bytes(const struct ce_session *session,
                                                   uint64_t *bytes,
                                                   struct ce_error *err);

/* Writes a document to a file; frees it. */
CE_MUST_CHECK enum ce_status
ce_report_write(const char *path, json_t *document, struct ce_error *err);

#endif
