#include "model/config.h"
#include "test.h"

#include <stdio.h>
#include <string.h>

static struct ce_config accepted(const char *text)
{
    struct ce_config config;
    struct ce_error err = {.text = ""};
    enum ce_status status = ce_config_parse(&config, text, strlen(text), "c", &err);

    assert_string_equal(err.text, "");
    assert_int_equal(status, CE_OK);
    return config;
}

static void assert_refused(const char *text, enum ce_status code, const char *message)
{
    struct ce_config config;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_config_parse(&config, text, strlen(text), "c", &err), code);
    assert_string_equal(err.text, message);
    assert_int_equal(config.layers, 0);
}

#define OLMOE(fields) "{\"model_type\": \"olmoe\"" fields "}"
#define SMALL                                                                          \
    ", \"hidden_size\": 64, \"num_attention_heads\": 4, \"num_experts\": 8, "          \
    "\"num_experts_per_tok\": 2"

static void absent_fields_take_the_class_defaults(void **state)
{
    (void)state;
    struct ce_config config = accepted(OLMOE());

    assert_int_equal(config.architecture, CE_ARCH_OLMOE);
    assert_string_equal(ce_architecture_name(config.architecture), "olmoe");
    assert_int_equal(config.vocab_size, 50304);
    assert_int_equal(config.hidden_size, 2048);
    assert_int_equal(config.intermediate_size, 2048);
    assert_int_equal(config.layers, 16);
    assert_int_equal(config.heads, 16);
    assert_int_equal(config.kv_heads, 16);
    assert_int_equal(config.head_dim, 128);
    assert_int_equal(config.experts, 64);
    assert_int_equal(config.top_k, 8);
    assert_int_equal(config.max_positions, 4096);
    assert_true(config.rms_norm_eps == 1e-5F);
    assert_true(config.rope_theta == 10000.0);
    assert_true(config.clip_qkv == 0.0F);
    assert_false(config.norm_topk_prob || config.tie_word_embeddings);
    assert_false(config.attention_bias || config.use_ce);
    assert_int_equal(config.n_ce, 0);
    assert_int_equal(config.dtype, CE_DTYPE_F32);
    assert_int_equal(config.stop_tokens, 1);
    assert_int_equal(config.stop_token[0], 50279);
}

static void null_is_the_same_as_absent(void **state)
{
    (void)state;
    struct ce_config config =
        accepted(OLMOE(", \"hidden_size\": null, \"num_key_value_heads\": null, "
                       "\"head_dim\": null, \"clip_qkv\": null, \"hidden_act\": null, "
                       "\"rope_theta\": null, \"rope_scaling\": null, "
                       "\"rope_parameters\": null, \"torch_dtype\": null, "
                       "\"architectures\": null, \"quantization_config\": null, "
                       "\"use_ce\": null, \"n_ce\": null, \"rms_norm_eps\": null"));
    struct ce_config defaults = accepted(OLMOE());

    assert_true(ce_config_hash(&config) == ce_config_hash(&defaults));
}

static void given_fields_are_taken(void **state)
{
    (void)state;
    struct ce_config config = accepted(OLMOE(
        ", \"vocab_size\": 100, \"hidden_size\": 96, \"intermediate_size\": 40, "
        "\"num_hidden_layers\": 3, \"num_attention_heads\": 6, "
        "\"num_key_value_heads\": 2, \"max_position_embeddings\": 77, "
        "\"num_experts\": 9, \"num_experts_per_tok\": 5, \"rms_norm_eps\": 1e-6, "
        "\"clip_qkv\": 8, \"norm_topk_prob\": true, \"tie_word_embeddings\": true, "
        "\"attention_bias\": true, \"use_ce\": true, \"n_ce\": 4, "
        "\"architectures\": [\"OlmoeForCausalLM\"], \"hidden_act\": \"silu\""));

    assert_int_equal(config.vocab_size, 100);
    assert_int_equal(config.hidden_size, 96);
    assert_int_equal(config.intermediate_size, 40);
    assert_int_equal(config.layers, 3);
    assert_int_equal(config.heads, 6);
    assert_int_equal(config.kv_heads, 2);
    assert_int_equal(config.head_dim, 16);
    assert_int_equal(config.max_positions, 77);
    assert_int_equal(config.experts, 9);
    assert_int_equal(config.top_k, 5);
    assert_true(config.rms_norm_eps == 1e-6F);
    assert_true(config.clip_qkv == 8.0F);
    assert_true(config.norm_topk_prob && config.tie_word_embeddings);
    assert_true(config.attention_bias && config.use_ce);
    assert_int_equal(config.n_ce, 4);
}

