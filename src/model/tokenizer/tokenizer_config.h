/* tokenizer_config.h - what tokenizer_config.json says beside tokenizer.json
 *
 * Hugging Face transformers makes a tokenizer of both, so both are read here: tokens
 * that only tokenizer_config.json has, flags of tokens, the leading space, the ends of
 * a text. Where its versions agree that is computed, else it is warned of by the name
 * of the key.
 */

#ifndef CE_MODEL_TOKENIZER_TOKENIZER_CONFIG_H
#define CE_MODEL_TOKENIZER_TOKENIZER_CONFIG_H

#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>

/* The object of DIR/tokenizer_config.json, or an empty one. Where that has no
 * added_tokens_decoder, the older files beside it are put in, as in transformers:
 * special_tokens_map.json, and added_tokens.json as an added_tokens_decoder. The caller
 * json_decref's *config. */
CE_MUST_CHECK enum ce_status
ce_tokenizer_config_load(json_t **config, const char *dir, struct ce_error *err);

/* Changes the document of tokenizer.json into one that says the same alone; `file`
 * names tokenizer_config.json. Warns of what is not followed. */
CE_MUST_CHECK enum ce_status ce_tokenizer_config_apply(json_t *document,
                                                       json_t *config,
                                                       const char *file,
                                                       struct ce_error *err);

/* Its part that puts the tokens of `config` into `added_tokens`: those of
 * added_tokens_decoder in the order of their ids, then the special tokens. */
CE_MUST_CHECK enum ce_status ce_tokenizer_config_add_tokens(json_t *document,
                                                            json_t *config,
                                                            const char *file,
                                                            struct ce_error *err);

/* Whether transformers makes the stages of a class itself; NULL is the class of the
 * model type, which is of these. */
bool ce_tokenizer_class_is_made(const char *name);

/* Warns where transformers 5 makes other stages for the class than tokenizer.json has,
 * or leaves out added tokens; call it before tokens are added. */
void ce_tokenizer_config_warn_of_class(const json_t *document,
                                       json_t *config,
                                       const char *class_name,
                                       const char *file);

#endif
