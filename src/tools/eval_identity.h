/* eval_identity.h - what a job of `cemoe eval` is: all that its results depend on
 *
 * Not the number of ranks, transport, placement, threads, steps or the cache: the bits
 * are the same. Only with --combine partial they depend on who owns which expert, so
 * that placement and ranks belong to it then.
 */

#ifndef CE_TOOLS_EVAL_IDENTITY_H
#define CE_TOOLS_EVAL_IDENTITY_H

#include "base/status.h"
#include "engine/engine.h"
#include "eval/comparison.h"
#include "eval/inputs.h"
#include "eval/journal.h"
#include "kernels/kernels.h"
#include "model/config.h"
#include "tools/eval_values.h"

#include <stddef.h>
#include <stdint.h>

/* How many of a token's experts are compressed, or dropped; one of them is 0. */
struct ce_eval_mains {
    int compressed;
    int truncated;
};

/* What is run one after the other. */
struct ce_eval_variants {
    size_t count; /* 1, or CE_VARIANTS in the order of enum ce_variant */
    const char *name[CE_VARIANTS];
    struct ce_eval_mains mains[CE_VARIANTS];
};

/* From options, config.json and the metadata of tables. */
CE_MUST_CHECK enum ce_status
ce_eval_choose_variants(struct ce_eval_variants *variants,
                        const struct ce_eval_values *values,
                        const struct ce_config *config,
                        struct ce_error *err);

/* What the command line does not say. */
struct ce_eval_facts {
    const struct ce_inputs *inputs;
    const struct ce_eval_variants *variants;
    enum ce_isa isa; /* that all ranks can run */
    int ranks;
    size_t max_length;
    int32_t prefix;  /* token before texts that have nothing else before them */
    uint64_t now_ns; /* Unix time */
};

struct ce_eval_identity {
    struct ce_journal_header header; /* of the journal there would be; its strings: */
    struct ce_journal_field *field;
    struct ce_journal_task *task;
    struct ce_journal_field note;
    bool failed; /* no memory */
};

/* All but what the weights say, whose fields have no value yet. ce_eval_identity_free
 * frees, also after a failure. `values`, inputs and variants outlive it. */
CE_MUST_CHECK enum ce_status ce_eval_identify(struct ce_eval_identity *identity,
                                              const struct ce_eval_values *values,
                                              const struct ce_eval_facts *facts,
                                              struct ce_error *err);
/* That, when they have been read. */
CE_MUST_CHECK enum ce_status
ce_eval_identity_complete(struct ce_eval_identity *identity,
                          const struct ce_config *config,
                          const struct ce_engine_identity *model,
                          struct ce_error *err);
void ce_eval_identity_free(struct ce_eval_identity *identity);

#endif
