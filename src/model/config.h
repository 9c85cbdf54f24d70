/* config.h - the architecture of a checkpoint, from config.json
 *
 * Accepts both spellings Hugging Face writes: v4 (rope_theta, rope_scaling,
 * torch_dtype) and v5 (rope_parameters, dtype). Every number is range checked;
 * what this build cannot compute exactly is refused by name of the field.
 */

#ifndef CE_MODEL_CONFIG_H
#define CE_MODEL_CONFIG_H

#include "base/status.h"
#include "base/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CE_CONFIG_MAX_STOP_TOKENS 16

enum ce_architecture { CE_ARCH_OLMOE = 0 };

struct ce_config {
    enum ce_architecture architecture;
    size_t vocab_size;
    size_t hidden_size;       /* d */
    size_t intermediate_size; /* f, width of one expert */
    size_t layers;
    size_t heads;
    size_t kv_heads; /* divides heads */
    size_t head_dim; /* even */
    size_t experts;  /* E */
    size_t top_k;    /* 1 .. E */
    size_t max_positions;
    float rms_norm_eps;
    double rope_theta;
    float clip_qkv; /* 0: no clipping */
    bool norm_topk_prob;
    bool tie_word_embeddings;
    bool attention_bias;
    bool use_ce;         /* compressed experts by default */
    size_t n_ce;         /* config's value, 0 .. top_k-1 */
    enum ce_dtype dtype; /* the hint in the config; each tensor tells its own */
    size_t stop_tokens;  /* generation_config wins over config */
    int32_t stop_token[CE_CONFIG_MAX_STOP_TOKENS];
};

/* Reads DIR/config.json and, where present, DIR/generation_config.json. */
CE_MUST_CHECK enum ce_status
ce_config_load(struct ce_config *config, const char *dir, struct ce_error *err);

/* The same from memory, for tests and fuzzing; `generation` may be NULL. The
 * file names are for messages. */
CE_MUST_CHECK enum ce_status ce_config_parse(struct ce_config *config,
                                             const char *text,
                                             size_t bytes,
                                             const char *file,
                                             struct ce_error *err);
CE_MUST_CHECK enum ce_status ce_config_parse_generation(struct ce_config *config,
                                                        const char *text,
                                                        size_t bytes,
                                                        const char *file,
                                                        struct ce_error *err);

const char *ce_architecture_name(enum ce_architecture architecture);

/* 64-bit FNV-1a of every field that changes results; for comparing ranks. */
uint64_t ce_config_hash(const struct ce_config *config);

#endif
