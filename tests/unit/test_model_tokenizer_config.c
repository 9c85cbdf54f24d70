/* What tokenizer_config.json and the older files beside it add to the shipped
 * tokenizer.json. The ids are those of Hugging Face transformers 5.23.0, AutoTokenizer
 * on the same files. */

#include "base/log.h"
#include "model/tokenizer/tokenizer.h"
#include "temporary.h"
#include "test.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PLAIN_DECODER                                                                  \
    "\"0\": {\"content\": \"<|endoftext|>\", \"special\": true, \"normalized\": "      \
    "false}, \"1\": {\"content\": \"<|padding|>\", \"special\": true, "                \
    "\"normalized\": false}"
#define DECODER(more) "\"added_tokens_decoder\": {" PLAIN_DECODER more "}"
#define TEXT          "a<A> b<B> c<C> d<D> e"

/* Opens the files of the test's directory; *said gets what that puts on stderr. */
static struct ce_tokenizer *
opened(void **state, const char **said, struct ce_error *err)
{
    static char text[4096];
    const char *path = temporary_path(state, "stderr");
    const int saved = dup(STDERR_FILENO);
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct ce_tokenizer *tokenizer = NULL;

    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    ce_log_init(CE_LOG_WARN, 0);
    enum ce_status status =
        ce_tokenizer_open(&tokenizer, temporary_path(state, ""), err);
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);

    const ssize_t bytes = pread(fd, text, sizeof(text) - 1, 0);

    (void)close(fd);
    assert_true(bytes >= 0);
    text[bytes] = '\0';
    *said = text;
    assert_int_equal(status == CE_OK, tokenizer != NULL);
    return tokenizer;
}

static void put(void **state, const char *name, const char *text)
{
    temporary_write(state, name, text, strlen(text));
}

/* The shipped tokenizer.json, and `config` beside it. */
static void put_config(void **state, const char *config)
{
    const char *link = temporary_path(state, "tokenizer.json");

    if (access(link, F_OK) != 0) {
        assert_int_equal(symlink(CE_MODEL_DIR "/tokenizer.json", link), 0);
    }
    put(state, "tokenizer_config.json", config);
}

/* The ids of a text, and the start of the only warning ("" for none). */
static void
check(void **state, const char *text, const char *wanted, const char *warning)
{
    struct ce_error err = {.text = ""};
    const char *said = NULL;
    struct ce_tokenizer *tokenizer = opened(state, &said, &err);
    struct ce_ids ids = {.id = NULL};
    char found[512] = "";
    size_t used = 0;

    assert_string_equal(err.text, "");
    assert_int_equal(
        ce_tokenizer_encode(tokenizer, text, strlen(text), false, &ids, &err), CE_OK);
    for (size_t i = 0; i < ids.count; i++) {
        used += (size_t)snprintf(found + used,
                                 sizeof(found) - used,
                                 "%s%d",
                                 i == 0 ? "" : " ",
                                 (int)ids.id[i]);
    }
    assert_string_equal(found, wanted);
    if (warning[0] == '\0') {
        assert_string_equal(said, "");
    } else if (strstr(said, warning) == NULL) {
        fail_msg("'%s' does not say '%s'", said, warning);
    }
    ce_ids_free(&ids);
    ce_tokenizer_close(tokenizer);
}

static void tokens_that_only_the_config_has_are_added(void **state)
{
    put_config(state,
               "{" DECODER(", \"2048\": {\"content\": \"<A>\", \"special\": true}, "
                           "\"2049\": {\"content\": \"<B>\", \"rstrip\": true}") "}");
    check(state, "a<A> b<B> c", "66 2048 282 2049 68", "");
    put_config(
        state,
        "{" DECODER(", \"2060\": {\"content\": \"<C>\"}, \"2055\": {\"content\": "
                    "\"<D>\"}") ", \"additional_special_tokens\": [\"<A>\"], "
                                "\"bos_token\": \"<B>\"}");
    check(
        state,
        TEXT,
        "66 2051 282 2050 273 2049 288 2048 321",
        "tokenizer_config.json: added_tokens_decoder.2060: the token has the id 2049");
}

