/* config_keys.c - every key of config.json is computed, harmless or refused by name
 *
 * A key that nobody knows may be a rule of the model: ignoring it would give other
 * results without a word. So keys are looked up in three lists: those that a reader
 * takes, those that cannot change logits (training, tokens of a generation, where the
 * file came from), and those of other models, which are accepted where their value says
 * that nothing is different. The source is the configuration class of Hugging Face
 * transformers 5.23 and what its masks and caches take from a config.
 */

#include "base/json.h"
#include "model/config_parts.h"

#include <string.h>

/* Read elsewhere, or compared below. */
static const char *const computed[] = {
    "architectures",
    "attention_bias",
    "bos_token_id",
    "clip_qkv",
    "dtype",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "model_type",
    "n_ce",
    "norm_topk_prob",
    "num_attention_heads",
    "num_experts",
    "num_experts_per_tok",
    "num_hidden_layers",
    "num_key_value_heads",
    "num_local_experts",
    "partial_rotary_factor",
    "quantization_config",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "tie_word_embeddings",
    "torch_dtype",
    "use_ce",
    "vocab_size",
};

/* Training, classification, bookkeeping, what programs that fine-tune leave, and
 * defaults of a generation, which commands have as options. A key that begins with an
 * underscore is bookkeeping too. */
static const char *const harmless[] = {
    "assistant_confidence_threshold",
    "assistant_lookbehind",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_implementation",
    "attn_pdrop",
    "auto_map",
    "aux_loss_alpha",
    "bad_words_ids",
    "base_model_ep_plan",
    "base_model_pp_plan",
    "base_model_tp_plan",
    "begin_suppress_tokens",
    "bos_token",
    "calculate_aux_loss",
    "chat_template",
    "chunk_size_feed_forward",
    "classifier_bias",
    "classifier_dropout",
    "constraints",
    "decoder_start_token_id",
    "distributed_config",
    "diversity_penalty",
    "do_sample",
    "dropout",
    "early_stopping",
    "embd_pdrop",
    "embedding_dropout",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "eos_token",
    "ep_size",
    "epsilon_cutoff",
    "eta_cutoff",
    "expert_dropout",
    "experts_implementation",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "force_words_ids",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "fsdp",
    "gradient_checkpointing",
    "gradient_checkpointing_kwargs",
    "guidance_scale",
    "hidden_dropout",
    "hidden_dropout_prob",
    "id2label",
    "initial_context_length",
    "initializer_factor",
    "initializer_range",
    "input_jitter_noise",
    "is_decoder",
    "label2id",
    "length_penalty",
    "license",
    "loss_type",
    "low_memory",
    "max_length",
    "max_new_tokens",
    "max_sequence_length",
    "max_time",
    "max_window_layers",
    "min_length",
    "min_new_tokens",
    "min_p",
    "model_max_length",
    "model_name",
    "name_or_path",
    "neftune_noise_alpha",
    "no_repeat_ngram_size",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_logits_to_keep",
    "num_return_sequences",
    "original_max_position_embeddings",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_router_logits",
    "output_scores",
    "pad_token",
    "pad_token_id",
    "penalty_alpha",
    "prefix",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "renormalize_logits",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "router_aux_loss_coef",
    "router_z_loss_coef",
    "sep_token_id",
    "seq_aux",
    "sequence_bias",
    "stop_strings",
    "suppress_tokens",
    "target_lookbehind",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_last_hidden_states",
    "tokenizer_class",
    "tokenizer_model_max_length",
    "tokenizer_padding_side",
    "top_k",
    "top_p",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "trust_remote_code",
    "typical_p",
    "unk_token",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
    "use_flash_attention_2",
    "use_liger_kernel",
    "use_return_dict",
    "z_loss_weight",
};

/* What a key of another model says when it changes nothing here. */
enum neutral { OFF, ON, ONE };

