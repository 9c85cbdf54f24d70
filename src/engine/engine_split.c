/* engine_split.c - matrices that all ranks of a host share: choosing it, and the memory
 */

#include "base/log.h"
#include "engine/engine.h"
#include "moe/split.h"

#include <string.h>

/* Every rank has a slice of every expert and sums its own tokens' results. */
enum ce_status ce_engine_choose_split(struct ce_engine *engine,
                                      const struct ce_engine_options *options,
                                      struct ce_error *err)
{
    const char *placement = options->placement;
    enum ce_status status =
        ce_expert_split_by_name(&engine->split, options->expert_split, err);

    if (status != CE_OK || engine->split == CE_EXPERT_SPLIT_NONE) {
        return status;
    }
    if (engine->combine == CE_COMBINE_PARTIAL) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "--expert-split node leaves nothing to sum first: use "
                       "--combine ordered");
    }
    if (placement != NULL && strcmp(placement, "contiguous") != 0) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "--expert-split node gives every rank a slice of every expert: "
                       "--placement %s has nothing to place",
                       placement);
    }
    return ce_placement_contiguous(
        &engine->whole, engine->config.layers, engine->config.experts, 1, err);
}

struct ce_weights_split ce_engine_share(const struct ce_engine *engine)
{
    if (engine->split == CE_EXPERT_SPLIT_NONE) {
        return (struct ce_weights_split){0};
    }
    return (struct ce_weights_split){(size_t)engine->transport->rank,
                                     (size_t)engine->transport->ranks};
}

/* Rows of dense products stand in one piece, in rank 0's part. */
static size_t part_bytes(const struct ce_engine *engine)
{
    const int rank = engine->transport->rank;

    return ce_split_window_bytes(&engine->moe, rank) +
           (rank == 0 ? engine->dense.window_bytes : 0);
}

size_t ce_engine_window_bytes(const struct ce_engine *engine)
{
    const size_t ranks = (size_t)engine->transport->ranks;

    if (engine->split == CE_EXPERT_SPLIT_NONE) {
        return 0;
    }
    return part_bytes(engine) + ce_window_overhead(engine->transport->ranks) / ranks +
           1;
}

enum ce_status ce_engine_open_window(struct ce_engine *engine, struct ce_error *err)
{
    if (engine->split == CE_EXPERT_SPLIT_NONE) {
        return CE_OK;
    }
    enum ce_status status =
        ce_window_create(&engine->window, engine->transport, part_bytes(engine), err);
    if (status == CE_OK && ce_log_is_speaker()) {
        ce_log(
            CE_LOG_INFO,
            "every expert and dense matrix is split over the %d rank(s) of this host, "
            "which share %.1f MiB",
            engine->transport->ranks,
            (double)engine->window->bytes / 0x1p20);
    }
    return status;
}