static void a_given_head_dim_wins(void **state)
{
    (void)state;
    struct ce_config config = accepted(OLMOE(SMALL ", \"head_dim\": 128"));

    assert_int_equal(config.head_dim, 128);
    /* Then the hidden size need not be a multiple of the heads. */
    config = accepted(
        OLMOE(", \"hidden_size\": 100, \"num_attention_heads\": 3, \"head_dim\": 32"));
    assert_int_equal(config.head_dim, 32);
}

static void both_spellings_of_rope_are_read(void **state)
{
    (void)state;
    struct ce_config config = accepted(OLMOE(", \"rope_theta\": 500000"));

    assert_true(config.rope_theta == 500000.0);
    config = accepted(OLMOE(", \"rope_parameters\": {\"rope_type\": \"default\", "
                            "\"rope_theta\": 20000.0}"));
    assert_true(config.rope_theta == 20000.0);
    config = accepted(OLMOE(", \"rope_theta\": 5.0, \"rope_parameters\": "
                            "{\"rope_theta\": 20000.0, \"rope_type\": null}"));
    assert_true(config.rope_theta == 20000.0);
    config = accepted(OLMOE(", \"rope_theta\": 7.0, \"rope_parameters\": {}"));
    assert_true(config.rope_theta == 7.0);
    config = accepted(OLMOE(", \"rope_scaling\": {\"type\": \"default\"}"));
    assert_true(config.rope_theta == 10000.0);
}

static void other_ropes_are_refused_by_name(void **state)
{
    (void)state;
    assert_refused(OLMOE(", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}"),
                   CE_ERR_UNSUPPORTED,
                   "c: rope_scaling.rope_type: 'linear' is not supported; supported: "
                   "default");
    assert_refused(OLMOE(", \"rope_scaling\": {\"rope_type\": \"yarn\"}"),
                   CE_ERR_UNSUPPORTED,
                   "c: rope_scaling.rope_type: 'yarn' is not supported; supported: "
                   "default");
    assert_refused(OLMOE(", \"rope_parameters\": {\"rope_type\": \"llama3\"}"),
                   CE_ERR_UNSUPPORTED,
                   "c: rope_parameters.rope_type: 'llama3' is not supported; "
                   "supported: default");
    assert_refused(OLMOE(", \"rope_scaling\": {\"factor\": 2.0}"),
                   CE_ERR_UNSUPPORTED,
                   "c: rope_scaling.factor: is not supported");
    assert_refused(OLMOE(", \"rope_parameters\": {\"full_attention\": {}}"),
                   CE_ERR_UNSUPPORTED,
                   "c: rope_parameters.full_attention: is not supported");
    assert_refused(OLMOE(", \"partial_rotary_factor\": 0.5"),
                   CE_ERR_UNSUPPORTED,
                   "c: partial_rotary_factor: 0.5 is not supported; supported: 1");
    assert_refused(OLMOE(", \"rope_parameters\": {\"partial_rotary_factor\": 2}"),
                   CE_ERR_UNSUPPORTED,
                   "c: rope_parameters.partial_rotary_factor: 2 is not supported; "
                   "supported: 1");
    assert_refused(OLMOE(", \"rope_parameters\": {\"rope_type\": 1}"),
                   CE_ERR_FORMAT,
                   "c: rope_parameters.rope_type: is not a string");
    assert_refused(OLMOE(", \"rope_scaling\": {\"type\": 1}"),
                   CE_ERR_FORMAT,
                   "c: rope_scaling.type: is not a string");
    assert_refused(
        OLMOE(", \"rope_theta\": []"), CE_ERR_FORMAT, "c: rope_theta: is not a number");
    assert_refused(OLMOE(", \"torch_dtype\": 7"),
                   CE_ERR_FORMAT,
                   "c: torch_dtype: is not a string");
    assert_refused(OLMOE(", \"rope_scaling\": 2"),
                   CE_ERR_FORMAT,
                   "c: rope_scaling: is neither an object nor null");
    assert_refused(OLMOE(", \"rope_parameters\": {\"rope_theta\": \"x\"}"),
                   CE_ERR_FORMAT,
                   "c: rope_parameters.rope_theta: is not a number");
}