static const struct neutral_key {
    const char *key;
    enum neutral value;
} neutral_keys[] = {
    {"add_cross_attention", OFF},
    {"add_bias", OFF},
    {"attention_chunk_size", OFF},
    {"decoder_sparse_step", ONE},
    {"embedding_multiplier", ONE},
    {"expert_bias", OFF},
    {"first_k_dense_replace", OFF},
    {"is_causal", ON},
    {"is_encoder_decoder", OFF},
    {"lm_head_bias", OFF},
    {"logits_scaling", ONE},
    {"mlp_bias", OFF},
    {"mlp_only_layers", OFF},
    {"moe_layer_freq", ONE},
    {"n_group", ONE},
    {"n_shared_experts", OFF},
    {"num_kv_shared_layers", OFF},
    {"num_mtp_layers", OFF},
    {"num_nextn_predict_layers", OFF},
    {"num_shared_experts", OFF},
    {"pretraining_tp", ONE},
    {"qkv_bias", OFF},
    {"residual_multiplier", ONE},
    {"rope_interleave", OFF},
    {"rope_interleaved", OFF},
    {"rotary_pct", ONE},
    {"routed_scaling_factor", ONE},
    {"router_bias", OFF},
    {"router_jitter_noise", OFF},
    {"shared_expert_intermediate_size", OFF},
    {"tie_encoder_decoder", OFF},
    {"topk_group", ONE},
    {"use_bias", OFF},
    {"use_bidirectional_attention", OFF},
    {"use_mla", OFF},
    {"use_qk_norm", ON},
    {"use_sliding_window", OFF},
};