static void special_tokens_are_tokens(void **state)
{
    static const char one[] =
        "66 2048 282 29 35 31 273 29 36 31 288 29 37 31 321"; /* <A> alone */
    static const char *const configs[] = {
        "{" DECODER("") ", \"additional_special_tokens\": [\"<A>\"]}",
        "{" DECODER("") ", \"extra_special_tokens\": [\"<A>\"], "
                        "\"additional_special_tokens\": [\"<B>\"]}",
        "{" DECODER("") ", \"extra_special_tokens\": {\"image_token\": \"<A>\"}}",
        "{" DECODER("") ", \"image_token\": \"<A>\"}",
        "{" DECODER("") ", \"unk_token\": \"<A>\", \"bos_token\": null}",
    };

    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        put_config(state, configs[i]);
        check(state, TEXT, one, "");
    }
    put_config(state,
               "{" DECODER("") ", \"bos_token\": {\"__type\": \"AddedToken\", "
                               "\"content\": \"<B>\", \"lstrip\": true, \"rstrip\": "
                               "true, \"normalized\": true}}");
    check(state, "b<B> c", "67 2048 68", "");
    /* A word of the vocabulary keeps its id, and is cut out of words. */
    put_config(state, "{" DECODER("") ", \"bos_token\": \"a\"}");
    check(state, "bad", "67 66 69", "");
}

static void flags_of_the_config_overrule(void **state)
{
    put_config(state,
               "{\"added_tokens_decoder\": {\"0\": {\"content\": \"<|endoftext|>\", "
               "\"special\": true, \"rstrip\": true, \"normalized\": false}}}");
    check(state, "a<|endoftext|>  b", "66 0 67", "");
    put_config(state,
               "{\"added_tokens_decoder\": {\"0\": {\"content\": \"<|endoftext|>\", "
               "\"special\": false}}}");
    check(state,
          "a<|endoftext|>b",
          "66 0 67",
          "added_tokens_decoder.0.special: is false, which counts; tokenizer.json says "
          "true");
    /* But a token with a name is special. */
    put_config(state,
               "{\"added_tokens_decoder\": {\"0\": {\"content\": \"<|endoftext|>\", "
               "\"special\": false}}, \"eos_token\": \"<|endoftext|>\"}");
    check(state, "a<|endoftext|>b", "66 0 67", "");
}

static void older_files_count_without_a_decoder(void **state)
{
    put(state, "added_tokens.json", "{\"<C>\": 2049, \"<B>\": 2048}");
    put(state, "special_tokens_map.json", "{\"bos_token\": \"<B>\"}");
    put_config(state, "{\"bos_token\": \"<A>\"}");
    check(state, TEXT, "66 29 34 31 282 2048 273 2049 288 29 37 31 321", "");
    put_config(state, "{" DECODER("") "}");
    check(state, TEXT, "66 29 34 31 282 29 35 31 273 29 36 31 288 29 37 31 321", "");
}

static void a_leading_space_is_that_of_the_class(void **state)
{
    put_config(state,
               "{" DECODER("") ", \"add_prefix_space\": true, \"tokenizer_class\": "
                               "\"GPTNeoXTokenizer\"}");
    check(state, "hello<|endoftext|>hello", "346 77 661 0 346 77 661", "");
    put_config(state,
               "{" DECODER("") ", \"add_prefix_space\": true, \"tokenizer_class\": "
                               "\"PreTrainedTokenizerFast\"}");
    check(state,
          "hello<|endoftext|>hello",
          "261 77 661 0 261 77 661",
          "tokenizer_config.json: add_prefix_space: is true, but");
}