static void both_spellings_of_dtype_are_read(void **state)
{
    (void)state;
    assert_int_equal(accepted(OLMOE(", \"torch_dtype\": \"bfloat16\"")).dtype,
                     CE_DTYPE_BF16);
    assert_int_equal(accepted(OLMOE(", \"torch_dtype\": \"torch.float16\"")).dtype,
                     CE_DTYPE_F16);
    assert_int_equal(
        accepted(OLMOE(", \"dtype\": \"float16\", \"torch_dtype\": \"float32\"")).dtype,
        CE_DTYPE_F16);
    assert_refused(OLMOE(", \"dtype\": \"float64\", \"eos_token_id\": 3"),
                   CE_ERR_UNSUPPORTED,
                   "c: dtype: 'float64' is not supported; supported: float32, "
                   "bfloat16, float16");
}

static void other_models_are_refused_by_name(void **state)
{
    (void)state;
    assert_refused("{\"model_type\": \"mixtral\"}",
                   CE_ERR_UNSUPPORTED,
                   "c: model_type: 'mixtral' is not supported; supported: olmoe");
    assert_refused("{}", CE_ERR_FORMAT, "c: model_type: is missing");
    assert_refused(
        "{\"model_type\": 5}", CE_ERR_FORMAT, "c: model_type: is not a string");
    assert_refused(OLMOE(", \"architectures\": [\"OlmoeForSequenceClassification\"]"),
                   CE_ERR_UNSUPPORTED,
                   "c: architectures: 'OlmoeForSequenceClassification' is not "
                   "supported; supported: OlmoeForCausalLM");
    assert_refused(OLMOE(", \"architectures\": \"OlmoeForCausalLM\""),
                   CE_ERR_FORMAT,
                   "c: architectures: is not a list of names");
    assert_refused(OLMOE(", \"architectures\": [1]"),
                   CE_ERR_FORMAT,
                   "c: architectures: is not a list of names");
    assert_refused(OLMOE(", \"hidden_act\": \"gelu\""),
                   CE_ERR_UNSUPPORTED,
                   "c: hidden_act: 'gelu' is not supported; supported: silu");
    assert_refused(OLMOE(", \"quantization_config\": {\"bits\": 4}"),
                   CE_ERR_UNSUPPORTED,
                   "c: quantization_config: quantized checkpoints are not supported");
}

static void sizes_have_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        long most;
    } sizes[] = {
        {"vocab_size", 1 << 24},
        {"hidden_size", 1 << 20},
        {"intermediate_size", 1 << 20},
        {"num_hidden_layers", 1 << 12},
        {"num_attention_heads", 1 << 12},
        {"num_key_value_heads", 1 << 12},
        {"head_dim", 1 << 12},
        {"max_position_embeddings", 1 << 24},
        {"num_experts", 65535},
        {"num_experts_per_tok", 65535},
    };

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const long wrong[] = {0, sizes[i].most + 1};
        char text[128];
        char message[128];

        for (size_t k = 0; k < 2; k++) {
            (void)snprintf(
                text, sizeof(text), OLMOE(", \"%s\": %ld"), sizes[i].key, wrong[k]);
            (void)snprintf(message,
                           sizeof(message),
                           "c: %s: %ld is not in 1 .. %ld",
                           sizes[i].key,
                           wrong[k],
                           sizes[i].most);
            assert_refused(text, CE_ERR_FORMAT, message);
        }
    }
    assert_refused(OLMOE(", \"hidden_size\": -8"),
                   CE_ERR_FORMAT,
                   "c: hidden_size: is not a non-negative integer");
    assert_refused(OLMOE(", \"hidden_size\": 64.0"),
                   CE_ERR_FORMAT,
                   "c: hidden_size: is not a non-negative integer");
    assert_refused(OLMOE(", \"norm_topk_prob\": 1"),
                   CE_ERR_FORMAT,
                   "c: norm_topk_prob: is not true or false");
}

