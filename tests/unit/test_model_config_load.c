/* Configs from directories: file names, generation_config.json, files that
 * Hugging Face transformers wrote. */

#include "model/config.h"
#include "temporary.h"
#include "test.h"

#include <string.h>

static void a_directory_is_loaded_with_both_files(void **state)
{
    static const char text[] =
        "{\"model_type\": \"olmoe\", \"vocab_size\": 64, \"eos_token_id\": 1}";
    static const char stop[] = "{\"eos_token_id\": [5, 6]}";
    struct ce_config config;
    struct ce_error err;

    temporary_write(state, "config.json", text, sizeof(text) - 1);
    assert_int_equal(ce_config_load(&config, temporary_path(state, ""), &err), CE_OK);
    assert_int_equal(config.vocab_size, 64);
    assert_int_equal(config.stop_token[0], 1);
    temporary_write(state, "generation_config.json", stop, sizeof(stop) - 1);
    assert_int_equal(ce_config_load(&config, temporary_path(state, ""), &err), CE_OK);
    assert_int_equal(config.stop_tokens, 2);
    temporary_write(state, "generation_config.json", "x", 1);
    assert_int_equal(ce_config_load(&config, temporary_path(state, ""), &err),
                     CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "/generation_config.json: line 1"));
}

static void errors_name_the_file_in_the_directory(void **state)
{
    static const char text[] =
        "{\"model_type\": \"olmoe\", \"num_experts\": 8, \"num_experts_per_tok\": 9}";
    struct ce_config config;
    struct ce_error err;
    char wanted[600];

    temporary_write(state, "config.json", text, sizeof(text) - 1);
    assert_int_equal(ce_config_load(&config, temporary_path(state, ""), &err),
                     CE_ERR_FORMAT);
    (void)snprintf(wanted,
                   sizeof(wanted),
                   "%s: num_experts_per_tok: 9 is larger than num_experts 8",
                   temporary_path(state, "config.json"));
    assert_string_equal(err.text, wanted);
    /* A good second file does not make up for it. */
    temporary_write(state, "generation_config.json", "{}", 2);
    assert_int_equal(ce_config_load(&config, temporary_path(state, ""), &err),
                     CE_ERR_FORMAT);
    assert_string_equal(err.text, wanted);
}

static void what_cannot_be_read_says_why(void **state)
{
    struct ce_config config;
    struct ce_error err;

    temporary_mkdir(state, "config.json");
    assert_int_equal(ce_config_load(&config, temporary_path(state, ""), &err),
                     CE_ERR_IO);
    assert_non_null(strstr(err.text, "/config.json: is a directory"));
}

static void a_missing_file_or_directory_is_explained(void **state)
{
    struct ce_config config;
    struct ce_error err;

    assert_int_equal(ce_config_load(&config, temporary_path(state, ""), &err),
                     CE_ERR_IO);
    assert_non_null(
        strstr(err.text, "/config.json: not found; a model is a directory"));
    assert_int_equal(ce_config_load(&config, temporary_path(state, "gone"), &err),
                     CE_ERR_IO);
    assert_non_null(strstr(err.text, "/gone: no such directory"));
}

static struct ce_config loaded(const char *dir)
{
    struct ce_config config;
    struct ce_error err = {.text = ""};
    enum ce_status status = ce_config_load(&config, dir, &err);

    assert_string_equal(err.text, "");
    assert_int_equal(status, CE_OK);
    return config;
}

static void the_shipped_models_are_read(void **state)
{
    (void)state;
    struct ce_config config = loaded(CE_MODEL_DIR);

    assert_int_equal(config.hidden_size, 128);
    assert_int_equal(config.experts, 16);
    assert_int_equal(config.top_k, 4);
    assert_int_equal(config.dtype, CE_DTYPE_BF16);
    assert_int_equal(config.n_ce, 2);
    assert_false(config.use_ce);
    assert_int_equal(config.stop_tokens, 1);
    assert_int_equal(config.stop_token[0], 0);
    assert_true(loaded(CE_MODEL_DIR "/ce-math").use_ce);
}

static void the_spelling_of_transformers_4_is_read(void **state)
{
    (void)state;
    struct ce_config config = loaded(CE_TEST_SOURCE_DIR "/golden/gqa_f32");

    assert_int_equal(config.heads, 4);
    assert_int_equal(config.kv_heads, 2);
    assert_int_equal(config.head_dim, 8);
    assert_int_equal(config.intermediate_size, 18);
    assert_int_equal(config.dtype, CE_DTYPE_F32);
    assert_true(config.norm_topk_prob);
    assert_true(config.rms_norm_eps == 1e-5F);
    assert_true(config.rope_theta == 10000.0);
    assert_true(config.clip_qkv == 0.0F);
}

static void the_spelling_of_transformers_5_is_read(void **state)
{
    (void)state;
    struct ce_config config = loaded(CE_TEST_SOURCE_DIR "/golden/tied_bf16");

    assert_int_equal(config.head_dim, 12);
    assert_int_equal(config.dtype, CE_DTYPE_BF16);
    assert_true(config.tie_word_embeddings);
    assert_true(config.rms_norm_eps == 1e-6F);
    assert_true(config.rope_theta == 500000.0);
    assert_true(config.clip_qkv == 0.75F);
    config = loaded(CE_TEST_SOURCE_DIR "/golden/sharded_f16");
    assert_int_equal(config.dtype, CE_DTYPE_F16);
    assert_int_equal(config.stop_tokens, 2);
    assert_int_equal(config.stop_token[0], 7);
    config = loaded(CE_TEST_SOURCE_DIR "/golden/fused_bf16");
    assert_true(config.use_ce);
    assert_int_equal(config.n_ce, 2);
    assert_int_equal(config.kv_heads, 1);
}

#define WITH_FILES(test)                                                               \
    cmocka_unit_test_setup_teardown(test, temporary_setup, temporary_teardown)

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        WITH_FILES(a_directory_is_loaded_with_both_files),
        WITH_FILES(errors_name_the_file_in_the_directory),
        WITH_FILES(what_cannot_be_read_says_why),
        WITH_FILES(a_missing_file_or_directory_is_explained),
        cmocka_unit_test(the_shipped_models_are_read),
        cmocka_unit_test(the_spelling_of_transformers_4_is_read),
        cmocka_unit_test(the_spelling_of_transformers_5_is_read),
    };

    return cmocka_run_group_tests_name("model.config_load", tests, NULL, NULL);
}