static void special_tokens_can_be_split(void **state)
{
    put_config(state, "{" DECODER("") ", \"split_special_tokens\": true}");
    check(state, "a<|endoftext|>b", "66 29 93 420 1992 1199 93 31 67", "");
}

static void what_is_not_followed_is_warned_of(void **state)
{
    put_config(state, "{" DECODER("") ", \"fix_mistral_regex\": true}");
    check(state, "a", "66", "fix_mistral_regex: is not known to this version");
    put_config(state, "{" DECODER("") ", \"tokenizer_class\": \"LlamaTokenizer\"}");
    check(state, "a", "66", "tokenizer_class: 'LlamaTokenizer' is not followed");
    put_config(state,
               "{" DECODER("") ", \"add_eos_token\": true, \"eos_token\": "
                               "\"<|endoftext|>\"}");
    check(state, "a", "66 0", "tokenizer_config.json: add_eos_token: is true, which");
    put_config(state,
               "{" DECODER("") ", \"add_bos_token\": false, \"model_max_length\": 8, "
                               "\"clean_up_tokenization_spaces\": true, \"legacy\": "
                               "false, \"do_lower_case\": false, \"mystery\": null, "
                               "\"chat_template\": \"x\"}");
    check(state, "a", "66", "");
}

static void many_warnings_are_counted(void **state)
{
    struct ce_error err = {.text = ""};
    const char *said = NULL;
    char more[2048] = "";
    size_t used = 0;

    for (int i = 0; i < 20; i++) {
        used += (size_t)snprintf(more + used,
                                 sizeof(more) - used,
                                 ", \"%d\": {\"content\": \"<t%d>\"}",
                                 3000 + i,
                                 i);
    }
    char config[4096];

    (void)snprintf(config, sizeof(config), "{" DECODER("%s") "}", more);
    put_config(state, config);
    ce_tokenizer_close(opened(state, &said, &err));
    assert_non_null(strstr(said, "added_tokens_decoder.3003: the token has the id"));
    assert_null(strstr(said, "added_tokens_decoder.3004:"));
    assert_non_null(strstr(said, "added_tokens_decoder: 16 more tokens have another"));
}

/* A tokenizer.json of the shipped one's kind with other stages and one token more. */
static void put_other_stages(void **state, const char *normalizer, const char *more)
{
    char text[1024];

    (void)snprintf(text,
                   sizeof(text),
                   "{\"normalizer\": %s, \"pre_tokenizer\": {\"type\": \"ByteLevel\", "
                   "\"add_prefix_space\": false, \"trim_offsets\": true%s}, "
                   "\"decoder\": {\"type\": \"ByteLevel\"}, \"added_tokens\": "
                   "[{\"id\": 0, \"content\": \"<|endoftext|>\", \"special\": true}, "
                   "{\"id\": 3, \"content\": \"<A>\", \"special\": true}], "
                   "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 1, \"b\": 2}, "
                   "\"merges\": []}}",
                   normalizer,
                   more);
    put(state, "tokenizer.json", text);
}

/* transformers 5.23.0 computes a GPTNeoXTokenizer with NFC and GPT-2's pattern, and a
 * GPT2Tokenizer without NFC, whatever tokenizer.json says; 4 goes by the file. */
