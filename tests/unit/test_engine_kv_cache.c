/* Pages are taken, given back and never shared. */

#include "engine/kv_cache.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

enum { LAYERS = 3, KV_HEADS = 2, HEAD_DIM = 8, PAGES = 5, CONTEXT_PAGES = 4 };
enum { HEAD_FLOATS = CE_PAGE_TOKENS * HEAD_DIM };
enum { ROW = KV_HEADS * HEAD_DIM };

struct scene {
    struct ce_arena arena;
    struct ce_kv_cache cache;
};

static const struct ce_config config = {
    .layers = LAYERS, .kv_heads = KV_HEADS, .head_dim = HEAD_DIM};

static void open_scene_of(struct scene *scene, enum ce_dtype dtype, size_t tokens)
{
    struct ce_arena measure;

    ce_arena_measure(&measure);
    ce_kv_cache_take(&scene->cache, &measure, &config, dtype, tokens);
    assert_int_equal(ce_arena_create(&scene->arena, measure.used, NULL), CE_OK);
    ce_kv_cache_take(&scene->cache, &scene->arena, &config, dtype, tokens);
    assert_int_equal(scene->arena.used, measure.used);
    assert_non_null(scene->cache.memory);
}

static void open_scene(struct scene *scene, size_t tokens)
{
    open_scene_of(scene, CE_DTYPE_F32, tokens);
}

static struct ce_sequence start(uint32_t *page)
{
    return (struct ce_sequence){.page = page, .page_capacity = CONTEXT_PAGES};
}

static void reserve(struct scene *scene, struct ce_sequence *sequence, size_t count)
{
    assert_int_equal(ce_sequence_reserve(&scene->cache, sequence, count, NULL), CE_OK);
}

static void sizes_are_whole_pages(void **state)
{
    (void)state;
    static const size_t tokens[] = {1, 15, 16, 17, 32, 33};
    static const size_t pages[] = {1, 1, 1, 2, 2, 3};

    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        struct scene scene;

        open_scene(&scene, tokens[i]);
        assert_int_equal(scene.cache.pages, pages[i]);
        assert_int_equal(scene.cache.free_pages, pages[i]);
        ce_arena_destroy(&scene.arena);
    }
}

/* A value no other has, exact in BF16. */
static float number(size_t page, size_t layer, size_t slot, size_t i, bool is_value)
{
    const size_t n =
        (((page * LAYERS + layer) * CE_PAGE_TOKENS + slot) * ROW + i) * 2 + is_value;

    return ce_f32_from_bf16((uint16_t)(n + 1));
}

static void store_everything(const struct scene *scene, const uint32_t *page)
{
    for (size_t i = 0; i < (size_t)PAGES * LAYERS * CE_PAGE_TOKENS; i++) {
        const size_t position = i / LAYERS;
        const size_t slot = position % CE_PAGE_TOKENS;
        float keys[ROW];
        float values[ROW];

        for (size_t j = 0; j < ROW; j++) {
            keys[j] = number(position / CE_PAGE_TOKENS, i % LAYERS, slot, j, false);
            values[j] = number(position / CE_PAGE_TOKENS, i % LAYERS, slot, j, true);
        }
        ce_kv_cache_store(&scene->cache, page, i % LAYERS, position, keys, values);
    }
}

/* Element `at` of keys or values in a page of a view. */
static float element(const struct ce_kv *kv, const void *array, size_t page, size_t at)
{
    const unsigned char *bytes = (const unsigned char *)array + page * kv->page_bytes;
    float value = 0;

    ce_tensor_widen(&value, bytes + at * ce_dtype_size(kv->dtype), kv->dtype, 1);
    return value;
}

static void check_head(const struct ce_kv *kv, size_t layer, size_t head)
{
    for (size_t i = 0; i < (size_t)PAGES * HEAD_FLOATS; i++) {
        const size_t page = i / HEAD_FLOATS;
        const size_t slot = i / HEAD_DIM % CE_PAGE_TOKENS;
        const size_t d = i % HEAD_DIM;
        const size_t at = head * HEAD_DIM + d;

        assert_true(element(kv, kv->keys, kv->page[page], d * CE_PAGE_TOKENS + slot) ==
                    number(page, layer, slot, at, false));
        assert_true(element(kv, kv->values, kv->page[page], slot * HEAD_DIM + d) ==
                    number(page, layer, slot, at, true));
    }
}

