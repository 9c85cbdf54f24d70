/* bench_step.h - what `cemoe bench step` has measured, for the file that prints it */

#ifndef CE_TOOLS_BENCH_STEP_H
#define CE_TOOLS_BENCH_STEP_H

#include "tools/bench_limits.h"
#include "tools/bench_work.h"
#include "tools/session.h"
#include "tools/size_list.h"

#include <stddef.h>

enum { CE_STEP_PROMPT = 0, CE_STEP_DECODE, CE_STEP_PHASES };

struct ce_step_phase {
    double *seconds;     /* [repeat] */
    struct ce_work work; /* of all repetitions; on rank 0, once joined, of all ranks */
};

struct ce_step_batch {
    size_t size;
    struct ce_step_phase phase[CE_STEP_PHASES];
};

struct ce_step_result {
    size_t prompt_tokens;
    size_t decode_steps;
    size_t repeat;
    size_t batches;
    struct ce_step_batch batch[CE_SIZE_LIST_MOST];
    struct ce_limits limits;
};

/* On stdout; return the exit code. They sort the seconds. */
int ce_step_print_json(struct ce_step_result *result, const struct ce_session *session);
int ce_step_print_table(struct ce_step_result *result,
                        const struct ce_session *session);

#endif
