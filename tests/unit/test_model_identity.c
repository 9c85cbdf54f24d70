/* The identity of a model: alike for any cut of reading it, unlike after any change. */

#include "base/hash.h"
#include "base/random.h"
#include "model/identity_read.h"
#include "model/pack.h"
#include "model/packed_model.h"
#include "temporary.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

/* ---- chunks ---- */

static unsigned char *random_bytes(size_t count, uint64_t seed)
{
    unsigned char *bytes = malloc(count + 1);

    assert_non_null(bytes);
    for (size_t i = 0; i < count; i++) {
        bytes[i] = (unsigned char)(ce_random_unit(seed, i, 0) * 256);
    }
    return bytes;
}

static uint64_t whole(const unsigned char *bytes, size_t count)
{
    return ce_identity_chunks(ce_kernels_get(CE_ISA_REF), bytes, count, 0, count);
}

static void any_cut_adds_up_to_the_whole(void **state)
{
    (void)state;
    const struct ce_kernels *kernels = ce_kernels_get(ce_isa_detect());
    const size_t sizes[] = {0, 1, 4096, 65535, 65536, 65537, 131072, 400001};

    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        const size_t count = sizes[s];
        unsigned char *bytes = random_bytes(count, s);

        for (uint64_t series = 0; series < 50; series++) {
            uint64_t sum = 0;
            size_t at = 0;

            while (at < count) {
                const double unit = ce_random_unit(series, at, 1);
                size_t end = at + 1 + (size_t)(unit * unit * 200000);

                end = end < count ? end : count;
                sum += ce_identity_chunks(kernels, bytes, count, at, end);
                at = end;
            }
            assert_true(sum == whole(bytes, count));
        }
        free(bytes);
    }
}

static void any_flipped_bit_is_found(void **state)
{
    (void)state;
    const size_t count = 200003;
    unsigned char *bytes = random_bytes(count, 1);
    const uint64_t before = whole(bytes, count);

    for (size_t i = 0; i < count; i += 997) {
        bytes[i] ^= (unsigned char)(1U << (i % 8));
        assert_true(whole(bytes, count) != before);
        bytes[i] ^= (unsigned char)(1U << (i % 8));
    }
    assert_true(whole(bytes, count) == before);
    free(bytes);
}

static void chunks_have_their_places(void **state)
{
    (void)state;
    const size_t count = 3 * CE_IDENTITY_CHUNK;
    unsigned char *bytes = random_bytes(count, 2);
    unsigned char *swapped = random_bytes(count, 2);

    memcpy(swapped, bytes + CE_IDENTITY_CHUNK, CE_IDENTITY_CHUNK);
    memcpy(swapped + CE_IDENTITY_CHUNK, bytes, CE_IDENTITY_CHUNK);
    assert_true(whole(swapped, count) != whole(bytes, count));
    free(bytes);
    free(swapped);
}

/* ---- the shipped model ---- */

struct model {
    struct ce_config config;
    struct ce_checkpoint checkpoint;
    unsigned char *owned;
    struct ce_weights_request request;
};

