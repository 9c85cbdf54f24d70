/* parameters.c - how many parameters a token passes through */

#include "model/parameters.h"

uint64_t ce_parameters_active(const struct ce_config *config, size_t mains)
{
    uint64_t d = config->hidden_size;
    uint64_t embeddings = config->tie_word_embeddings ? 1 : 2;
    uint64_t attention = 2 * d * config->head_dim * (config->heads + config->kv_heads);
    uint64_t layer =
        attention + config->experts * d + mains * 3 * d * config->intermediate_size;

    return config->layers * layer + embeddings * config->vocab_size * d;
}

uint64_t ce_parameters_scaling(const struct ce_config *config, size_t n_ce)
{
    return (uint64_t)config->layers * n_ce *
           (2 * config->hidden_size + config->intermediate_size);
}

uint64_t
ce_parameters_affine(const struct ce_config *config, uint64_t values, size_t n_ce)
{
    return values * n_ce / config->experts;
}
