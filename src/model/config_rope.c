/* config_rope.c - rotary embedding in both spellings
 *
 *     v4:  "rope_theta": 10000.0, "rope_scaling": null | {"type": ..., ...}
 *     v5:  "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}
 *
 * Files that were saved several times carry both; then a theta inside an object
 * wins over the one outside, as in Hugging Face transformers. There rope_scaling hides
 * rope_parameters, so a theta that only the hidden one has is refused.
 */

#include "base/json.h"
#include "model/config_parts.h"

#include <string.h>

/* "rope_type", in older files "type"; without either it is "default". */
static enum ce_status check_type(const struct ce_json_source *source,
                                 const json_t *object,
                                 struct ce_error *err)
{
    const char *type = "default";
    enum ce_status status = ce_json_read_string(source, object, "type", &type, err);

    if (status == CE_OK) {
        status = ce_json_read_string(source, object, "rope_type", &type, err);
    }
    if (status == CE_OK && strcmp(type, "default") != 0) {
        return ce_fail(err,
                       CE_ERR_UNSUPPORTED,
                       "%s: %srope_type: '%.64s' is not supported; supported: default",
                       source->file,
                       source->prefix,
                       type);
    }
    return status;
}

/* Some models rotate only a part of each head. */
static enum ce_status check_whole_head(const struct ce_json_source *source,
                                       const json_t *object,
                                       struct ce_error *err)
{
    double part = 1.0;
    enum ce_status status =
        ce_json_read_double(source, object, "partial_rotary_factor", &part, err);

    if (status == CE_OK && (part < 1.0 || part > 1.0)) {
        return ce_fail(err,
                       CE_ERR_UNSUPPORTED,
                       "%s: %spartial_rotary_factor: %g is not supported; supported: 1",
                       source->file,
                       source->prefix,
                       part);
    }
    return status;
}

/* What the default type reads, and what it does not read in transformers either. Other
 * keys belong to other types: a factor without a type is the linear scaling of old
 * files, an object means other parameters for other layers. */
static enum ce_status
check_no_more(const struct ce_json_source *source, json_t *object, struct ce_error *err)
{
    static const char *const known[] = {"type",
                                        "rope_type",
                                        "rope_theta",
                                        "partial_rotary_factor",
                                        "original_max_position_embeddings"};
    const char *key;
    json_t *value;
    enum ce_status status = CE_OK;

    json_object_foreach(object, key, value)
    {
        size_t i = 0;

        while (i < sizeof(known) / sizeof(known[0]) && strcmp(key, known[i]) != 0) {
            i++;
        }
        if (i == sizeof(known) / sizeof(known[0]) && !json_is_null(value)) {
            status = ce_fail(err,
                             CE_ERR_UNSUPPORTED,
                             "%s: %s%.64s: is not supported",
                             source->file,
                             source->prefix,
                             key);
            break;
        }
    }
    return status;
}

static enum ce_status read_object(double *theta,
                                  const json_t *root,
                                  const char *key,
                                  const struct ce_json_source *source,
                                  struct ce_error *err)
{
    json_t *object = json_object_get(root, key);

    if (object == NULL || json_is_null(object)) {
        return CE_OK;
    }
    if (!json_is_object(object)) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: %s: is neither an object nor null",
                       source->file,
                       key);
    }
    enum ce_status status = check_type(source, object, err);

    if (status == CE_OK) {
        status = check_whole_head(source, object, err);
    }
    if (status == CE_OK) {
        status = check_no_more(source, object, err);
    }
    if (status == CE_OK) {
        status = ce_json_read_double(source, object, "rope_theta", theta, err);
    }
    return status;
}

enum ce_status ce_config_read_rope(struct ce_config *config,
                                   const json_t *root,
                                   const char *file,
                                   struct ce_error *err)
{
    const struct ce_json_source plain = {.file = file, .prefix = ""};
    const struct ce_json_source v4 = {.file = file, .prefix = "rope_scaling."};
    const struct ce_json_source v5 = {.file = file, .prefix = "rope_parameters."};
    double hidden = 0.0;
    double *theta = &config->rope_theta;
    enum ce_status status = ce_json_read_double(&plain, root, "rope_theta", theta, err);

    if (status == CE_OK) {
        status = check_whole_head(&plain, root, err);
    }
    const bool scaled = json_object_size(json_object_get(root, "rope_scaling")) > 0;

    if (status == CE_OK) {
        status =
            read_object(scaled ? &hidden : theta, root, "rope_parameters", &v5, err);
    }
    if (status == CE_OK) {
        status = read_object(theta, root, "rope_scaling", &v4, err);
    }
    if (status == CE_OK && hidden > 0.0 && (hidden < *theta || hidden > *theta)) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: rope_parameters.rope_theta: is %g, but %g beside "
                       "rope_scaling, which transformers takes; keep one of the two",
                       file,
                       hidden,
                       *theta);
    }
    if (status == CE_OK && !(*theta > 0.0)) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: rope_theta: %g is not a positive number",
                       file,
                       *theta);
    }
    return status;
}