static void stages_that_the_class_makes_are_warned_of(void **state)
{
    static const char nfc[] = "{\"type\": \"NFC\"}";
    static const char has[] = "\"added_tokens_decoder\": {\"3\": {\"content\": "
                              "\"<A>\", \"special\": true}}";
    static const struct {
        const char *normalizer;
        const char *more;
        const char *class;
        const char *warning;
    } cases[] = {
        {nfc, "", "GPTNeoXTokenizer", ""},
        {"null", "", "GPTNeoXTokenizer", "makes the normalizer of GPTNeoXTokenizer"},
        {"null", "", "GPT2Tokenizer", ""},
        {nfc, "", "GPT2TokenizerFast", "makes the normalizer of GPT2TokenizerFast"},
        {"null", "", "PreTrainedTokenizerFast", ""},
        {nfc, ", \"use_regex\": false", "GPTNeoXTokenizer", "makes the pre_tokenizer"},
        {nfc, ", \"use_regex\": false", "TokenizersBackend", ""},
    };
    char config[512];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put_other_stages(state, cases[i].normalizer, cases[i].more);
        (void)snprintf(config,
                       sizeof(config),
                       "{%s, \"tokenizer_class\": \"%s\"}",
                       has,
                       cases[i].class);
        put(state, "tokenizer_config.json", config);
        check(state, "a<A>b", "1 3 2", cases[i].warning);
    }
    put_other_stages(state, nfc, "");
    put(state, "tokenizer_config.json", "{\"added_tokens_decoder\": {}}");
    check(
        state,
        "a<A>b",
        "1 3 2",
        "added_tokens_decoder: lacks 1 of the added tokens of tokenizer.json, \"<A>\"");
    put(state, "tokenizer_config.json", "{}");
    check(state, "a<A>b", "1 3 2", "");
}

static void bad_tokens_are_refused_by_name(void **state)
{
    static const char *const cases[][2] = {
        {"{\"added_tokens_decoder\": []}", ": added_tokens_decoder: is not an object"},
        {"{\"added_tokens_decoder\": {\"x\": {}}}",
         ": added_tokens_decoder: has a key that is no token id"},
        {"{\"added_tokens_decoder\": {\"7\": \"<A>\"}}",
         ": added_tokens_decoder.7: is not an object"},
        {"{\"added_tokens_decoder\": {\"7\": {}}}",
         ": added_tokens_decoder.7: is not a token"},
        {"{\"added_tokens_decoder\": {\"7\": {\"content\": \"<A>\", \"lstrip\": 1}}}",
         ": added_tokens_decoder.7: lstrip is not true or false"},
        {"{\"bos_token\": 7}", ": bos_token: is not a token"},
        {"{\"extra_special_tokens\": \"<A>\"}",
         ": extra_special_tokens: is not a list of tokens"},
        {"{\"additional_special_tokens\": [3]}",
         ": additional_special_tokens: is not a token"},
        {"{\"add_prefix_space\": 1}", ": add_prefix_space: is not true or false"},
        {"{\"split_special_tokens\": 1}",
         ": split_special_tokens: is not true or false"},
        {"{\"tokenizer_class\": 1}", ": tokenizer_class: is not a string"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ce_error err = {.text = ""};
        const char *said = NULL;

        put_config(state, cases[i][0]);
        assert_null(opened(state, &said, &err));
        if (strstr(err.text, cases[i][1]) == NULL) {
            fail_msg("'%s' does not say '%s'", err.text, cases[i][1]);
        }
    }
    put(state, "added_tokens.json", "{\"<A>\": \"x\"}");
    put_config(state, "{}");
    struct ce_error err = {.text = ""};
    const char *said = NULL;

    assert_null(opened(state, &said, &err));
    assert_non_null(strstr(err.text, "/added_tokens.json: <A>: is not a token id"));
}

#define WITH_FILES(test)                                                               \
    cmocka_unit_test_setup_teardown(test, temporary_setup, temporary_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FILES(tokens_that_only_the_config_has_are_added),
        WITH_FILES(special_tokens_are_tokens),
        WITH_FILES(flags_of_the_config_overrule),
        WITH_FILES(older_files_count_without_a_decoder),
        WITH_FILES(a_leading_space_is_that_of_the_class),
        WITH_FILES(special_tokens_can_be_split),
        WITH_FILES(what_is_not_followed_is_warned_of),
        WITH_FILES(many_warnings_are_counted),
        WITH_FILES(stages_that_the_class_makes_are_warned_of),
        WITH_FILES(bad_tokens_are_refused_by_name),
    };

    return cmocka_run_group_tests_name("model.tokenizer_config", tests, NULL, NULL);
}
