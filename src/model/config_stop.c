/* config_stop.c - the tokens that end a generation */

#include "base/json.h"
#include "model/config_parts.h"

static enum ce_status add_token(struct ce_config *config,
                                const json_t *id,
                                const char *file,
                                struct ce_error *err)
{
    json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;

    if (value < 0 || value > INT32_MAX) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: eos_token_id: is not a token id, a list of them or null",
                       file);
    }
    if (config->stop_tokens == CE_CONFIG_MAX_STOP_TOKENS) {
        return ce_fail(err,
                       CE_ERR_UNSUPPORTED,
                       "%s: eos_token_id: lists more than %d tokens",
                       file,
                       CE_CONFIG_MAX_STOP_TOKENS);
    }
    config->stop_token[config->stop_tokens++] = (int32_t)value;
    return CE_OK;
}

enum ce_status ce_config_read_stop_tokens(struct ce_config *config,
                                          const json_t *eos,
                                          const char *file,
                                          struct ce_error *err)
{
    enum ce_status status = CE_OK;

    for (size_t i = 0; i < CE_CONFIG_MAX_STOP_TOKENS; i++) {
        config->stop_token[i] = 0; /* equal lists are equal in every byte */
    }
    config->stop_tokens = 0;
    if (json_is_null(eos)) {
        return CE_OK;
    }
    if (!json_is_array(eos)) {
        return add_token(config, eos, file, err);
    }
    for (size_t i = 0; status == CE_OK && i < json_array_size(eos); i++) {
        status = add_token(config, json_array_get(eos, i), file, err);
    }
    return status;
}