#define assert_ok(call)                                                                \
    do {                                                                               \
        if ((call) != CE_OK) {                                                         \
            fail_msg("%s: %s", #call, err.text);                                       \
        }                                                                              \
    } while (0)

static void model_open(struct model *model, const char *dir)
{
    struct ce_error err = {.text = ""};

    *model = (struct model){.owned = NULL};
    assert_ok(ce_config_load(&model->config, dir, &err));
    assert_ok(ce_checkpoint_open(&model->checkpoint, dir, &err));
    model->owned = calloc(model->config.layers * model->config.experts, 1);
    assert_non_null(model->owned);
    model->request = (struct ce_weights_request){.config = &model->config,
                                                 .checkpoint = &model->checkpoint,
                                                 .owned = model->owned,
                                                 .kernels = ce_kernels_get(CE_ISA_REF)};
}

static void model_close(struct model *model)
{
    ce_checkpoint_close(&model->checkpoint);
    free(model->owned);
}

enum { MOST_RANKS = 5 };

/* What `ranks` ranks make of it together, each with a share of the experts, or with
 * `split` of every expert. */
static uint64_t load_on_ranks(struct model *model, size_t ranks, bool split)
{
    const size_t experts = model->config.layers * model->config.experts;
    struct ce_identity of[MOST_RANKS] = {{.count = 0}};
    const struct ce_identity_mark *all[MOST_RANKS] = {NULL};
    size_t count[MOST_RANKS] = {0};
    struct ce_identity_difference found;
    struct ce_error err = {.text = ""};

    for (size_t r = 0; r < ranks; r++) {
        struct ce_weights_request request = model->request;
        struct ce_weights weights = {0};
        size_t missing = 0;

        for (size_t e = 0; e < experts; e++) {
            model->owned[e] = split || (e * 7 + e / 5) % ranks == r;
        }
        if (split) {
            request.split = (struct ce_weights_split){r, ranks};
        }
        request.identity = &of[r];
        assert_ok(ce_weights_load(&weights, &request, &missing, &err));
        ce_weights_destroy(&weights);
        all[r] = of[r].mark;
        count[r] = of[r].count;
    }
    assert_false(ce_identity_find_difference(all, count, (int)ranks, &found));
    assert_ok(ce_identity_combine(&of[0], all, (int)ranks, &err));
    const uint64_t sum = ce_identity_sum(&of[0], false, CE_HASH_START);

    for (size_t r = 0; r < ranks; r++) {
        ce_identity_free(&of[r]);
    }
    return sum;
}

/* The same from a reading without loading. */
static uint64_t read_in_parts(struct model *model, size_t parts)
{
    struct ce_identity of[MOST_RANKS] = {{.count = 0}};
    const struct ce_identity_mark *all[MOST_RANKS];
    struct ce_error err = {.text = ""};

    for (size_t p = 0; p < parts; p++) {
        assert_ok(ce_identity_read(&of[p], &model->request, p, parts, &err));
        all[p] = of[p].mark;
    }
    assert_ok(ce_identity_combine(&of[0], all, (int)parts, &err));
    const uint64_t sum = ce_identity_sum(&of[0], false, CE_HASH_START);

    for (size_t p = 0; p < parts; p++) {
        ce_identity_free(&of[p]);
    }
    return sum;
}

static void ranks_splits_and_formats_do_not_matter(void **state)
{
    (void)state;
    struct model model;

    model_open(&model, CE_MODEL_DIR);
    const uint64_t alone = load_on_ranks(&model, 1, false);

    for (size_t ranks = 2; ranks <= MOST_RANKS; ranks++) {
        assert_true(load_on_ranks(&model, ranks, false) == alone);
        assert_true(load_on_ranks(&model, ranks, true) == alone);
        assert_true(read_in_parts(&model, ranks) == alone);
    }
    model.request.formats = (struct ce_weight_formats){CE_WEIGHTS_Q4, CE_WEIGHTS_Q8};
    assert_true(load_on_ranks(&model, 1, false) == alone);
    assert_true(load_on_ranks(&model, 3, true) == alone);
    model_close(&model);
}

static void a_packed_model_says_what_it_was_packed_from(void **state)
{
    const char *path = temporary_path(state, "packed");
    struct ce_pack_report report = {.count = 0};
    struct ce_packed_file file;
    struct ce_error err = {.text = ""};
    struct model model;

    model_open(&model, CE_MODEL_DIR);
    const uint64_t alone = load_on_ranks(&model, 1, false);

    model.request.formats.experts = CE_WEIGHTS_Q8;
    assert_ok(ce_pack(&report, &model.request, path, model.request.kernels, &err));
    assert_ok(ce_packed_file_open(&file, path, model.request.kernels, &err));
    assert_true(file.source.content_hash == alone);
    ce_packed_file_close(&file);
    ce_pack_report_free(&report);
    model_close(&model);
}

/* ---- another model of the same shapes ---- */

static void copy_file(const char *from, const char *to)
{
    char *text = NULL;
    size_t bytes = 0;
    struct ce_error err = {.text = ""};

    assert_ok(ce_file_read(from, SIZE_MAX / 2, &text, &bytes, &err));
    assert_ok(ce_file_write_atomic(to, text, bytes, &err));
    free(text);
}

#define CHANGED "model.layers.1.mlp.experts.3.down_proj.weight"

/* A copy of the shipped model with one byte of one tensor changed, `at` bytes from its
 * beginning. */
static void write_changed(void **state, size_t at)
{
    char *text = NULL;
    size_t bytes = 0;
    struct ce_safetensors file;
    struct ce_error err = {.text = ""};

    copy_file(CE_MODEL_DIR "/config.json", temporary_path(state, "config.json"));
    assert_ok(ce_file_read(
        CE_MODEL_DIR "/model.safetensors", SIZE_MAX / 2, &text, &bytes, &err));
    assert_ok(ce_safetensors_parse(&file, text, bytes, "image", &err));
    const unsigned char *data = ce_safetensors_find(&file, CHANGED)->data;

    text[(size_t)(data - (const unsigned char *)text) + at] ^= 1;
    ce_safetensors_close(&file);
    assert_ok(ce_file_write_atomic(
        temporary_path(state, "model.safetensors"), text, bytes, &err));
    free(text);
}

static void a_byte_inside_an_expert_is_found(void **state)
{
    const size_t places[] = {0, 5001, 8000};
    struct ce_identity of[2] = {{.count = 0}};
    struct ce_error err = {.text = ""};
    struct model model;
    struct model changed;

    model_open(&model, CE_MODEL_DIR);
    const uint64_t alone = load_on_ranks(&model, 1, false);

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct ce_identity_difference found;

        write_changed(state, places[i]);
        model_open(&changed, temporary_path(state, ""));
        assert_true(load_on_ranks(&changed, 1, false) != alone);
        assert_true(load_on_ranks(&changed, 2, true) != alone);
        assert_ok(ce_identity_read(&of[0], &model.request, 0, 0, &err));
        assert_ok(ce_identity_read(&of[1], &changed.request, 0, 0, &err));
        const struct ce_identity_mark *all[] = {of[0].mark, of[1].mark};
        const size_t count[] = {of[0].count, of[1].count};

        assert_true(ce_identity_find_difference(all, count, 2, &found));
        assert_string_equal(of[0].tensor[found.tensor].name, CHANGED);
        assert_false(found.kind);
        ce_identity_free(&of[0]);
        ce_identity_free(&of[1]);
        model_close(&changed);
    }
    model_close(&model);
}

