/* engine_compressed.c - compressed experts out of a file of their own, and how many of
 * a token's experts are compressed */

#include "base/log.h"
#include "engine/engine.h"

enum ce_status ce_engine_open_compressed(struct ce_engine *engine,
                                         struct ce_safetensors *file,
                                         const char *path,
                                         struct ce_error *err)
{
    enum ce_status status = ce_safetensors_open(file, path, err);

    return status == CE_OK ? ce_compressed_experts_plan(
                                 &engine->separate, file, &engine->config, err)
                           : status;
}

/* n_ce where nobody says it: the file's, else the config's. */
static enum ce_status default_n_ce(const struct ce_engine *engine,
                                   const char *path,
                                   long *n_ce,
                                   struct ce_error *err)
{
    const struct ce_config *config = &engine->config;

    if (path == NULL) {
        *n_ce = config->use_ce ? (long)config->n_ce : 0;
        return CE_OK;
    }
    *n_ce = (long)(engine->separate.n_ce > 0 ? engine->separate.n_ce : config->n_ce);
    if (*n_ce == 0) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "%s: neither its metadata nor config.json says n_ce; give "
                       "--compressed N",
                       path);
    }
    return CE_OK;
}

enum ce_status ce_engine_choose_experts(struct ce_engine *engine,
                                        const struct ce_engine_options *options,
                                        struct ce_error *err)
{
    const long top_k = (long)engine->config.top_k;
    long n_ce = options->compressed;
    enum ce_status status = CE_OK;

    if (options->truncated > 0) {
        n_ce = 0;
    } else if (n_ce == CE_COMPRESSED_DEFAULT) {
        status = default_n_ce(engine, options->compressed_experts, &n_ce, err);
    }
    if (status != CE_OK) {
        return status;
    }
    if (n_ce < 0 || n_ce >= top_k || options->truncated < 0 ||
        options->truncated >= top_k) {
        return ce_fail(
            err,
            CE_ERR_ARG,
            "n_ce (--compressed or --truncated) %ld is out of range: 0 to %ld, "
            "one less than num_experts_per_tok",
            options->truncated > 0 ? (long)options->truncated : n_ce,
            top_k - 1);
    }
    engine->compressed = (size_t)n_ce;
    engine->mains = (size_t)(top_k - n_ce - options->truncated);
    if (n_ce == 0 && !options->switchable) {
        ce_compressed_experts_destroy(&engine->separate); /* nobody will use them */
    }
    return CE_OK;
}

enum ce_compressed_kind ce_engine_compressed_kind(const struct ce_engine *engine)
{
    if (engine->separate.kind != CE_COMPRESSED_NONE) {
        return engine->separate.kind;
    }
    return engine->compressed > 0 ? CE_COMPRESSED_SCALING : CE_COMPRESSED_NONE;
}

bool ce_engine_has_compressed(const struct ce_engine *engine)
{
    return engine->separate.kind != CE_COMPRESSED_NONE ||
           engine->weights.compressed_bytes > 0;
}

size_t ce_engine_compressed_bytes(const struct ce_engine *engine)
{
    return engine->weights.compressed_bytes + engine->separate.bytes;
}

void ce_engine_warn_compressed(const struct ce_engine *engine, size_t missing)
{
    const struct ce_compressed_experts *separate = &engine->separate;

    if (engine->compressed == 0 || !ce_log_is_speaker()) {
        return;
    }
    if (separate->kind == CE_COMPRESSED_NONE ? missing > 0
                                             : separate->missing_tables > 0) {
        ce_log(CE_LOG_WARN,
               "%zu of %zu layers have no table of compressed experts "
               "(model.layers.N.mlp.ces): ones are used, which is plain truncation",
               separate->kind == CE_COMPRESSED_NONE ? missing
                                                    : separate->missing_tables,
               engine->config.layers);
    }
    if (separate->kind == CE_COMPRESSED_AFFINE && separate->n_ce > 0 &&
        separate->n_ce != engine->compressed) {
        ce_log(CE_LOG_WARN,
               "the compressed experts were fitted for %zu of a token's experts, but "
               "%zu are compressed",
               separate->n_ce,
               engine->compressed);
    }
}

enum ce_status
ce_engine_check_compressed_model(const struct ce_engine *engine,
                                 const struct ce_compressed_experts *experts,
                                 const char *path,
                                 struct ce_error *err)
{
    if (experts->has_model && engine->identity.model == 0) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: its compressed experts were made for one model, but a "
                       "packed model of an earlier version does not say which it is: "
                       "pack the checkpoint again",
                       path);
    }
    return ce_compressed_experts_check_model(
        experts, engine->identity.model, path, err);
}

enum ce_status ce_engine_load_compressed(struct ce_engine *engine,
                                         const struct ce_safetensors *file,
                                         struct ce_error *err)
{
    enum ce_status status =
        ce_engine_check_compressed_model(engine, &engine->separate, file->path, err);

    if (status != CE_OK) {
        return status;
    }
    ce_compressed_experts_destroy(&engine->separate); /* was the plan */
    status = ce_compressed_experts_load(&engine->separate, file, &engine->config, err);
    if (status == CE_OK) {
        ce_compressed_experts_attach(&engine->separate, &engine->weights);
    }
    return status;
}

void ce_engine_drop_compressed(struct ce_engine *engine)
{
    ce_compressed_experts_detach(&engine->separate, &engine->weights);
    ce_compressed_experts_destroy(&engine->separate);
}
