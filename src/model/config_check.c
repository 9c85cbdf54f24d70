/* config_check.c - how the fields of a config fit together, and their hash */

#include "base/hash.h"
#include "model/config.h"
#include "model/config_parts.h"

#include <string.h>

/* The largest number of values one kind of array of a model may have: far above
 * any model, and far enough from 2^64 that bytes, sums and a factor of a few
 * thousand cannot overflow. */
#define MOST_VALUES ((size_t)1 << 48)

/* The kernels that choose experts keep their candidates in registers or stack. */
#define MOST_TOP_K 64

static enum ce_status
check_experts(const struct ce_config *config, const char *file, struct ce_error *err)
{
    if (config->top_k > config->experts) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: num_experts_per_tok: %zu is larger than num_experts %zu",
                       file,
                       config->top_k,
                       config->experts);
    }
    if (config->top_k > MOST_TOP_K) {
        return ce_fail(err,
                       CE_ERR_UNSUPPORTED,
                       "%s: num_experts_per_tok: %zu is larger than %d",
                       file,
                       config->top_k,
                       MOST_TOP_K);
    }
    if (config->n_ce >= config->top_k) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: n_ce: %zu is not less than num_experts_per_tok %zu; at "
                       "least one expert must stay full",
                       file,
                       config->n_ce,
                       config->top_k);
    }
    return CE_OK;
}

static enum ce_status
check_heads(const struct ce_config *config, const char *file, struct ce_error *err)
{
    if (config->heads % config->kv_heads != 0) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: num_attention_heads: %zu is not a multiple of "
                       "num_key_value_heads %zu",
                       file,
                       config->heads,
                       config->kv_heads);
    }
    if (config->head_dim % 2 != 0) {
        return ce_fail(err,
                       CE_ERR_UNSUPPORTED,
                       "%s: head_dim: %zu is odd; the rotary embedding turns pairs",
                       file,
                       config->head_dim);
    }
    return CE_OK;
}

/* Experts of all layers together: each costs an entry even where it has no weights. */
#define MAX_EXPERT_LISTS (1 << 20)

static bool product_fits(const size_t *factors, size_t count)
{
    size_t room = MOST_VALUES;

    for (size_t i = 0; i < count; i++) {
        room /= factors[i];
    }
    return room > 0;
}

static enum ce_status
check_products(const struct ce_config *config, const char *file, struct ce_error *err)
{
    const size_t experts[] = {3,
                              config->layers,
                              config->experts,
                              config->hidden_size,
                              config->intermediate_size};
    const size_t attention[] = {
        4, config->layers, config->hidden_size, config->heads, config->head_dim};
    const size_t cache[] = {
        2, config->layers, config->max_positions, config->kv_heads, config->head_dim};

    if (config->layers * config->experts > MAX_EXPERT_LISTS) {
        return ce_fail(err,
                       CE_ERR_UNSUPPORTED,
                       "%s: num_hidden_layers times num_experts is over %d",
                       file,
                       MAX_EXPERT_LISTS);
    }
    if (product_fits(experts, 5) && product_fits(attention, 5) &&
        product_fits(cache, 5)) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_UNSUPPORTED,
                   "%s: the sizes describe more than 2^48 weights or cached values",
                   file);
}

enum ce_status
ce_config_check(const struct ce_config *config, const char *file, struct ce_error *err)
{
    enum ce_status status = check_heads(config, file, err);

    if (status == CE_OK) {
        status = check_experts(config, file, err);
    }
    if (status == CE_OK) {
        status = check_products(config, file, err);
    }
    return status;
}

static uint64_t bits_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

uint64_t ce_config_hash(const struct ce_config *config)
{
    const uint64_t fields[] = {
        (uint64_t)config->architecture,
        config->vocab_size,
        config->hidden_size,
        config->intermediate_size,
        config->layers,
        config->heads,
        config->kv_heads,
        config->head_dim,
        config->experts,
        config->top_k,
        config->max_positions,
        bits_of((double)config->rms_norm_eps),
        bits_of(config->rope_theta),
        bits_of((double)config->clip_qkv),
        config->norm_topk_prob,
        config->tie_word_embeddings,
        config->attention_bias,
        config->use_ce,
        config->n_ce,
        (uint64_t)config->dtype,
        config->stop_tokens,
    };
    uint64_t hash = CE_HASH_START;

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        hash = ce_hash_u64(hash, fields[i]);
    }
    for (size_t i = 0; i < config->stop_tokens; i++) {
        hash = ce_hash_u64(hash, (uint64_t)config->stop_token[i]);
    }
    return hash;
}