static void sizes_fit_together(void **state)
{
    (void)state;
    assert_refused(OLMOE(", \"num_experts\": 8, \"num_experts_per_tok\": 9"),
                   CE_ERR_FORMAT,
                   "c: num_experts_per_tok: 9 is larger than num_experts 8");
    assert_refused(OLMOE(", \"num_experts\": 100, \"num_experts_per_tok\": 65"),
                   CE_ERR_UNSUPPORTED,
                   "c: num_experts_per_tok: 65 is larger than 64");
    assert_int_equal(
        accepted(OLMOE(", \"num_experts\": 64, \"num_experts_per_tok\": 64")).top_k,
        64);
    assert_refused(OLMOE(", \"num_key_value_heads\": 3"),
                   CE_ERR_FORMAT,
                   "c: num_attention_heads: 16 is not a multiple of "
                   "num_key_value_heads 3");
    assert_refused(OLMOE(", \"num_key_value_heads\": 32"),
                   CE_ERR_FORMAT,
                   "c: num_attention_heads: 16 is not a multiple of "
                   "num_key_value_heads 32");
    assert_refused(OLMOE(", \"hidden_size\": 100, \"num_attention_heads\": 3"),
                   CE_ERR_FORMAT,
                   "c: hidden_size: 100 is not a multiple of num_attention_heads 3");
    assert_refused(OLMOE(", \"head_dim\": 7"),
                   CE_ERR_UNSUPPORTED,
                   "c: head_dim: 7 is odd; the rotary embedding turns pairs");
    assert_refused(OLMOE(", \"hidden_size\": 8, \"num_attention_heads\": 16"),
                   CE_ERR_FORMAT,
                   "c: hidden_size: 8 is not a multiple of num_attention_heads 16");
}

static void products_of_sizes_have_a_limit(void **state)
{
    (void)state;
    static const char message[] =
        "c: the sizes describe more than 2^48 weights or cached values";

    assert_refused(OLMOE(", \"num_experts\": 256, \"num_hidden_layers\": 4096, "
                         "\"hidden_size\": 65536, \"intermediate_size\": 65536"),
                   CE_ERR_UNSUPPORTED,
                   message);
    assert_refused(OLMOE(", \"num_hidden_layers\": 4096, \"hidden_size\": 1048576, "
                         "\"num_attention_heads\": 4096, \"head_dim\": 4096, "
                         "\"num_experts\": 8, \"intermediate_size\": 8, "
                         "\"max_position_embeddings\": 16"),
                   CE_ERR_UNSUPPORTED,
                   message);
    assert_refused(OLMOE(", \"num_hidden_layers\": 4096, \"head_dim\": 4096, "
                         "\"max_position_embeddings\": 16777216, "
                         "\"hidden_size\": 16, \"num_experts\": 8"),
                   CE_ERR_UNSUPPORTED,
                   message);
    assert_refused(OLMOE(", \"num_experts\": 65535, \"num_hidden_layers\": 17, "
                         "\"hidden_size\": 32, \"intermediate_size\": 2"),
                   CE_ERR_UNSUPPORTED,
                   "c: num_hidden_layers times num_experts is over 1048576");
    assert_int_equal(accepted(OLMOE(", \"vocab_size\": 16777216")).vocab_size, 1 << 24);
}

static void at_least_one_expert_stays_full(void **state)
{
    (void)state;
    assert_int_equal(accepted(OLMOE(SMALL ", \"n_ce\": 1")).n_ce, 1);
    assert_int_equal(accepted(OLMOE(SMALL ", \"use_ce\": true, \"n_ce\": 0")).n_ce, 0);
    assert_refused(OLMOE(SMALL ", \"n_ce\": 2"),
                   CE_ERR_FORMAT,
                   "c: n_ce: 2 is not less than num_experts_per_tok 2; at least one "
                   "expert must stay full");
    assert_refused(OLMOE(SMALL ", \"n_ce\": -1"),
                   CE_ERR_FORMAT,
                   "c: n_ce: is not a non-negative integer");
}

