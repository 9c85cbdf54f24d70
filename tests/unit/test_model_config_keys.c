/* Keys of config.json: computed, harmless, or refused by name. */

#include "base/log.h"
#include "model/config.h"
#include "temporary.h"
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum ce_status parse(const char *field, struct ce_error *err)
{
    struct ce_config config;
    char text[1024];

    (void)snprintf(text,
                   sizeof(text),
                   "{\"model_type\": \"olmoe\", \"hidden_size\": 64, "
                   "\"num_attention_heads\": 4, \"num_experts\": 8, "
                   "\"num_experts_per_tok\": 2, \"max_position_embeddings\": 128, %s}",
                   field);
    return ce_config_parse(&config, text, strlen(text), "c", err);
}

static void assert_accepted(const char *const *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ce_error err = {.text = ""};

        if (parse(fields[i], &err) != CE_OK) {
            fail_msg("%s: %s", fields[i], err.text);
        }
    }
}

static void assert_refused(const char *field, const char *message)
{
    struct ce_error err = {.text = ""};

    assert_int_not_equal(parse(field, &err), CE_OK);
    assert_string_equal(err.text, message);
}

static void keys_that_cannot_change_logits_are_accepted(void **state)
{
    (void)state;
    static const char *const fields[] = {
        "\"attention_dropout\": 0.1",
        "\"id2label\": {\"0\": \"LABEL_0\"}",
        "\"output_router_logits\": true",
        "\"router_aux_loss_coef\": 0.01",
        "\"pad_token_id\": 1",
        "\"transformers_version\": \"5.23.0\"",
        "\"_name_or_path\": \"x/y\"",
        "\"_attn_implementation_autoset\": true",
        "\"temperature\": 0.7",
        "\"repetition_penalty\": 1.3",
        "\"auto_map\": {\"AutoModel\": \"m.M\"}",
        "\"never_heard_of\": null",
        "\"max_window_layers\": 28",
        "\"tokenizer_padding_side\": \"right\"",
        "\"model_max_length\": 2048",
        "\"loss_type\": \"ForCausalLM\"",
        "\"use_liger_kernel\": true",
        "\"base_model_tp_plan\": {}",
        "\"hidden_act\": \"swish\"",
        "\"torch_dtype\": \"auto\"",
    };

    assert_accepted(fields, sizeof(fields) / sizeof(fields[0]));
}

static void keys_of_other_models_are_accepted_where_they_change_nothing(void **state)
{
    (void)state;
    static const char *const fields[] = {
        "\"sliding_window\": null",
        "\"sliding_window\": 128",
        "\"sliding_window\": 4096, \"use_sliding_window\": false",
        "\"layer_types\": [\"full_attention\", \"full_attention\"]",
        "\"num_local_experts\": 8",
        "\"n_routed_experts\": 8",
        "\"moe_intermediate_size\": 2048",
        "\"experts_per_token\": 2",
        "\"mlp_bias\": false",
        "\"pretraining_tp\": 1",
        "\"is_causal\": true",
        "\"n_shared_experts\": 0",
        "\"mlp_only_layers\": []",
        "\"routed_scaling_factor\": 1.0",
        "\"scoring_func\": \"softmax\"",
        "\"shared_expert_intermediate_size\": 0",
    };

    assert_accepted(fields, sizeof(fields) / sizeof(fields[0]));
}

static void keys_that_change_results_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"sliding_window", "4"},
        {"sliding_window", "127"},
        {"sliding_window", "0"},
        {"sliding_window", "\"128\""},
        {"use_sliding_window", "true"},
        {"layer_types", "[\"full_attention\", \"sliding_attention\"]"},
        {"attention_chunk_size", "64"},
        {"is_causal", "false"},
        {"use_bidirectional_attention", "true"},
        {"num_local_experts", "16"},
        {"n_routed_experts", "7"},
        {"moe_intermediate_size", "64"},
        {"num_experts_per_token", "1"},
        {"mlp_bias", "true"},
        {"pretraining_tp", "2"},
        {"n_shared_experts", "1"},
        {"mlp_only_layers", "[0]"},
        {"routed_scaling_factor", "2.5"},
        {"scoring_func", "\"sigmoid\""},
        {"topk_method", "\"noaux_tc\""},
        {"is_encoder_decoder", "true"},
        {"per_layer_config", "{\"0\": {}}"},
        {"text_config", "{}"},
        {"quantization", "{\"bits\": 4}"},
        {"final_logit_softcapping", "30.0"},
        {"transformers_weights", "\"other.safetensors\""},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct ce_error err = {.text = ""};
        char field[128];
        char wanted[64];

        (void)snprintf(field, sizeof(field), "\"%s\": %s", names[i][0], names[i][1]);
        (void)snprintf(wanted, sizeof(wanted), "c: %s: ", names[i][0]);
        assert_int_not_equal(parse(field, &err), CE_OK);
        assert_memory_equal(err.text, wanted, strlen(wanted));
    }
}

