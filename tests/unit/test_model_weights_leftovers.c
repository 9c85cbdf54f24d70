/* What a checkpoint may hold beside the tensors of its model: buffers that other
 * programs store, and the output matrix where it is the embedding. */

#include "model/weights.h"
#include "temporary.h"
#include "test.h"

#include <string.h>

#define MODEL CE_TEST_SOURCE_DIR "/golden/tied_bf16"

enum { MOST = 512 };

static unsigned char zeros[1 << 16];

/* The tied model with one tensor more. */
static enum ce_status
plan_with(void **state, const struct ce_safetensors_entry *extra, struct ce_error *err)
{
    static unsigned char owned[MOST];
    struct ce_safetensors_entry entries[MOST];
    struct ce_safetensors model;
    struct ce_checkpoint checkpoint;
    struct ce_config config;
    struct ce_weights plan;

    assert_int_equal(ce_config_load(&config, MODEL, err), CE_OK);
    assert_int_equal(ce_safetensors_open(&model, MODEL "/model.safetensors", err),
                     CE_OK);
    assert_true(model.count < MOST);
    memcpy(entries, model.entries, model.count * sizeof(entries[0]));
    entries[model.count] = *extra;
    assert_int_equal(
        ce_safetensors_write(
            temporary_path(state, "model.safetensors"), entries, model.count + 1, err),
        CE_OK);
    ce_safetensors_close(&model);
    assert_int_equal(ce_checkpoint_open(&checkpoint, temporary_path(state, ""), err),
                     CE_OK);

    const struct ce_weights_request request = {
        .config = &config, .checkpoint = &checkpoint, .owned = owned};
    enum ce_status status = ce_weights_plan(&plan, &request, err);

    ce_weights_destroy(&plan);
    ce_checkpoint_close(&checkpoint);
    return status;
}

static void assert_accepted(void **state, char *name, struct ce_tensor tensor)
{
    const struct ce_safetensors_entry extra = {name, tensor};
    struct ce_error err = {.text = ""};

    if (plan_with(state, &extra, &err) != CE_OK) {
        fail_msg("%s: %s", name, err.text);
    }
}

static void assert_refused(void **state, char *name, struct ce_tensor tensor)
{
    const struct ce_safetensors_entry extra = {name, tensor};
    struct ce_error err = {.text = ""};

    assert_int_equal(plan_with(state, &extra, &err), CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, name));
    assert_non_null(strstr(err.text, "is not part of the model"));
}

static const struct ce_tensor state_of_training = {CE_DTYPE_U8, 1, {0}, 0, zeros};
static const struct ce_tensor frequencies = {CE_DTYPE_F32, 1, {6}, 24, zeros};
static const struct ce_tensor positions = {CE_DTYPE_I64, 2, {1, 8}, 64, zeros};
static const struct ce_tensor cosines = {CE_DTYPE_BF16, 4, {1, 1, 4, 6}, 48, zeros};
static const struct ce_tensor mask = {CE_DTYPE_BOOL, 4, {1, 1, 8, 8}, 64, zeros};
static const struct ce_tensor vector = {CE_DTYPE_BF16, 1, {60}, 120, zeros};

static void buffers_are_left_out_wherever_they_lie(void **state)
{
    char names[][64] = {"model.layers.0.self_attn.rotary_emb.inv_freq",
                        "model.rotary_emb.inv_freq",
                        "inv_freq",
                        "rope.freqs"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_accepted(state, names[i], frequencies);
    }
    assert_accepted(state, (char[]){"model._extra_state"}, state_of_training);
    assert_accepted(
        state, (char[]){"model.layers.1.mlp.gate._extra_state"}, state_of_training);
    assert_accepted(state, (char[]){"model.embeddings.position_ids"}, positions);
    assert_accepted(
        state, (char[]){"model.layers.0.self_attn.rotary_emb.cos_cached"}, cosines);
    assert_accepted(state, (char[]){"sin_cached"}, cosines);
    assert_accepted(state, (char[]){"model.layers.0.attn.masked_bias"}, frequencies);
    assert_accepted(state, (char[]){"model.layers.0.attn.bias"}, mask);
    assert_accepted(state, (char[]){"model.layers.0.self_attn.bias"}, mask);
    assert_accepted(state, (char[]){"model.causal_mask"}, mask);
}

static void what_could_be_a_weight_is_refused(void **state)
{
    assert_refused(state, (char[]){"model.layers.0.self_attn.bias"}, vector);
    assert_refused(state, (char[]){"model.layers.0.self_attn.q_proj.bias"}, vector);
    assert_refused(state, (char[]){"model.inv_freq.weight"}, vector);
    assert_refused(state, (char[]){"model.my_inv_freq"}, vector);
    assert_refused(state, (char[]){"model.layers.2.input_layernorm.weight"}, vector);
    assert_refused(
        state, (char[]){"model.layers.0.mlp.gate.e_score_correction_bias"}, vector);
    assert_refused(state, (char[]){"lm_head.bias"}, vector);
}

/* The output matrix beside tied embeddings. */
static void an_output_matrix_must_be_the_tied_embedding(void **state)
{
    static unsigned char copy[1 << 16];
    char name[] = "lm_head.weight";
    struct ce_safetensors model;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_safetensors_open(&model, MODEL "/model.safetensors", &err),
                     CE_OK);
    struct ce_tensor output = *ce_safetensors_find(&model, "model.embed_tokens.weight");

    assert_true(output.bytes <= sizeof(copy));
    memcpy(copy, output.data, output.bytes);
    output.data = copy;
    ce_safetensors_close(&model);
    assert_accepted(state, name, output);
    copy[output.bytes - 1] ^= 1; /* the last value */
    assert_int_equal(
        plan_with(state, &(struct ce_safetensors_entry){name, output}, &err),
        CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "/model.safetensors: tensor lm_head.weight is "));
    assert_non_null(strstr(err.text, "tie_word_embeddings: true"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(buffers_are_left_out_wherever_they_lie,
                                        temporary_setup,
                                        temporary_teardown),
        cmocka_unit_test_setup_teardown(
            what_could_be_a_weight_is_refused, temporary_setup, temporary_teardown),
        cmocka_unit_test_setup_teardown(an_output_matrix_must_be_the_tied_embedding,
                                        temporary_setup,
                                        temporary_teardown),
    };

    return cmocka_run_group_tests_name("model.weights_leftovers", tests, NULL, NULL);
}
