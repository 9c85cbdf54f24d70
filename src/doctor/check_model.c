/* check_model.c - do all ranks see the same model? */

#include "doctor/check.h"

#include <inttypes.h>

#define CHECK "model"

static void check_errors(const struct ce_rank_facts *facts,
                         size_t ranks,
                         struct ce_findings *findings)
{
    size_t failed = 0;
    size_t first = 0;

    for (size_t r = 0; r < ranks; r++) {
        if (facts[r].model_error[0] != '\0') {
            first = failed == 0 ? r : first;
            failed++;
        }
    }
    if (failed == ranks && failed > 0) {
        ce_findings_add(findings,
                        CHECK,
                        CE_VERDICT_FAILED,
                        NULL,
                        "no rank can use it: %s",
                        facts[0].model_error);
    } else if (failed > 0) {
        ce_findings_add(
            findings,
            CHECK,
            CE_VERDICT_FAILED,
            "Every node reads the model itself: put it on a file system that all of "
            "them have, or copy it to the same path on each (sbcast, rsync).",
            "%zu of %zu ranks cannot use it, the first is rank %zu on %s: %s",
            failed,
            ranks,
            first,
            facts[first].host.name,
            facts[first].model_error);
    }
}

static void check_alike(const struct ce_rank_facts *facts,
                        size_t ranks,
                        struct ce_findings *findings)
{
    for (size_t r = 1; r < ranks; r++) {
        if (facts[r].config_hash != facts[0].config_hash) {
            ce_findings_add(findings,
                            CHECK,
                            CE_VERDICT_FAILED,
                            "Copies differ: make them anew from one of them.",
                            "config.json on %s (rank %zu) is not that on %s: hashes "
                            "%016" PRIx64 " and %016" PRIx64,
                            facts[r].host.name,
                            r,
                            facts[0].host.name,
                            facts[r].config_hash,
                            facts[0].config_hash);
            return;
        }
    }
    if (facts[0].difference[0] != '\0') {
        ce_findings_add(
            findings,
            CHECK,
            CE_VERDICT_FAILED,
            "Copies differ: make them anew from one of them. Options must be "
            "alike, too.",
            "%s",
            facts[0].difference);
    }
}

void ce_check_model(const struct ce_rank_facts *facts,
                    size_t ranks,
                    struct ce_findings *findings)
{
    size_t before = findings->count;

    check_errors(facts, ranks, findings);
    if (findings->count == before) {
        check_alike(facts, ranks, findings);
    }
    if (findings->count == before) {
        ce_findings_add(findings,
                        CHECK,
                        CE_VERDICT_OK,
                        NULL,
                        ranks > 1
                            ? "readable on all ranks and alike: config.json by its "
                              "fields, the files of the tokenizer and "
                              "generation_config.json by their bytes, weights by "
                              "samples of every tensor where files are not the "
                              "very same"
                            : "readable");
    }
}
