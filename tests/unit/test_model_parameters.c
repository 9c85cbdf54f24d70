/* Parameters of the shipped model, multiplied out by hand. */

#include "model/parameters.h"
#include "test.h"

static const struct ce_config config = {.vocab_size = 2048,
                                        .hidden_size = 128,
                                        .intermediate_size = 64,
                                        .layers = 4,
                                        .heads = 4,
                                        .kv_heads = 4,
                                        .head_dim = 32,
                                        .experts = 16,
                                        .top_k = 4};

/* Attention 4 * 128 * 128, router 16 * 128, an expert 3 * 128 * 64; embedding and
 * output layer 2048 * 128 each. */
static void matrices_of_a_token_are_counted(void **state)
{
    (void)state;
    struct ce_config tied = config;

    tied.tie_word_embeddings = true;
    assert_int_equal(ce_parameters_active(&config, 4),
                     4 * (65536 + 2048 + 4 * 24576) + 524288);
    assert_int_equal(ce_parameters_active(&config, 1),
                     4 * (65536 + 2048 + 24576) + 524288);
    assert_int_equal(ce_parameters_active(&tied, 1),
                     4 * (65536 + 2048 + 24576) + 262144);
}

/* Two of three vectors scale the input of an expert, one its hidden values. */
static void vectors_of_compressed_experts_are_counted(void **state)
{
    (void)state;
    assert_int_equal(ce_parameters_scaling(&config, 2), 4 * 2 * (2 * 128 + 64));
    assert_int_equal(ce_parameters_scaling(&config, 0), 0);
    assert_int_equal(ce_parameters_affine(&config, 4 * 16 * 100 + 8, 2),
                     4 * 2 * 100 + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrices_of_a_token_are_counted),
        cmocka_unit_test(vectors_of_compressed_experts_are_counted),
    };

    return cmocka_run_group_tests_name("model.parameters", tests, NULL, NULL);
}