static void refusals_say_what_would_do(void **state)
{
    (void)state;
    assert_refused("\"sliding_window\": 4",
                   "c: sliding_window: 4 is not supported: attention here sees all "
                   "positions before; supported: null, or at least "
                   "max_position_embeddings");
    assert_refused("\"num_local_experts\": 16",
                   "c: num_local_experts: does not agree with num_experts, which is 8");
    assert_refused("\"mlp_bias\": true",
                   "c: mlp_bias: true is not supported for this model type; supported: "
                   "false, 0, nothing");
    assert_refused("\"hash_layers\": 3",
                   "c: hash_layers: is not known to this version and could change "
                   "results; if it does not, take it out of the file");
}

/* transformers knows it as another name. */
static void the_other_name_of_the_experts_is_read(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"model_type\": \"olmoe\", \"num_local_experts\": 16}",
        "{\"model_type\": \"olmoe\", \"num_local_experts\": 16, \"num_experts\": null}",
    };

    for (size_t i = 0; i < 2; i++) {
        struct ce_config config;
        struct ce_error err;

        assert_int_equal(
            ce_config_parse(&config, texts[i], strlen(texts[i]), "c", &err), CE_OK);
        assert_int_equal(config.experts, 16);
    }
}

/* As in transformers, where rope_scaling hides rope_parameters. */
static void two_rope_objects_must_agree(void **state)
{
    (void)state;
    static const char *const fields[] = {
        "\"rope_scaling\": {\"type\": \"default\"}, \"rope_theta\": 7.0, "
        "\"rope_parameters\": {\"rope_theta\": 7.0}",
        "\"rope_scaling\": {}, \"rope_parameters\": {\"rope_theta\": 7.0}",
    };

    assert_accepted(fields, 2);
    assert_refused("\"rope_scaling\": {\"type\": \"default\"}, "
                   "\"rope_parameters\": {\"rope_theta\": 7.0}",
                   "c: rope_parameters.rope_theta: is 7, but 10000 beside "
                   "rope_scaling, which transformers takes; keep one of the two");
    assert_refused("\"rope_parameters\": {\"attention_factor\": 1.2}",
                   "c: rope_parameters.attention_factor: is not supported");
}

/* What reading a generation_config.json puts on stderr. */
static const char *warned(void **state, const char *text)
{
    static char said[1024];
    const char *path = temporary_path(state, "stderr");
    const int saved = dup(STDERR_FILENO);
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct ce_config config = {.layers = 1};
    struct ce_error err;

    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    ce_log_init(CE_LOG_WARN, 0);
    const enum ce_status status =
        ce_config_parse_generation(&config, text, strlen(text), "g", &err);
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);

    const ssize_t bytes = pread(fd, said, sizeof(said) - 1, 0);

    (void)close(fd);
    assert_int_equal(status, CE_OK);
    assert_true(bytes >= 0);
    said[bytes] = '\0';
    return said;
}

static void rules_of_a_generation_are_warned_of(void **state)
{
    assert_string_equal(
        warned(state,
               "{\"do_sample\": true, \"temperature\": 0.6, \"top_p\": 1.0, "
               "\"repetition_penalty\": 1.1, \"suppress_tokens\": [3]}"),
        "cemoe: warning: g: do_sample, temperature, repetition_penalty, "
        "suppress_tokens: not followed; how tokens are chosen is said by options and "
        "requests\n");
    assert_string_equal(
        warned(state,
               "{\"do_sample\": false, \"temperature\": 0.6, \"top_k\": 20, "
               "\"repetition_penalty\": 1.0, \"suppress_tokens\": [], "
               "\"bad_words_ids\": null, \"num_beams\": 1, \"eos_token_id\": 2}"),
        "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_that_cannot_change_logits_are_accepted),
        cmocka_unit_test(keys_of_other_models_are_accepted_where_they_change_nothing),
        cmocka_unit_test(keys_that_change_results_are_refused_by_name),
        cmocka_unit_test(refusals_say_what_would_do),
        cmocka_unit_test(the_other_name_of_the_experts_is_read),
        cmocka_unit_test(two_rope_objects_must_agree),
        cmocka_unit_test_setup_teardown(
            rules_of_a_generation_are_warned_of, temporary_setup, temporary_teardown),
    };

    return cmocka_run_group_tests_name("model.config_keys", tests, NULL, NULL);
}
