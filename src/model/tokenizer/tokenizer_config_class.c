/* tokenizer_config_class.c - what transformers 5 makes of a tokenizer's class
 *
 * For some classes it takes no more of tokenizer.json than vocabulary and merges, and
 * makes the other stages itself; version 4 takes tokenizer.json, as is done here. Where
 * the two differ, a warning says so.
 */

#include "base/log.h"
#include "model/tokenizer/text.h"
#include "model/tokenizer/tokenizer_config.h"

#include <stdbool.h>
#include <string.h>

bool ce_tokenizer_class_is_made(const char *name)
{
    return name == NULL || strncmp(name, "GPTNeoXTokenizer", 16) == 0 ||
           strncmp(name, "GPT2Tokenizer", 13) == 0;
}

/* The only stage of a Sequence that has one, else the stage itself. */
static const json_t *only_stage(const json_t *stage, const char *list_key)
{
    const json_t *list = json_object_get(stage, list_key);

    return json_array_size(list) == 1 ? json_array_get(list, 0) : stage;
}

static bool is_type(const json_t *stage, const char *type)
{
    const char *name = json_string_value(json_object_get(stage, "type"));

    return name != NULL && strcmp(name, type) == 0;
}

static bool is_empty(const json_t *stage, const char *list_key)
{
    const json_t *list = json_object_get(stage, list_key);

    return stage == NULL || json_is_null(stage) ||
           (json_is_array(list) && json_array_size(list) == 0);
}

static void warn_of_stage(const char *file, const char *class_name, const char *stage)
{
    ce_log(CE_LOG_WARN,
           "%s: tokenizer_class: transformers 5 makes the %s of %s itself; that of "
           "tokenizer.json is another and counts here, as in version 4",
           file,
           stage,
           class_name);
}

static void warn_of_stages(const json_t *document, const char *file, const char *name)
{
    const json_t *normalizer = json_object_get(document, "normalizer");
    const json_t *splitter =
        only_stage(json_object_get(document, "pre_tokenizer"), "pretokenizers");
    const bool same_normalizer =
        strncmp(name, "GPT2", 4) == 0
            ? is_empty(normalizer, "normalizers")
            : is_type(only_stage(normalizer, "normalizers"), "NFC");

    if (!same_normalizer) {
        warn_of_stage(file, name, "normalizer");
    }
    if (!is_type(splitter, "ByteLevel") ||
        json_is_false(json_object_get(splitter, "use_regex"))) {
        warn_of_stage(file, name, "pre_tokenizer");
    }
}

/* ---- added tokens ---- */

static bool has_content(const json_t *token, const json_t *content)
{
    return json_equal(json_is_object(token) ? json_object_get(token, "content") : token,
                      content);
}

/* Among the values of an object or a list. */
static bool lists(json_t *tokens, const json_t *content)
{
    const char *key;
    json_t *token;
    size_t i;
    bool found = false;

    json_object_foreach(tokens, key, token)
    {
        found = found || has_content(token, content);
    }
    json_array_foreach(tokens, i, token)
    {
        found = found || has_content(token, content);
    }
    return found;
}

/* Tokens of a class that has them without being told. */
static bool is_default(const json_t *content)
{
    const char *text = json_string_value(content);

    return strcmp(text, "<|endoftext|>") == 0 || strcmp(text, "<|padding|>") == 0;
}

static void warn_of_tokens(const json_t *document, json_t *config, const char *file)
{
    static const char *const further[] = {"added_tokens_decoder",
                                          "extra_special_tokens",
                                          "additional_special_tokens",
                                          "model_specific_special_tokens"};
    const json_t *added = json_object_get(document, "added_tokens");
    const json_t *first = NULL;
    const json_t *token;
    size_t i;
    size_t missing = 0;

    json_array_foreach(added, i, token)
    {
        const json_t *content = json_object_get(token, "content");
        bool found =
            !json_is_string(content) || is_default(content) || lists(config, content);

        for (size_t k = 0; !found && k < sizeof(further) / sizeof(further[0]); k++) {
            found = lists(json_object_get(config, further[k]), content);
        }
        missing += !found;
        first = found || first != NULL ? first : content;
    }
    if (missing > 0) {
        char name[64];
        const struct ce_span text = {.data = json_string_value(first),
                                     .bytes = json_string_length(first)};

        ce_log(CE_LOG_WARN,
               "%s: added_tokens_decoder: lacks %zu of the added tokens of "
               "tokenizer.json, \"%s\" first; they count here, as in transformers 4, "
               "but not in version 5",
               file,
               missing,
               ce_text_quote(name, sizeof(name), text));
    }
}

void ce_tokenizer_config_warn_of_class(const json_t *document,
                                       json_t *config,
                                       const char *class_name,
                                       const char *file)
{
    if (!ce_tokenizer_class_is_made(class_name) || !ce_log_is_speaker()) {
        return;
    }
    warn_of_stages(
        document, file, class_name == NULL ? "GPTNeoXTokenizer" : class_name);
    if (json_is_object(json_object_get(config, "added_tokens_decoder"))) {
        warn_of_tokens(document, config, file);
    }
}
