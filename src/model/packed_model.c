/* packed_model.c - does a directory have a packed model, and is it this one? */

#include "model/packed_model.h"

#include "base/file.h"

#include <stdlib.h>

uint64_t ce_packed_config_hash(const struct ce_config *config)
{
    struct ce_config weights = *config;

    weights.use_ce = false;
    weights.n_ce = 0;
    weights.stop_tokens = 0;
    return ce_config_hash(&weights);
}

static enum ce_status check_source(const struct ce_packed_file *file,
                                   struct ce_weight_formats *formats,
                                   const char *dir,
                                   const struct ce_config *config,
                                   struct ce_error *err)
{
    const struct ce_packed_source *source = &file->source;
    enum ce_status status = CE_OK;

    if (source->config_hash != ce_packed_config_hash(config)) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: was packed from a model that is not the one %s/config.json "
                       "describes: pack it again",
                       file->path,
                       dir);
    }
    status = ce_weight_format_by_name(
        &formats->experts, source->expert_format, file->path, err);
    return status == CE_OK ? ce_weight_format_by_name(
                                 &formats->dense, source->dense_format, file->path, err)
                           : status;
}

enum ce_status ce_packed_model_open(struct ce_packed_file *file,
                                    struct ce_weight_formats *formats,
                                    const char *dir,
                                    const struct ce_config *config,
                                    const struct ce_kernels *kernels,
                                    struct ce_error *err)
{
    char *path = ce_path_join(dir, CE_PACKED_MODEL_NAME);
    enum ce_status status = CE_OK;

    *file = (struct ce_packed_file){.fd = -1};
    if (path == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory for its paths", dir);
    }
    if (ce_file_exists(path)) {
        status = ce_packed_file_open(file, path, kernels, err);
        if (status == CE_OK) {
            status = check_source(file, formats, dir, config, err);
        }
        if (status != CE_OK) {
            ce_packed_file_close(file);
        }
    }
    free(path);
    return status;
}