/* Nothing that is stored overwrites anything else, and views find it. */
static void check_places(enum ce_dtype dtype)
{
    static const uint32_t page[PAGES] = {3, 1, 4, 0, 2};
    struct scene scene;

    open_scene_of(&scene, dtype, (size_t)PAGES * CE_PAGE_TOKENS);
    assert_true(scene.arena.used >= (size_t)PAGES * LAYERS * 2 * KV_HEADS *
                                        HEAD_FLOATS * ce_dtype_size(dtype));
    store_everything(&scene, page);
    for (size_t i = 0; i < (size_t)LAYERS * KV_HEADS; i++) {
        const size_t layer = i / KV_HEADS;
        const struct ce_kv kv =
            ce_kv_cache_view(&scene.cache, page, layer, i % KV_HEADS);

        assert_int_equal(kv.dtype, dtype);
        check_head(&kv, layer, i % KV_HEADS);
    }
    ce_arena_destroy(&scene.arena);
}

static void everything_has_its_place(void **state)
{
    (void)state;
    check_places(CE_DTYPE_F32);
    check_places(CE_DTYPE_BF16);
}

static void types_have_names(void **state)
{
    (void)state;
    enum ce_dtype dtype = CE_DTYPE_BOOL;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_kv_dtype_by_name(&dtype, NULL, &err), CE_OK);
    assert_int_equal(dtype, CE_DTYPE_F32);
    assert_int_equal(ce_kv_dtype_by_name(&dtype, "bf16", &err), CE_OK);
    assert_int_equal(dtype, CE_DTYPE_BF16);
    assert_string_equal(ce_kv_dtype_name(dtype), "bf16");
    assert_int_equal(ce_kv_dtype_by_name(&dtype, "f32", &err), CE_OK);
    assert_string_equal(ce_kv_dtype_name(dtype), "f32");
    assert_int_equal(ce_kv_dtype_by_name(&dtype, "f16", &err), CE_ERR_ARG);
    assert_non_null(strstr(err.text, "f32, bf16"));
}

static void pages_are_taken_as_needed(void **state)
{
    (void)state;
    struct scene scene;
    uint32_t page[CONTEXT_PAGES];
    struct ce_sequence sequence = start(page);

    open_scene(&scene, (size_t)PAGES * CE_PAGE_TOKENS);
    reserve(&scene, &sequence, 1);
    assert_int_equal(sequence.pages, 1);
    sequence.length = 1;
    reserve(&scene, &sequence, 15);
    assert_int_equal(sequence.pages, 1);
    sequence.length = 16;
    reserve(&scene, &sequence, 0);
    assert_int_equal(sequence.pages, 1);
    reserve(&scene, &sequence, 1);
    assert_int_equal(sequence.pages, 2);
    sequence.length = 17;
    reserve(&scene, &sequence, 32);
    assert_int_equal(sequence.pages, 4);
    assert_int_equal(scene.cache.free_pages, 1);
    ce_sequence_release(&scene.cache, &sequence);
    assert_int_equal(scene.cache.free_pages, PAGES);
    assert_int_equal(sequence.pages, 0);
    assert_int_equal(sequence.length, 0);
    ce_sequence_release(&scene.cache, &sequence);
    assert_int_equal(scene.cache.free_pages, PAGES);
    ce_arena_destroy(&scene.arena);
}

/* The pages of all sequences and the free ones are all pages, each once. */
static void assert_each_page_once(const struct scene *scene,
                                  const struct ce_sequence *sequence,
                                  size_t count)
{
    size_t seen[PAGES] = {0};

    for (size_t s = 0; s < count; s++) {
        for (size_t i = 0; i < sequence[s].pages; i++) {
            assert_in_range(sequence[s].page[i], 0, PAGES - 1);
            seen[sequence[s].page[i]]++;
        }
    }
    for (size_t i = 0; i < scene->cache.free_pages; i++) {
        assert_in_range(scene->cache.free_page[i], 0, PAGES - 1);
        seen[scene->cache.free_page[i]]++;
    }
    for (size_t i = 0; i < PAGES; i++) {
        assert_int_equal(seen[i], 1);
    }
}

