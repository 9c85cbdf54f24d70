/* traffic_report.h - what the ranks sent each other: gathered, compared, shown */

#ifndef CE_TOOLS_TRAFFIC_REPORT_H
#define CE_TOOLS_TRAFFIC_REPORT_H

#include "base/status.h"
#include "engine/engine.h"
#include "moe/account.h"
#include "tools/session.h"

#include <jansson.h>

/* What this rank sent and received, by slot and peer, as a new JSON object. */
json_t *ce_traffic_describe_rank(const struct ce_engine *engine);

/* On rank 0, from what all ranks say of themselves (`traffic` in each has the object
 * above): a table on stderr and the file of --traffic. Errors: CE_ERR_MISMATCH when two
 * ranks differ; the file is written all the same. */
CE_MUST_CHECK enum ce_status ce_traffic_report(const struct ce_session *session,
                                               const json_t *ranks,
                                               struct ce_error *err);

/* The document of --traffic. (traffic_json.c) */
json_t *ce_traffic_document(const struct ce_session *session,
                            const struct ce_account *account,
                            const json_t *ranks);

/* Part of a baseline's bytes that the run did without; 0 of nothing. */
double ce_traffic_saved(uint64_t run, uint64_t baseline);

#endif