/* Other names of a size that a model has; two that disagree describe two models. */
static const struct alias {
    const char *key;
    const char *of;
    size_t offset;
} aliases[] = {
    {"num_local_experts", "num_experts", offsetof(struct ce_config, experts)},
    {"n_routed_experts", "num_experts", offsetof(struct ce_config, experts)},
    {"num_experts_per_token", "num_experts_per_tok", offsetof(struct ce_config, top_k)},
    {"experts_per_token", "num_experts_per_tok", offsetof(struct ce_config, top_k)},
    {"moe_top_k", "num_experts_per_tok", offsetof(struct ce_config, top_k)},
    {"moe_intermediate_size",
     "intermediate_size",
     offsetof(struct ce_config, intermediate_size)},
    {"n_embd", "hidden_size", offsetof(struct ce_config, hidden_size)},
    {"n_layer", "num_hidden_layers", offsetof(struct ce_config, layers)},
    {"n_head", "num_attention_heads", offsetof(struct ce_config, heads)},
    {"n_positions",
     "max_position_embeddings",
     offsetof(struct ce_config, max_positions)},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool is_listed(const char *key, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(key, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* "key: VALUE WHY", the value as it stands in the file where it is short. */
static enum ce_status fail_value(const char *file,
                                 const char *key,
                                 const json_t *value,
                                 const char *why,
                                 struct ce_error *err)
{
    char text[64];
    const size_t bytes =
        json_dumpb(value, text, sizeof(text), JSON_COMPACT | JSON_ENCODE_ANY);
    const bool whole = bytes <= sizeof(text);

    return ce_fail(err,
                   CE_ERR_UNSUPPORTED,
                   "%s: %.128s: %.*s%s%s",
                   file,
                   key,
                   whole ? (int)bytes : 0,
                   text,
                   whole ? " " : "its value ",
                   why);
}

/* False, 0 and what is empty. */
static bool is_off(const json_t *value)
{
    return json_is_false(value) ||
           (json_is_number(value) && json_number_value(value) == 0.0) ||
           (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

static enum ce_status check_neutral(const struct neutral_key *neutral,
                                    const json_t *value,
                                    const char *file,
                                    struct ce_error *err)
{
    static const char *const why[] = {
        [OFF] = "is not supported for this model type; supported: false, 0, nothing",
        [ON] = "is not supported for this model type; supported: true",
        [ONE] = "is not supported for this model type; supported: 1",
    };
    const bool one = json_is_number(value) && json_number_value(value) == 1.0;
    const bool fine = neutral->value == OFF  ? is_off(value)
                      : neutral->value == ON ? json_is_true(value)
                                             : one;

    return fine ? CE_OK
                : fail_value(file, neutral->key, value, why[neutral->value], err);
}

static enum ce_status check_alias(const struct alias *alias,
                                  const struct ce_config *config,
                                  const json_t *value,
                                  const char *file,
                                  struct ce_error *err)
{
    const size_t *size =
        (const size_t *)(const void *)((const char *)config + alias->offset);

    if (json_is_integer(value) && json_integer_value(value) >= 0 &&
        (size_t)json_integer_value(value) == *size) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: %s: does not agree with %s, which is %zu",
                   file,
                   alias->key,
                   alias->of,
                   *size);
}

/* A window that reaches over all positions hides nothing. */
static enum ce_status check_window(const struct ce_config *config,
                                   const json_t *value,
                                   const char *file,
                                   struct ce_error *err)
{
    if (json_is_integer(value) && json_integer_value(value) > 0 &&
        (size_t)json_integer_value(value) >= config->max_positions) {
        return CE_OK;
    }
    return fail_value(file,
                      "sliding_window",
                      value,
                      "is not supported: attention here sees all positions before; "
                      "supported: null, or at least max_position_embeddings",
                      err);
}

static enum ce_status
check_layer_types(const json_t *value, const char *file, struct ce_error *err)
{
    bool full = json_is_array(value);

    for (size_t i = 0; full && i < json_array_size(value); i++) {
        const char *type = json_string_value(json_array_get(value, i));

        full = type != NULL &&
               (strcmp(type, "full_attention") == 0 || strcmp(type, "attention") == 0);
    }
    return full
               ? CE_OK
               : fail_value(file,
                            "layer_types",
                            value,
                            "is not supported; supported: full_attention in all layers",
                            err);
}

/* The names that other models have for their way to choose experts. */
static enum ce_status check_name(const char *key,
                                 const char *supported,
                                 const json_t *value,
                                 const char *file,
                                 struct ce_error *err)
{
    const char *name = json_string_value(value);
    char why[64];

    if (name != NULL && strcmp(name, supported) == 0) {
        return CE_OK;
    }
    (void)snprintf(why, sizeof(why), "is not supported; supported: %s", supported);
    return fail_value(file, key, value, why, err);
}

static enum ce_status check_unlisted(const struct ce_config *config,
                                     const char *key,
                                     const json_t *value,
                                     const char *file,
                                     struct ce_error *err)
{
    if (strcmp(key, "sliding_window") == 0) {
        return check_window(config, value, file, err);
    }
    if (strcmp(key, "layer_types") == 0) {
        return check_layer_types(value, file, err);
    }
    if (strcmp(key, "scoring_func") == 0) {
        return check_name(key, "softmax", value, file, err);
    }
    if (strcmp(key, "topk_method") == 0) {
        return check_name(key, "greedy", value, file, err);
    }
    return ce_fail(err,
                   CE_ERR_UNSUPPORTED,
                   "%s: %.128s: is not known to this version and could change results; "
                   "if it does not, take it out of the file",
                   file,
                   key);
}

static enum ce_status check_key(const struct ce_config *config,
                                const char *key,
                                const json_t *value,
                                const char *file,
                                struct ce_error *err)
{
    if (json_is_null(value) || key[0] == '_' ||
        is_listed(key, harmless, COUNT(harmless))) {
        return CE_OK;
    }
    for (size_t i = 0; i < COUNT(aliases); i++) {
        if (strcmp(key, aliases[i].key) == 0) {
            return check_alias(&aliases[i], config, value, file, err);
        }
    }
    if (is_listed(key, computed, COUNT(computed))) {
        return CE_OK;
    }
    for (size_t i = 0; i < COUNT(neutral_keys); i++) {
        if (strcmp(key, neutral_keys[i].key) == 0) {
            return check_neutral(&neutral_keys[i], value, file, err);
        }
    }
    return check_unlisted(config, key, value, file, err);
}

enum ce_status ce_config_check_keys(const struct ce_config *config,
                                    json_t *root,
                                    const char *file,
                                    struct ce_error *err)
{
    const char *key;
    json_t *value;
    enum ce_status status = CE_OK;

    json_object_foreach(root, key, value)
    {
        status = check_key(config, key, value, file, err);
        if (status != CE_OK) {
            break;
        }
    }
    return status;
}
