/* test_fault.h - failures on request: for tests of what the other ranks do then
 *
 *   CEMOE_TEST_FAULT=KIND:RANK:STEP:LAYER:STAGE
 *
 * When rank RANK enters STAGE of LAYER in STEP, it
 *
 *   fail   fails there, as if the stage had
 *   stop   sends itself SIGSTOP
 *   kill   sends itself SIGKILL
 *   hang   sleeps and never goes on
 *
 * Steps count from 1. "embed" is in layer 0, "logits" and "agree" are in the last one.
 * In calibrations each step runs one layer, and "fit" comes after the last of a layer.
 * "start", "input" and "load" come before the first step: step 0, layer 0. "end" is
 * where the last step was. A fault that never comes to pass is not an error.
 */

#ifndef CE_TOOLS_TEST_FAULT_H
#define CE_TOOLS_TEST_FAULT_H

#include "comm/transport.h"

/* Reads the variable, for the whole process. Errors: CE_ERR_ARG when it makes no
 * sense. */
CE_MUST_CHECK enum ce_status ce_test_fault_read(struct ce_error *err);

/* What happens to `rank` on entering now->stage. */
CE_MUST_CHECK enum ce_status
ce_test_fault_meet(int rank, const struct ce_activity *now, struct ce_error *err);

/* Has the transport call it in every stage, if there is a fault to wait for. */
void ce_test_fault_install(struct ce_transport *transport);

#endif
