/* fuzz_config.c - no config.json makes the reader misbehave, and what it
 * accepts can be relied on
 *
 * Input: config.json, a NUL byte, generation_config.json.
 */

#include "model/config.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

/* What the engine divides by, allocates or indexes with. */
static void check_promises(const struct ce_config *config)
{
    require(config->vocab_size > 0 && config->layers > 0 && config->max_positions > 0);
    require(config->hidden_size > 0 && config->intermediate_size > 0);
    require(config->kv_heads > 0 && config->heads % config->kv_heads == 0);
    require(config->head_dim > 0 && config->head_dim % 2 == 0);
    require(config->top_k > 0 && config->top_k <= config->experts);
    require(config->experts <= 65535 && config->n_ce < config->top_k);
    require(config->rms_norm_eps > 0.0F && isfinite(config->rms_norm_eps));
    require(config->rope_theta > 0.0 && isfinite(config->rope_theta));
    require(config->clip_qkv >= 0.0F && isfinite(config->clip_qkv));
    require(config->stop_tokens <= CE_CONFIG_MAX_STOP_TOKENS);
    for (size_t i = 0; i < config->stop_tokens; i++) {
        require(config->stop_token[i] >= 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    size_t first = size == 0 ? 0 : strnlen(text, size);
    struct ce_config config;
    struct ce_error err;

    if (ce_config_parse(&config, text, first, "config", &err) == CE_OK) {
        check_promises(&config);
        (void)ce_config_hash(&config);
    }
    if (first < size &&
        ce_config_parse_generation(
            &config, text + first + 1, size - first - 1, "generation", &err) == CE_OK &&
        config.layers > 0) {
        check_promises(&config);
    }
    return 0;
}
