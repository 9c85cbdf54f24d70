/* config_generation.c - generation_config.json: which tokens end a generation
 *
 * It wins where it names any: chat models list there what config.json does not know.
 * Where it is silent, or says null, config.json holds. Its rules of choosing tokens are
 * options here; those that would change a generation are warned of by name.
 */

#include "base/json.h"
#include "base/log.h"
#include "model/config_parts.h"

#include <stdio.h>
#include <string.h>

/* Rules of transformers, and the value at which each does nothing. */
static const struct rule {
    const char *key;
    double off;   /* for what is not a number, false, null and empty are off */
    bool samples; /* of no effect unless do_sample is true */
} rules[] = {
    {"do_sample", 0.0, false},
    {"temperature", 1.0, true},
    {"top_k", 0.0, true},
    {"top_p", 1.0, true},
    {"min_p", 0.0, true},
    {"top_h", 1.0, true},
    {"typical_p", 1.0, true},
    {"epsilon_cutoff", 0.0, true},
    {"eta_cutoff", 0.0, true},
    {"repetition_penalty", 1.0, false},
    {"encoder_repetition_penalty", 1.0, false},
    {"no_repeat_ngram_size", 0.0, false},
    {"encoder_no_repeat_ngram_size", 0.0, false},
    {"bad_words_ids", 0.0, false},
    {"sequence_bias", 0.0, false},
    {"suppress_tokens", 0.0, false},
    {"begin_suppress_tokens", 0.0, false},
    {"forced_bos_token_id", -1.0, false},
    {"forced_eos_token_id", -1.0, false},
    {"exponential_decay_length_penalty", 0.0, false},
    {"min_length", 0.0, false},
    {"min_new_tokens", 0.0, false},
    {"num_beams", 1.0, false},
    {"penalty_alpha", 0.0, false},
    {"dola_layers", 0.0, false},
    {"guidance_scale", 1.0, false},
    {"watermarking_config", 0.0, false},
    {"token_healing", 0.0, false},
    {"stop_strings", 0.0, false},
    {"force_words_ids", 0.0, false},
    {"constraints", 0.0, false},
};

static bool is_in_force(const struct rule *rule, const json_t *root)
{
    const json_t *value = json_object_get(root, rule->key);

    if (value == NULL || json_is_null(value) || json_is_false(value) ||
        (rule->samples && !json_is_true(json_object_get(root, "do_sample")))) {
        return false;
    }
    if (json_is_number(value)) {
        return json_number_value(value) != rule->off;
    }
    return json_is_true(value) || json_array_size(value) > 0 ||
           json_object_size(value) > 0 || json_string_length(value) > 0;
}

static void warn_of_rules(const json_t *root, const char *file)
{
    char names[256] = "";
    size_t used = 0;

    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (used < sizeof(names) && is_in_force(&rules[i], root)) {
            used += (size_t)snprintf(names + used,
                                     sizeof(names) - used,
                                     "%s%s",
                                     used == 0 ? "" : ", ",
                                     rules[i].key);
        }
    }
    if (used > 0 && ce_log_is_speaker()) {
        ce_log(CE_LOG_WARN,
               "%s: %s: not followed; how tokens are chosen is said by options and "
               "requests",
               file,
               names);
    }
}

enum ce_status ce_config_parse_generation(struct ce_config *config,
                                          const char *text,
                                          size_t bytes,
                                          const char *file,
                                          struct ce_error *err)
{
    json_t *root;
    enum ce_status status = ce_json_parse_object(text, bytes, file, &root, err);
    const json_t *eos = json_object_get(root, "eos_token_id");
    struct ce_config changed = *config;

    if (status == CE_OK && eos != NULL && !json_is_null(eos)) {
        status = ce_config_read_stop_tokens(&changed, eos, file, err);
    }
    if (status == CE_OK) {
        *config = changed;
        warn_of_rules(root, file);
    }
    json_decref(root);
    return status;
}
