/* engine_mains.c - other main experts for an engine that has its weights
 *
 * Buffers depend on how many experts run in full and how many are compressed, and are
 * all in one arena: it is taken anew, the weights stay.
 */

#include "base/log.h"
#include "comm/collective.h"
#include "engine/engine.h"

#include <string.h>

/* True of what every change needs. */
static enum ce_status check_change(const struct ce_engine *engine, struct ce_error *err)
{
    if (!engine->options.switchable) {
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
    if (compressed > 0 && !ce_engine_has_compressed(engine)) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "the engine was not made to change its compressed experts: it "
                       "has none");
    }
    return check_change(engine, err);
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
    ce_engine_warn_compressed(engine, 0);
    return ce_agree(engine->transport, take_anew(engine, err), err);
}

/* All ranks have the same file. */
static enum ce_status compare_files(struct ce_engine *engine,
                                    const struct ce_safetensors *file,
                                    struct ce_error *err)
{
    const uint64_t mine = ce_safetensors_checksum(file, engine->kernels);
    const struct ce_bytes *all = NULL;
    enum ce_status status = ce_allgather(
        engine->transport, (struct ce_bytes){&mine, sizeof(mine)}, &all, err);

    for (int r = 0; status == CE_OK && r < engine->transport->ranks; r++) {
        if (all[r].bytes != sizeof(mine) ||
            memcmp(all[r].data, &mine, sizeof(mine)) != 0) {
            status = ce_fail(err,
                             CE_ERR_MISMATCH,
                             "%s: rank %d (%s) has another file than rank %d (%s)",
                             file->path,
                             r,
                             engine->peers[r].host,
                             engine->transport->rank,
                             engine->peers[engine->transport->rank].host);
        }
    }
    return ce_agree(engine->transport, status, err);
}

/* From a file to loaded compressed experts; the arena has been given back. */
static enum ce_status
load_file(struct ce_engine *engine, const char *path, struct ce_error *err)
{
    struct ce_transport *transport = engine->transport;
    struct ce_safetensors file = {.path = NULL};
    enum ce_status status =
        ce_agree(transport, ce_engine_open_compressed(engine, &file, path, err), err);

    if (status == CE_OK) {
        status = compare_files(engine, &file, err);
    }
    if (status == CE_OK) {
        status = ce_engine_check_compressed_memory(engine, err);
    }
    if (status == CE_OK) {
        status =
            ce_agree(transport, ce_engine_load_compressed(engine, &file, err), err);
    }
    ce_safetensors_close(&file);
    return status;
}

enum ce_status ce_engine_use_compressed(struct ce_engine *engine,
                                        const char *path,
                                        struct ce_error *err)
{
    struct ce_error later = {.text = ""};
    enum ce_status status = ce_agree(engine->transport, check_change(engine, err), err);
    enum ce_status taken = CE_OK;

    if (status != CE_OK) {
        return status;
    }
    ce_engine_drop_compressed(engine);
    ce_arena_destroy(&engine->arena);
    engine->compressed = 0;
    engine->mains = engine->config.top_k;
    if (path != NULL) {
        status = load_file(engine, path, err);
    }
    if (status != CE_OK) {
        ce_engine_drop_compressed(engine);
    } else if (path != NULL && ce_log_is_speaker()) {
        ce_log(CE_LOG_INFO,
               "%s: compressed experts (%s), %.2f MiB",
               path,
               ce_compressed_kind_name(engine->separate.kind),
               (double)engine->separate.bytes / 0x1p20);
    }
    taken = ce_agree(engine->transport, take_anew(engine, &later), &later);
    if (status == CE_OK && taken != CE_OK) {
        *err = later;
        status = taken;
    }
    return status;
}
