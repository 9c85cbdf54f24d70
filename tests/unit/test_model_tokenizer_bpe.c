/* The two ways to merge, and very long texts. */

#include "base/random.h"
#include "model/tokenizer/bpe.h"
#include "tokenizer_fixture.h"

static json_t *pack_pair(const char *text, size_t cut)
{
    return json_pack("[o, o]", json_stringn(text, cut), json_string(text + cut));
}

/* All strings of a and b up to four characters, and all ways to make them, in an
 * order that makes no sense. */
static json_t *create_model(void)
{
    json_t *vocab = json_object();
    json_t *merges = json_array();
    char word[8][32][8];
    int words[8] = {0};
    int id = 0;

    for (int length = 1; length <= 4; length++) {
        for (unsigned bits = 0; bits < 1U << length; bits++, words[length]++) {
            char *text = word[length][words[length]];

            for (int i = 0; i < length; i++) {
                text[i] = (bits >> i & 1U) != 0 ? 'b' : 'a';
            }
            text[length] = '\0';
            assert_int_equal(json_object_set_new(vocab, text, json_integer(id++)), 0);
        }
    }
    for (int whole = 2; whole <= 4; whole++) {
        for (int nth = 0; nth < words[whole]; nth++) {
            const char *text = word[whole][nth];
            size_t cut = (size_t)(ce_random_unit(3, (uint64_t)nth, (uint64_t)whole) *
                                  (whole - 1)) +
                         1;

            assert_int_equal(
                json_array_insert_new(merges,
                                      (size_t)nth % (json_array_size(merges) + 1),
                                      pack_pair(text, cut)),
                0);
        }
    }
    return json_pack("{s:o, s:o}", "vocab", vocab, "merges", merges);
}

/* What bpe.h says, word by word. */
static size_t merge_simply(const struct ce_bpe *bpe, int32_t *id, size_t count)
{
    for (;;) {
        const struct ce_merge *best = NULL;
        size_t at = 0;

        for (size_t i = 0; i + 1 < count; i++) {
            const struct ce_merge *merge =
                ce_merges_find(&bpe->merges, id[i], id[i + 1]);

            if (merge != NULL && (best == NULL || merge->rank < best->rank)) {
                best = merge;
                at = i;
            }
        }
        if (best == NULL) {
            return count;
        }
        id[at] = best->id;
        count--;
        memmove(&id[at + 1], &id[at + 2], (count - at - 1) * sizeof(*id));
    }
}

static void check_piece(const struct ce_bpe *bpe,
                        struct ce_bpe_scratch *scratch,
                        struct ce_span piece)
{
    struct ce_ids ids = {.id = NULL};
    struct ce_error err = {.text = ""};
    int32_t simple[256];

    for (size_t i = 0; i < piece.bytes; i++) {
        simple[i] = bpe->byte_id[(unsigned char)piece.data[i]];
    }
    size_t count = merge_simply(bpe, simple, piece.bytes);

    assert_int_equal(ce_bpe_encode(bpe, scratch, piece, &ids, &err), CE_OK);
    assert_int_equal(ids.count, count);
    assert_memory_equal(ids.id, simple, count * sizeof(*simple));
    ce_ids_free(&ids);
}

static void every_length_merges_as_defined(void **state)
{
    (void)state;
    json_t *model = create_model();
    struct ce_bpe bpe = {.byte_level = false};
    struct ce_bpe_scratch scratch = {.capacity = 0};
    struct ce_error err = {.text = ""};
    char text[256];

    assert_int_equal(ce_bpe_read(&bpe, model, true, "t.json", &err), CE_OK);
    for (size_t bytes = 1; bytes < sizeof(text); bytes++) {
        for (uint64_t round = 0; round < 4; round++) {
            for (size_t i = 0; i < bytes; i++) {
                text[i] = ce_random_unit(round, bytes, i) < 0.5 ? 'a' : 'b';
            }
            check_piece(&bpe, &scratch, (struct ce_span){.data = text, .bytes = bytes});
        }
    }
    ce_bpe_scratch_fini(&scratch);
    ce_bpe_fini(&bpe);
    json_decref(model);
}

/* `unit` over and over, 5 MB of it, comes back whole. */
static void assert_long_text_survives(const struct ce_tokenizer *tokenizer,
                                      const char *unit)
{
    size_t step = strlen(unit);
    size_t bytes = 5000000 / step * step;
    char *text = malloc(bytes);
    struct ce_ids ids = {.id = NULL};
    struct ce_text back = {.data = NULL};
    struct ce_error err = {.text = ""};

    assert_non_null(text);
    for (size_t i = 0; i < bytes; i++) {
        text[i] = unit[i % step];
    }
    if (ce_tokenizer_encode(tokenizer, text, bytes, false, &ids, &err) != CE_OK ||
        ce_tokenizer_decode(tokenizer, ids.id, ids.count, false, &back, &err) !=
            CE_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(back.bytes, bytes);
    assert_memory_equal(back.data, text, bytes);
    ce_text_free(&back);
    ce_ids_free(&ids);
    free(text);
}

static void megabytes_of_one_class_are_encoded(void **state)
{
    (void)state;
    static const char *const units[] = {"a", " ", "1.", "\xE6\xBC\xA2"};
    struct ce_tokenizer *tokenizer = NULL;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_tokenizer_open(&tokenizer, CE_MODEL_DIR, &err), CE_OK);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        assert_long_text_survives(tokenizer, units[i]);
    }
    ce_tokenizer_close(tokenizer);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_merges_as_defined),
        cmocka_unit_test(megabytes_of_one_class_are_encoded),
    };

    return cmocka_run_group_tests_name("model.tokenizer_bpe", tests, NULL, NULL);
}