static void a_page_has_one_owner(void **state)
{
    (void)state;
    struct scene scene;
    uint32_t page[3][CONTEXT_PAGES];
    struct ce_sequence sequence[3];

    open_scene(&scene, (size_t)PAGES * CE_PAGE_TOKENS);
    for (size_t s = 0; s < 3; s++) {
        sequence[s] = start(page[s]);
    }
    for (size_t i = 0; i < 1000; i++) { /* grown and given back in turn */
        struct ce_sequence *s = &sequence[i * 7 % 3];

        if (i % 5 == 4) {
            ce_sequence_release(&scene.cache, s);
        } else if (ce_sequence_reserve(&scene.cache, s, i % 30, NULL) == CE_OK) {
            s->length += i % 30;
        }
        assert_each_page_once(&scene, sequence, 3);
    }
    for (size_t s = 0; s < 3; s++) {
        ce_sequence_release(&scene.cache, &sequence[s]);
    }
    assert_int_equal(scene.cache.free_pages, PAGES);
    ce_arena_destroy(&scene.arena);
}

static void a_full_cache_takes_nothing(void **state)
{
    (void)state;
    struct scene scene;
    uint32_t page[2][CONTEXT_PAGES];
    struct ce_sequence first = start(page[0]);
    struct ce_sequence second = start(page[1]);
    struct ce_error err = {.text = ""};

    open_scene(&scene, (size_t)PAGES * CE_PAGE_TOKENS);
    reserve(&scene, &first, 49);
    reserve(&scene, &second, 3);
    second.length = 3;
    assert_int_equal(scene.cache.free_pages, 0);
    reserve(&scene, &second, 13);
    assert_int_equal(ce_sequence_reserve(&scene.cache, &second, 14, &err),
                     CE_ERR_NOMEM);
    assert_non_null(strstr(err.text, "the KV cache is full"));
    assert_int_equal(second.pages, 1);
    assert_int_equal(second.length, 3);
    ce_sequence_release(&scene.cache, &first);
    reserve(&scene, &second, 14);
    assert_int_equal(second.pages, 2);
    assert_int_equal(ce_sequence_reserve(&scene.cache, &first, 64, &err), CE_ERR_NOMEM);
    assert_int_equal(first.pages, 0);
    assert_int_equal(scene.cache.free_pages, PAGES - 2);
    reserve(&scene, &first, 48);
    ce_arena_destroy(&scene.arena);
}

static void beyond_the_context_takes_nothing(void **state)
{
    (void)state;
    struct scene scene;
    uint32_t page[CONTEXT_PAGES];
    struct ce_sequence sequence = start(page);
    struct ce_error err = {.text = ""};

    open_scene(&scene, (size_t)PAGES * CE_PAGE_TOKENS);
    assert_int_equal(ce_sequence_reserve(&scene.cache, &sequence, 65, &err),
                     CE_ERR_ARG);
    assert_non_null(strstr(err.text, "65 tokens"));
    assert_int_equal(sequence.pages, 0);
    reserve(&scene, &sequence, 64);
    sequence.length = 64;
    assert_int_equal(ce_sequence_reserve(&scene.cache, &sequence, 1, &err), CE_ERR_ARG);
    assert_int_equal(sequence.pages, CONTEXT_PAGES);
    assert_int_equal(scene.cache.free_pages, 1);
    ce_arena_destroy(&scene.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_whole_pages),
        cmocka_unit_test(everything_has_its_place),
        cmocka_unit_test(types_have_names),
        cmocka_unit_test(pages_are_taken_as_needed),
        cmocka_unit_test(a_page_has_one_owner),
        cmocka_unit_test(a_full_cache_takes_nothing),
        cmocka_unit_test(beyond_the_context_takes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