static void numbers_are_positive_and_finite(void **state)
{
    (void)state;
    assert_refused(OLMOE(", \"rms_norm_eps\": 0"),
                   CE_ERR_FORMAT,
                   "c: rms_norm_eps: 0 is not a positive 32-bit number");
    assert_refused(OLMOE(", \"rms_norm_eps\": -1e-5"),
                   CE_ERR_FORMAT,
                   "c: rms_norm_eps: -1e-05 is not a positive 32-bit number");
    assert_refused(OLMOE(", \"rms_norm_eps\": 1e-60"),
                   CE_ERR_FORMAT,
                   "c: rms_norm_eps: 1e-60 is not a positive 32-bit number");
    assert_refused(OLMOE(", \"rms_norm_eps\": 1e60"),
                   CE_ERR_FORMAT,
                   "c: rms_norm_eps: 1e+60 is not a positive 32-bit number");
    assert_refused(OLMOE(", \"rms_norm_eps\": \"1e-5\""),
                   CE_ERR_FORMAT,
                   "c: rms_norm_eps: is not a number");
    assert_refused(OLMOE(", \"clip_qkv\": 0.0"),
                   CE_ERR_FORMAT,
                   "c: clip_qkv: 0 is not a positive 32-bit number");
    assert_refused(OLMOE(", \"rope_theta\": 0"),
                   CE_ERR_FORMAT,
                   "c: rope_theta: 0 is not a positive number");
    assert_refused(OLMOE(", \"rope_theta\": -1.5"),
                   CE_ERR_FORMAT,
                   "c: rope_theta: -1.5 is not a positive number");
}

static void stop_tokens_are_one_or_many_or_none(void **state)
{
    (void)state;
    struct ce_config config = accepted(OLMOE(", \"eos_token_id\": 7"));

    assert_int_equal(config.stop_tokens, 1);
    assert_int_equal(config.stop_token[0], 7);
    config = accepted(OLMOE(", \"eos_token_id\": [3, 0, 2147483647]"));
    assert_int_equal(config.stop_tokens, 3);
    assert_int_equal(config.stop_token[1], 0);
    assert_int_equal(config.stop_token[2], INT32_MAX);
    assert_int_equal(accepted(OLMOE(", \"eos_token_id\": null")).stop_tokens, 0);
    assert_int_equal(accepted(OLMOE(", \"eos_token_id\": []")).stop_tokens, 0);
}

static void wrong_stop_tokens_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "-1", "2147483648", "1.0", "\"7\"", "[1, -1]", "[[1]]", "{}", "[1, null]"};
    char text[128];

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        (void)snprintf(text, sizeof(text), OLMOE(", \"eos_token_id\": %s"), wrong[i]);
        assert_refused(text,
                       CE_ERR_FORMAT,
                       "c: eos_token_id: is not a token id, a list of them or null");
    }
    assert_int_equal(
        accepted(OLMOE(", \"eos_token_id\": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"))
            .stop_tokens,
        16);
    assert_refused(OLMOE(", \"eos_token_id\": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"),
                   CE_ERR_UNSUPPORTED,
                   "c: eos_token_id: lists more than 16 tokens");
}

static enum ce_status
generation(struct ce_config *config, const char *text, struct ce_error *err)
{
    return ce_config_parse_generation(config, text, strlen(text), "g", err);
}

static void the_generation_config_wins(void **state)
{
    (void)state;
    struct ce_config config = accepted(OLMOE(", \"eos_token_id\": [7, 8]"));
    struct ce_error err;

    assert_int_equal(generation(&config, "{\"eos_token_id\": 9}", &err), CE_OK);
    assert_int_equal(config.stop_tokens, 1);
    assert_int_equal(config.stop_token[0], 9);
    assert_int_equal(config.stop_token[1], 0);
    assert_int_equal(generation(&config, "{\"eos_token_id\": [1, 2]}", &err), CE_OK);
    assert_int_equal(config.stop_tokens, 2);
    assert_int_equal(generation(&config, "{}", &err), CE_OK);
    assert_int_equal(generation(&config, "{\"eos_token_id\": null}", &err), CE_OK);
    assert_int_equal(config.stop_tokens, 2);
}

