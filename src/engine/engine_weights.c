/* engine_weights.c - which files an engine's weights come from, and in which formats */

#include "engine/engine.h"
#include "model/packed_model.h"

/* What was asked for; of a packed model, what it has. */
static enum ce_status choose_format(enum ce_weight_format *format,
                                    const char *name,
                                    const char *option,
                                    const struct ce_packed_file *packed,
                                    struct ce_error *err)
{
    enum ce_weight_format asked = CE_WEIGHTS_STORED;
    enum ce_status status = ce_weight_format_by_name(&asked, name, option, err);

    if (status != CE_OK || name == NULL) {
        return status;
    }
    if (packed->path != NULL && asked != *format) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "%s: was packed with %s %s: leave the option out, or pack the "
                       "checkpoint again with %s %s",
                       packed->path,
                       option,
                       ce_weight_format_name(*format),
                       option,
                       name);
    }
    *format = asked;
    return CE_OK;
}

static enum ce_status choose_formats(struct ce_engine *engine,
                                     const struct ce_engine_options *options,
                                     const struct ce_packed_file *packed,
                                     struct ce_error *err)
{
    enum ce_status status = choose_format(
        &engine->formats.experts, options->weights, "--weights", packed, err);

    return status == CE_OK ? choose_format(&engine->formats.dense,
                                           options->dense_weights,
                                           "--dense-weights",
                                           packed,
                                           err)
                           : status;
}

enum ce_status ce_engine_open_weights(struct ce_engine *engine,
                                      const struct ce_engine_options *options,
                                      struct ce_checkpoint *checkpoint,
                                      struct ce_packed_file *packed,
                                      struct ce_error *err)
{
    enum ce_status status = CE_OK;

    if (!options->dummy_weights) {
        status = ce_packed_model_open(packed,
                                      &engine->formats,
                                      options->model,
                                      &engine->config,
                                      ce_kernels_get(engine->isa),
                                      err);
        if (status == CE_OK && packed->path == NULL) {
            status = ce_checkpoint_open(checkpoint, options->model, err);
        }
    }
    if (status == CE_OK && options->map_weights && packed->path == NULL) {
        status = ce_fail(err,
                         CE_ERR_ARG,
                         "--mmap: %s is not a packed model; make one with cemoe pack",
                         options->model);
    }
    return status == CE_OK ? choose_formats(engine, options, packed, err) : status;
}