/* ---- ranks ---- */

static struct ce_identity_mark mark(uint64_t content, enum ce_identity_cover cover)
{
    return (struct ce_identity_mark){7, content, cover};
}

static void only_what_two_have_in_whole_is_compared(void **state)
{
    (void)state;
    const struct ce_identity_mark first[] = {mark(1, CE_IDENTITY_WHOLE),
                                             mark(0, CE_IDENTITY_NONE),
                                             mark(3, CE_IDENTITY_PART)};
    const struct ce_identity_mark second[] = {mark(1, CE_IDENTITY_WHOLE),
                                              mark(2, CE_IDENTITY_WHOLE),
                                              mark(4, CE_IDENTITY_PART)};
    struct ce_identity_mark third[] = {mark(1, CE_IDENTITY_WHOLE),
                                       mark(2, CE_IDENTITY_WHOLE),
                                       mark(0, CE_IDENTITY_NONE)};
    const struct ce_identity_mark *all[] = {first, second, third};
    size_t count[] = {3, 3, 3};
    struct ce_identity_difference found;

    assert_false(ce_identity_find_difference(all, count, 3, &found));
    third[1].content = 5; /* of a tensor that rank 0 does not have */
    assert_true(ce_identity_find_difference(all, count, 3, &found));
    assert_int_equal(found.tensor, 1);
    assert_int_equal(found.rank, 2);
    assert_int_equal(found.other, 1);
    assert_false(found.kind);
    third[1].content = 2;
    third[2].kind = 8;
    assert_true(ce_identity_find_difference(all, count, 3, &found));
    assert_int_equal(found.tensor, 2);
    assert_int_equal(found.other, 0);
    assert_true(found.kind);
    third[2].kind = 7;
    count[1] = 2;
    assert_true(ce_identity_find_difference(all, count, 3, &found));
    assert_int_equal(found.tensor, 2);
    assert_int_equal(found.rank, 1);
    assert_true(found.kind);
}

static void what_nobody_read_has_no_identity(void **state)
{
    (void)state;
    const struct ce_tensor_slot slot = {.name = "unread", .dims = 1, .shape = {4}};
    struct ce_identity identity = {.count = 0};
    struct ce_error err = {.text = ""};

    assert_ok(ce_identity_add(&identity, &slot, "F32", &err));
    const struct ce_identity_mark *all[] = {identity.mark};

    assert_int_equal(ce_identity_combine(&identity, all, 1, &err), CE_ERR_MISMATCH);
    assert_non_null(strstr(err.text, "unread"));
    ce_identity_free(&identity);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_cut_adds_up_to_the_whole),
        cmocka_unit_test(any_flipped_bit_is_found),
        cmocka_unit_test(chunks_have_their_places),
        cmocka_unit_test(ranks_splits_and_formats_do_not_matter),
        cmocka_unit_test_setup_teardown(a_packed_model_says_what_it_was_packed_from,
                                        temporary_setup,
                                        temporary_teardown),
        cmocka_unit_test_setup_teardown(
            a_byte_inside_an_expert_is_found, temporary_setup, temporary_teardown),
        cmocka_unit_test(only_what_two_have_in_whole_is_compared),
        cmocka_unit_test(what_nobody_read_has_no_identity),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