static void a_bad_generation_config_changes_nothing(void **state)
{
    (void)state;
    struct ce_config config = accepted(OLMOE(", \"eos_token_id\": 7"));
    struct ce_error err;

    assert_int_equal(generation(&config, "{\"eos_token_id\": [1, \"\"]}", &err),
                     CE_ERR_FORMAT);
    assert_memory_equal(err.text, "g: eos_token_id: ", 17);
    assert_int_equal(generation(&config, "[]", &err), CE_ERR_FORMAT);
    assert_int_equal(generation(&config, "{", &err), CE_ERR_FORMAT);
    assert_int_equal(config.stop_tokens, 1);
    assert_int_equal(config.stop_token[0], 7);
}

static void malformed_json_is_refused(void **state)
{
    (void)state;
    struct ce_config config;
    struct ce_error err;

    assert_int_equal(ce_config_parse(&config, "{", 1, "c", &err), CE_ERR_FORMAT);
    assert_memory_equal(err.text, "c: line 1", 9);
    assert_int_equal(ce_config_parse(&config, "", 0, "c", &err), CE_ERR_FORMAT);
    assert_int_equal(ce_config_parse(&config, "[]", 2, "c", &err), CE_ERR_FORMAT);
    assert_string_equal(err.text, "c: not a JSON object");
}

static void the_hash_sees_every_field(void **state)
{
    (void)state;
    static const char *const others[] = {
        OLMOE(", \"vocab_size\": 50305"),
        OLMOE(", \"hidden_size\": 4096, \"head_dim\": 128"),
        OLMOE(", \"intermediate_size\": 2047"),
        OLMOE(", \"num_hidden_layers\": 15"),
        OLMOE(", \"num_attention_heads\": 32, \"num_key_value_heads\": 16, "
              "\"head_dim\": 128"),
        OLMOE(", \"num_key_value_heads\": 8"),
        OLMOE(", \"head_dim\": 126"),
        OLMOE(", \"num_experts\": 65"),
        OLMOE(", \"num_experts_per_tok\": 7"),
        OLMOE(", \"max_position_embeddings\": 4095"),
        OLMOE(", \"rms_norm_eps\": 1e-6"),
        OLMOE(", \"rope_theta\": 10001"),
        OLMOE(", \"clip_qkv\": 1"),
        OLMOE(", \"norm_topk_prob\": true"),
        OLMOE(", \"tie_word_embeddings\": true"),
        OLMOE(", \"attention_bias\": true"),
        OLMOE(", \"use_ce\": true"),
        OLMOE(", \"n_ce\": 1"),
        OLMOE(", \"dtype\": \"bfloat16\""),
        OLMOE(", \"eos_token_id\": null"),
        OLMOE(", \"eos_token_id\": 1"),
    };
    const size_t count = sizeof(others) / sizeof(others[0]);
    uint64_t seen[sizeof(others) / sizeof(others[0]) + 1];
    struct ce_config config = accepted(OLMOE());

    seen[count] = ce_config_hash(&config);
    for (size_t i = 0; i < count; i++) {
        config = accepted(others[i]);
        seen[i] = ce_config_hash(&config);
    }
    for (size_t i = 0; i <= count; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_true(seen[i] != seen[k]);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_fields_take_the_class_defaults),
        cmocka_unit_test(null_is_the_same_as_absent),
        cmocka_unit_test(given_fields_are_taken),
        cmocka_unit_test(a_given_head_dim_wins),
        cmocka_unit_test(both_spellings_of_rope_are_read),
        cmocka_unit_test(other_ropes_are_refused_by_name),
        cmocka_unit_test(both_spellings_of_dtype_are_read),
        cmocka_unit_test(other_models_are_refused_by_name),
        cmocka_unit_test(sizes_have_ranges),
        cmocka_unit_test(sizes_fit_together),
        cmocka_unit_test(products_of_sizes_have_a_limit),
        cmocka_unit_test(at_least_one_expert_stays_full),
        cmocka_unit_test(numbers_are_positive_and_finite),
        cmocka_unit_test(stop_tokens_are_one_or_many_or_none),
        cmocka_unit_test(wrong_stop_tokens_are_refused),
        cmocka_unit_test(the_generation_config_wins),
        cmocka_unit_test(a_bad_generation_config_changes_nothing),
        cmocka_unit_test(malformed_json_is_refused),
        cmocka_unit_test(the_hash_sees_every_field),
    };

    return cmocka_run_group_tests_name("model.config", tests, NULL, NULL);
}
