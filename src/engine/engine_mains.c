/* engine_mains.c - other main experts for an engine that has its weights
 *
 * Buffers depend on how many experts run in full and how many are compressed, and are
 * all in one arena: it is taken anew, the weights stay.
 */

#include "comm/collective.h"
#include "engine/engine.h"

static enum ce_status check(const struct ce_engine *engine,
                            int compressed,
                            int truncated,
                            struct ce_error *err)
{
    long most = (long)engine->config.top_k - 1;

    if (compressed < 0 || truncated < 0 || compressed > most || truncated > most ||
        (compressed > 0 && truncated > 0)) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "%d compressed and %d truncated experts: one of them must be 0, "
                       "the other 0 to %ld",
                       compressed,
                       truncated,
                       most);
    }
    if (!engine->options.switchable ||
        (compressed > 0 && engine->weights.compressed_bytes == 0)) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "the engine was not made to change its compressed experts");
    }
    if (engine->cache.free_pages < engine->cache.pages) {
        return ce_fail(
            err,
            CE_ERR_ARG,
            "the compressed experts cannot change while a sequence has tokens");
    }
    if (engine->split == CE_EXPERT_SPLIT_NODE) {
        return ce_fail(err,
                       CE_ERR_UNSUPPORTED,
                       "--expert-split node has memory for one number of experts: it "
                       "cannot be changed");
    }
    return CE_OK;
}

static enum ce_status take_anew(struct ce_engine *engine, struct ce_error *err)
{
    struct ce_arena measure = {0};
    enum ce_status status = CE_OK;

    ce_arena_destroy(&engine->arena);
    ce_arena_measure(&measure);
    ce_engine_take(engine, &measure);
    status = ce_arena_create(&engine->arena, measure.used, err);
    if (status == CE_OK) {
        ce_engine_take(engine, &engine->arena);
    }
    return status;
}

enum ce_status ce_engine_choose_mains(struct ce_engine *engine,
                                      int compressed,
                                      int truncated,
                                      struct ce_error *err)
{
    enum ce_status status =
        ce_agree(engine->transport, check(engine, compressed, truncated, err), err);

    if (status != CE_OK) {
        return status;
    }
    engine->compressed = (size_t)compressed;
    engine->mains = engine->config.top_k - (size_t)(compressed + truncated);
    return ce_agree(engine->transport, take_anew(engine, err), err);
}
