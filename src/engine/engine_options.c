/* engine_options.c - what an engine is asked for, what of it is refused, what it became
 */

#include "base/log.h"
#include "engine/engine.h"

/* Bounds that keep every size computed from them within 64 bits. */
#define MOST_STEP_TOKENS  ((size_t)1 << 20)
#define MOST_CACHE_TOKENS ((size_t)1 << 32)

void ce_engine_options_init(struct ce_engine_options *options)
{
    *options = (struct ce_engine_options){.compressed = CE_COMPRESSED_DEFAULT,
                                          .step_tokens = 512,
                                          .step_logits = 512,
                                          .cache_tokens = 4096};
}

enum ce_status ce_engine_check_options(const struct ce_engine_options *options,
                                       struct ce_error *err)
{
    if (options->model == NULL) {
        return ce_fail(err, CE_ERR_ARG, "no model directory was given");
    }
    if (options->step_tokens == 0 || options->step_tokens > MOST_STEP_TOKENS ||
        options->step_logits == 0 || options->step_logits > MOST_STEP_TOKENS ||
        options->cache_tokens == 0 || options->cache_tokens > MOST_CACHE_TOKENS) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "step_tokens %zu and step_logits %zu must be 1 to %zu, "
                       "cache_tokens %zu 1 to %zu",
                       options->step_tokens,
                       options->step_logits,
                       MOST_STEP_TOKENS,
                       options->cache_tokens,
                       MOST_CACHE_TOKENS);
    }
    if (options->compressed > 0 && options->truncated > 0) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "--compressed %d and --truncated %d exclude each other",
                       options->compressed,
                       options->truncated);
    }
    return CE_OK;
}

enum ce_status ce_engine_check_combine(const struct ce_engine *engine,
                                       struct ce_error *err)
{
    const struct ce_placement *placement = &engine->placement;

    if (engine->combine == CE_COMBINE_PARTIAL && ce_placement_has_replicas(placement)) {
        return ce_fail(
            err,
            CE_ERR_ARG,
            "--combine partial needs one owner for each expert, but placement "
            "%s has replicas; use --combine ordered",
            placement->name);
    }
    return CE_OK;
}

void ce_engine_log(const struct ce_engine *engine)
{
    if (!ce_log_is_speaker()) {
        return;
    }
    ce_log(CE_LOG_INFO,
           "%s; transport %s (%s), kernels %s, experts %s, dense %s, rows as %s, "
           "placement %s",
           engine->hosts,
           engine->transport->ops->name,
           engine->transport->reason,
           engine->kernels->name,
           ce_weight_format_name(engine->formats.experts),
           ce_weight_format_name(engine->formats.dense),
           ce_wire_name(engine->wire),
           engine->placement.name);
    ce_log(CE_LOG_INFO,
           "memory of rank 0: dense %.1f MiB, experts %.1f MiB, compressed experts "
           "(%s) %.2f MiB, KV cache in %s up to %.1f MiB, buffers up to %.1f MiB",
           (double)engine->plan.dense / 0x1p20,
           (double)engine->plan.experts / 0x1p20,
           ce_compressed_kind_name(ce_engine_compressed_kind(engine)),
           (double)engine->plan.compressed / 0x1p20,
           ce_kv_dtype_name(engine->kv),
           (double)engine->plan.cache / 0x1p20,
           (double)engine->plan.scratch / 0x1p20);
}
