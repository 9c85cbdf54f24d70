/* config_olmoe.c - the fields of OlmoeConfig
 *
 * Defaults are those of the class in Hugging Face transformers: the published
 * configs leave some fields out. use_ce and n_ce are the additions of the
 * compressed experts reference implementation.
 */

#include "base/json.h"
#include "model/config_parts.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const struct ce_config defaults = {
    .architecture = CE_ARCH_OLMOE,
    .vocab_size = 50304,
    .hidden_size = 2048,
    .intermediate_size = 2048,
    .layers = 16,
    .heads = 16,
    .experts = 64,
    .top_k = 8,
    .max_positions = 4096,
    .rms_norm_eps = 1e-5F,
    .rope_theta = 10000.0,
    .dtype = CE_DTYPE_F32,
    .stop_tokens = 1,
    .stop_token = {50279},
};

/* Sizes that stand for themselves, each 1 .. most. */
static const struct size_field {
    const char *key;
    size_t offset;
    size_t most;
} size_fields[] = {
    {"vocab_size", offsetof(struct ce_config, vocab_size), 1 << 24},
    {"hidden_size", offsetof(struct ce_config, hidden_size), 1 << 20},
    {"intermediate_size", offsetof(struct ce_config, intermediate_size), 1 << 20},
    {"num_hidden_layers", offsetof(struct ce_config, layers), 1 << 12},
    {"num_attention_heads", offsetof(struct ce_config, heads), 1 << 12},
    {"max_position_embeddings", offsetof(struct ce_config, max_positions), 1 << 24},
    {"num_experts", offsetof(struct ce_config, experts), 65535},
    {"num_experts_per_tok", offsetof(struct ce_config, top_k), 65535},
};

static const struct size_field local_experts_field = {
    "num_local_experts", offsetof(struct ce_config, experts), 65535};

/* Sizes whose default is computed from others. */
static const struct size_field kv_heads_field = {
    "num_key_value_heads", offsetof(struct ce_config, kv_heads), 1 << 12};
static const struct size_field head_dim_field = {
    "head_dim", offsetof(struct ce_config, head_dim), 1 << 12};

static const struct {
    const char *key;
    size_t offset;
} flag_fields[] = {
    {"norm_topk_prob", offsetof(struct ce_config, norm_topk_prob)},
    {"tie_word_embeddings", offsetof(struct ce_config, tie_word_embeddings)},
    {"attention_bias", offsetof(struct ce_config, attention_bias)},
    {"use_ce", offsetof(struct ce_config, use_ce)},
};

static const struct {
    const char *name;
    enum ce_dtype dtype;
} dtype_names[] = {
    {"float32", CE_DTYPE_F32},
    {"bfloat16", CE_DTYPE_BF16},
    {"float16", CE_DTYPE_F16},
};

static void *field_at(struct ce_config *config, size_t offset)
{
    return (unsigned char *)config + offset;
}

static enum ce_status read_size(struct ce_config *config,
                                const struct size_field *field,
                                const struct ce_json_source *source,
                                const json_t *root,
                                struct ce_error *err)
{
    size_t *value = field_at(config, field->offset);
    enum ce_status status = ce_json_read_size(source, root, field->key, value, err);

    if (status == CE_OK && (*value < 1 || *value > field->most)) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: %s: %zu is not in 1 .. %zu",
                       source->file,
                       field->key,
                       *value,
                       field->most);
    }
    return status;
}

static enum ce_status read_head_dim(struct ce_config *config,
                                    const struct ce_json_source *source,
                                    const json_t *root,
                                    struct ce_error *err)
{
    const json_t *given = json_object_get(root, head_dim_field.key);

    if ((given == NULL || json_is_null(given)) &&
        config->hidden_size % config->heads != 0) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: hidden_size: %zu is not a multiple of "
                       "num_attention_heads %zu",
                       source->file,
                       config->hidden_size,
                       config->heads);
    }
    config->head_dim = config->hidden_size / config->heads;
    return read_size(config, &head_dim_field, source, root, err);
}

static enum ce_status read_sizes(struct ce_config *config,
                                 const struct ce_json_source *source,
                                 const json_t *root,
                                 struct ce_error *err)
{
    const json_t *experts = json_object_get(root, "num_experts");
    enum ce_status status = CE_OK;

    for (size_t i = 0;
         status == CE_OK && i < sizeof(size_fields) / sizeof(size_fields[0]);
         i++) {
        status = read_size(config, &size_fields[i], source, root, err);
    }
    /* Another name of num_experts in transformers; both are compared in the end. */
    if (status == CE_OK && (experts == NULL || json_is_null(experts))) {
        status = read_size(config, &local_experts_field, source, root, err);
    }
    config->kv_heads = config->heads;
    if (status == CE_OK) {
        status = read_size(config, &kv_heads_field, source, root, err);
    }
    if (status == CE_OK) {
        status = read_head_dim(config, source, root, err);
    }
    if (status == CE_OK) {
        status = ce_json_read_size(source, root, "n_ce", &config->n_ce, err);
    }
    return status;
}

