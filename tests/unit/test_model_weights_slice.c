/* Slices of matrices: which rows they are, and that they hold what the whole holds. */

#include "model/weights_internal.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

enum { D = 96, F = 72, EXPERTS = 3, VOCAB = 40, MOST_RANKS = 9 };

static const struct ce_config config = {.hidden_size = D,
                                        .intermediate_size = F,
                                        .layers = 2,
                                        .heads = 2,
                                        .kv_heads = 2,
                                        .head_dim = D / 2,
                                        .experts = EXPERTS,
                                        .top_k = 2,
                                        .vocab_size = VOCAB,
                                        .dtype = CE_DTYPE_BF16};
static const unsigned char owned[2 * EXPERTS] = {1, 1, 1, 1, 1, 1};

static void slices_are_panels_that_cover_all(void **state)
{
    (void)state;
    for (size_t outputs = 1; outputs <= 200; outputs++) {
        for (size_t ranks = 1; ranks <= MOST_RANKS; ranks++) {
            size_t next = 0;
            size_t least = outputs;
            size_t most = 0;

            for (size_t r = 0; r < ranks; r++) {
                const struct ce_slice slice =
                    ce_weights_slice((struct ce_weights_split){r, ranks}, outputs);

                assert_int_equal(slice.first, next);
                next += slice.count;
                assert_true(next == outputs || next % CE_QUANTISED_PANEL == 0);
                least = slice.count < least ? slice.count : least;
                most = slice.count > most ? slice.count : most;
            }
            assert_int_equal(next, outputs);
            assert_true(most - least < 2 * CE_QUANTISED_PANEL);
        }
    }
}

static void no_split_is_the_whole(void **state)
{
    (void)state;
    const struct ce_slice slice = ce_weights_slice((struct ce_weights_split){0}, 1000);

    assert_int_equal(slice.first, 0);
    assert_int_equal(slice.count, 1000);
}

/* Rows `slice` of the whole, which are one run of bytes in every format. */
static void check_matrix(const struct ce_matrix *part,
                         const struct ce_matrix *whole,
                         struct ce_slice slice)
{
    const size_t bytes =
        ce_weights_matrix_bytes(part->dtype, slice.count, whole->inputs);
    const size_t before =
        ce_weights_matrix_bytes(part->dtype, slice.first, whole->inputs);

    assert_int_equal(part->dtype, whole->dtype);
    assert_int_equal(part->inputs, whole->inputs);
    assert_int_equal(part->outputs, slice.count);
    assert_non_null(part->data);
    assert_memory_equal(part->data, (const unsigned char *)whole->data + before, bytes);
}

static void compare(const struct ce_weights *part,
                    const struct ce_weights *whole,
                    struct ce_weights_split split)
{
    for (size_t i = 0; i < config.layers * EXPERTS; i++) {
        const struct ce_expert_weights *p = &part->experts[i];
        const struct ce_expert_weights *w = &whole->experts[i];

        check_matrix(&p->gate, &w->gate, ce_weights_slice(split, F));
        check_matrix(&p->up, &w->up, ce_weights_slice(split, F));
        check_matrix(&p->down, &w->down, ce_weights_slice(split, D));
    }
    for (size_t l = 0; l < config.layers; l++) {
        const struct ce_layer_weights *p = &part->layers[l];
        const struct ce_layer_weights *w = &whole->layers[l];

        check_matrix(&p->q, &w->q, ce_weights_slice(split, D));
        check_matrix(&p->k, &w->k, ce_weights_slice(split, D));
        check_matrix(&p->v, &w->v, ce_weights_slice(split, D));
        check_matrix(&p->o, &w->o, ce_weights_slice(split, D));
        check_matrix(&p->router, &w->router, (struct ce_slice){0, EXPERTS});
    }
    check_matrix(&part->output, &whole->output, ce_weights_slice(split, VOCAB));
    check_matrix(&part->embedding, &whole->embedding, (struct ce_slice){0, VOCAB});
}

/* Of the embedding, the routers and the norms. */
static size_t unsplit_bytes(const struct ce_weights *weights)
{
    const struct ce_matrix *embedding = &weights->embedding;

    return ce_weights_matrix_bytes(embedding->dtype, VOCAB, D) +
           config.layers *
               (ce_weights_matrix_bytes(weights->layers[0].router.dtype, EXPERTS, D) +
                4 * D * sizeof(float)) +
           D * sizeof(float);
}

/* The embedding stays whole; as output matrix a rank uses its slice of it. */
static void tied_output_is_a_slice_of_the_embedding(void **state)
{
    (void)state;
    struct ce_config tied = config;
    struct ce_error err = {.text = ""};
    const struct ce_weight_formats formats = {.dense = CE_WEIGHTS_Q8};

    tied.tie_word_embeddings = true;
    for (size_t r = 0; r < MOST_RANKS; r++) {
        const struct ce_weights_split split = {r, MOST_RANKS};
        const struct ce_slice slice = ce_weights_slice(split, VOCAB);
        struct ce_weights part;

        assert_int_equal(ce_weights_dummy(&part, &tied, owned, split, formats, 7, &err),
                         CE_OK);
        assert_int_equal(part.embedding.outputs, VOCAB);
        check_matrix(&part.output, &part.embedding, slice);
        assert_ptr_equal(part.output.data,
                         (const unsigned char *)part.embedding.data +
                             slice.first * D * sizeof(uint16_t));
        ce_weights_destroy(&part);
    }
}

static void dummy_slices_are_those_of_the_whole(void **state)
{
    (void)state;
    struct ce_error err = {.text = ""};

    for (int format = 0; format < CE_WEIGHT_FORMATS; format++) {
        const struct ce_weight_formats formats = {(enum ce_weight_format)format,
                                                  (enum ce_weight_format)format};
        struct ce_weights whole;
        size_t sum = 0;
        size_t dense = 0;

        assert_int_equal(
            ce_weights_dummy(
                &whole, &config, owned, (struct ce_weights_split){0}, formats, 7, &err),
            CE_OK);
        for (size_t r = 0; r < MOST_RANKS; r++) {
            const struct ce_weights_split split = {r, MOST_RANKS};
            struct ce_weights part;

            assert_int_equal(
                ce_weights_dummy(&part, &config, owned, split, formats, 7, &err),
                CE_OK);
            compare(&part, &whole, split);
            sum += part.expert_bytes;
            dense += part.dense_bytes - unsplit_bytes(&part);
            ce_weights_destroy(&part);
        }
        assert_int_equal(sum, whole.expert_bytes);
        assert_int_equal(dense, whole.dense_bytes - unsplit_bytes(&whole));
        ce_weights_destroy(&whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_are_panels_that_cover_all),
        cmocka_unit_test(no_split_is_the_whole),
        cmocka_unit_test(dummy_slices_are_those_of_the_whole),
        cmocka_unit_test(tied_output_is_a_slice_of_the_embedding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