static enum ce_status read_flags(struct ce_config *config,
                                 const struct ce_json_source *source,
                                 const json_t *root,
                                 struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t i = 0;
         status == CE_OK && i < sizeof(flag_fields) / sizeof(flag_fields[0]);
         i++) {
        bool *flag = field_at(config, flag_fields[i].offset);

        status = ce_json_read_bool(source, root, flag_fields[i].key, flag, err);
    }
    return status;
}

/* Absent or null leaves *out; what is there must be positive as a float too. */
static enum ce_status read_positive(float *out,
                                    const char *key,
                                    const struct ce_json_source *source,
                                    const json_t *root,
                                    struct ce_error *err)
{
    double value = (double)*out;
    enum ce_status status = ce_json_read_double(source, root, key, &value, err);
    const json_t *given = json_object_get(root, key);

    if (status != CE_OK || given == NULL || json_is_null(given)) {
        return status;
    }
    float narrow = (float)value;

    if (!(narrow > 0.0F) || !isfinite(narrow)) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: %s: %g is not a positive 32-bit number",
                       source->file,
                       key,
                       value);
    }
    *out = narrow;
    return CE_OK;
}

static enum ce_status read_activation(const struct ce_json_source *source,
                                      const json_t *root,
                                      struct ce_error *err)
{
    const char *name = "silu";
    enum ce_status status = ce_json_read_string(source, root, "hidden_act", &name, err);

    /* Two names of one function in transformers. */
    if (status == CE_OK && strcmp(name, "silu") != 0 && strcmp(name, "swish") != 0) {
        return ce_fail(err,
                       CE_ERR_UNSUPPORTED,
                       "%s: hidden_act: '%.64s' is not supported; supported: silu",
                       source->file,
                       name);
    }
    return status;
}

/* "dtype" (v5) or "torch_dtype" (v4), there perhaps as "torch.bfloat16". */
static enum ce_status read_dtype(struct ce_config *config,
                                 const struct ce_json_source *source,
                                 const json_t *root,
                                 struct ce_error *err)
{
    const char *name = NULL;
    enum ce_status status =
        ce_json_read_string(source, root, "torch_dtype", &name, err);

    if (status == CE_OK) {
        status = ce_json_read_string(source, root, "dtype", &name, err);
    }
    /* "auto" is the type of the stored tensors, which counts here in any case. */
    if (status != CE_OK || name == NULL || strcmp(name, "auto") == 0) {
        return status;
    }
    if (strncmp(name, "torch.", 6) == 0) {
        name += 6;
    }
    for (size_t i = 0; i < sizeof(dtype_names) / sizeof(dtype_names[0]); i++) {
        if (strcmp(name, dtype_names[i].name) == 0) {
            config->dtype = dtype_names[i].dtype;
            return CE_OK;
        }
    }
    return ce_fail(err,
                   CE_ERR_UNSUPPORTED,
                   "%s: dtype: '%.64s' is not supported; supported: float32, "
                   "bfloat16, float16",
                   source->file,
                   name);
}

/* The tensors of a quantized checkpoint have other names and meanings. */
static enum ce_status refuse_quantization(const struct ce_json_source *source,
                                          const json_t *root,
                                          struct ce_error *err)
{
    const json_t *given = json_object_get(root, "quantization_config");

    if (given != NULL && !json_is_null(given)) {
        return ce_fail(err,
                       CE_ERR_UNSUPPORTED,
                       "%s: quantization_config: quantized checkpoints are not "
                       "supported",
                       source->file);
    }
    return CE_OK;
}

static enum ce_status read_numbers(struct ce_config *config,
                                   const struct ce_json_source *source,
                                   const json_t *root,
                                   struct ce_error *err)
{
    enum ce_status status =
        read_positive(&config->rms_norm_eps, "rms_norm_eps", source, root, err);

    if (status == CE_OK) {
        status = read_positive(&config->clip_qkv, "clip_qkv", source, root, err);
    }
    if (status == CE_OK) {
        status = ce_config_read_rope(config, root, source->file, err);
    }
    return status;
}

enum ce_status ce_config_read_olmoe(struct ce_config *config,
                                    const json_t *root,
                                    const char *file,
                                    struct ce_error *err)
{
    const struct ce_json_source source = {.file = file, .prefix = ""};
    const json_t *eos = json_object_get(root, "eos_token_id");
    enum ce_status status = refuse_quantization(&source, root, err);

    *config = defaults;
    if (status == CE_OK) {
        status = read_activation(&source, root, err);
    }
    if (status == CE_OK) {
        status = read_sizes(config, &source, root, err);
    }
    if (status == CE_OK) {
        status = read_flags(config, &source, root, err);
    }
    if (status == CE_OK) {
        status = read_numbers(config, &source, root, err);
    }
    if (status == CE_OK) {
        status = read_dtype(config, &source, root, err);
    }
    if (status == CE_OK && eos != NULL) {
        status = ce_config_read_stop_tokens(config, eos, file, err);
    }
    return status;
}
