#include "model/safetensors.h"
#include "temporary.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What is not known is 1 dimension of `count` elements. */
static struct ce_safetensors_entry
entry_of(char *name, enum ce_dtype dtype, size_t count, const void *data)
{
    return (struct ce_safetensors_entry){
        .name = name,
        .tensor = {.dtype = dtype,
                   .dims = 1,
                   .shape = {count},
                   .bytes = count * ce_dtype_size(dtype),
                   .data = data},
    };
}

static void what_is_written_is_read_again(void **state)
{
    static const float floats[3] = {1.0F, -2.0F, 3.5F};
    static const unsigned char bytes[3] = {7, 8, 9};
    static const uint16_t halves[1] = {0x3f80};
    char names[5][8] = {"bytes", "half", "float", "none", "\"\n/ü"};
    struct ce_safetensors_entry entries[5] = {
        entry_of(names[0], CE_DTYPE_U8, 3, bytes),
        entry_of(names[1], CE_DTYPE_BF16, 1, halves),
        entry_of(names[2], CE_DTYPE_F32, 3, floats),
        entry_of(names[3], CE_DTYPE_F32, 0, NULL),
        entry_of(names[4], CE_DTYPE_I64, 0, NULL),
    };
    const char *path = temporary_path(state, "a.safetensors");
    struct ce_safetensors file;
    struct ce_error err;

    entries[4].tensor.dims = 3;
    entries[4].tensor.shape[1] = 5;
    entries[4].tensor.shape[2] = 6;
    assert_int_equal(ce_safetensors_write(path, entries, 5, &err), CE_OK);
    assert_int_equal(ce_safetensors_open(&file, path, &err), CE_OK);
    assert_int_equal(file.count, 5);
    assert_string_equal(ce_safetensors_metadata(&file, "format"), "pt");
    for (size_t i = 0; i < 5; i++) {
        const struct ce_tensor *wanted = &entries[i].tensor;
        const struct ce_tensor *found = ce_safetensors_find(&file, names[i]);
        size_t size = ce_dtype_size(wanted->dtype);

        assert_non_null(found);
        assert_int_equal(found->dtype, wanted->dtype);
        assert_int_equal(found->dims, wanted->dims);
        assert_memory_equal(found->shape, wanted->shape, sizeof(wanted->shape));
        assert_int_equal(found->bytes, wanted->bytes);
        assert_int_equal((uintptr_t)found->data % size, 0);
        if (wanted->bytes > 0) {
            assert_memory_equal(found->data, wanted->data, wanted->bytes);
        }
    }
    ce_safetensors_close(&file);
}

static void the_written_data_begins_at_a_multiple_of_8(void **state)
{
    char name[16] = "";
    const struct ce_safetensors_entry entry = entry_of(name, CE_DTYPE_F32, 0, NULL);
    const char *path = temporary_path(state, "a");

    for (size_t length = 0; length < 9; length++) {
        struct ce_file_map map;
        struct ce_error err;

        memset(name, 'n', length);
        assert_int_equal(ce_safetensors_write(path, &entry, 1, &err), CE_OK);
        assert_int_equal(ce_file_map_open(&map, path, &err), CE_OK);
        assert_int_equal(map.bytes % 8, 0);
        assert_int_equal(map.data[0] + 256 * map.data[1] + 8, map.bytes);
        ce_file_map_close(&map);
    }
}

static void the_order_of_the_entries_does_not_matter(void **state)
{
    static const float floats[2] = {1.0F, 2.0F};
    char names[3][2] = {"a", "b", "c"};
    const struct ce_safetensors_entry forward[3] = {
        entry_of(names[0], CE_DTYPE_F32, 1, floats),
        entry_of(names[1], CE_DTYPE_F32, 1, floats + 1),
        entry_of(names[2], CE_DTYPE_BF16, 1, floats),
    };
    const struct ce_safetensors_entry backward[3] = {
        forward[2], forward[1], forward[0]};
    const char *one = temporary_path(state, "one");
    const char *two = temporary_path(state, "two");
    struct ce_file_map first;
    struct ce_file_map second;
    struct ce_error err;

    assert_int_equal(ce_safetensors_write(one, forward, 3, &err), CE_OK);
    assert_int_equal(ce_safetensors_write(two, backward, 3, &err), CE_OK);
    assert_int_equal(ce_file_map_open(&first, one, &err), CE_OK);
    assert_int_equal(ce_file_map_open(&second, two, &err), CE_OK);
    assert_int_equal(first.bytes, second.bytes);
    assert_memory_equal(first.data, second.data, first.bytes);
    ce_file_map_close(&first);
    ce_file_map_close(&second);
}

static void an_empty_list_can_be_written(void **state)
{
    const char *path = temporary_path(state, "a");
    struct ce_safetensors file;
    struct ce_error err;

    assert_int_equal(ce_safetensors_write(path, NULL, 0, &err), CE_OK);
    assert_int_equal(ce_safetensors_open(&file, path, &err), CE_OK);
    assert_int_equal(file.count, 0);
    ce_safetensors_close(&file);
}

static void metadata_are_those_asked_for(void **state)
{
    const struct ce_safetensors_text metadata[3] = {
        {"kind", "affine"}, {"text", "\"\n/ü"}, {"kind", "other"}};
    const struct ce_safetensors_text broken = {"text", "\xff"};
    const char *path = temporary_path(state, "a");
    struct ce_safetensors file;
    struct ce_error err;

    assert_int_equal(ce_safetensors_write_with(path, NULL, 0, metadata, 3, &err),
                     CE_ERR_ARG);
    assert_non_null(strstr(err.text, "'kind': is there twice"));
    assert_int_equal(ce_safetensors_write_with(path, NULL, 0, &broken, 1, &err),
                     CE_ERR_ARG);
    assert_non_null(strstr(err.text, "'text': not UTF-8"));
    assert_false(ce_file_exists(path));
    assert_int_equal(ce_safetensors_write_with(path, NULL, 0, metadata, 2, &err),
                     CE_OK);
    assert_int_equal(ce_safetensors_open(&file, path, &err), CE_OK);
    assert_int_equal(file.metadata_count, 2);
    assert_string_equal(ce_safetensors_metadata(&file, "kind"), "affine");
    assert_string_equal(ce_safetensors_metadata(&file, "text"), "\"\n/ü");
    ce_safetensors_close(&file);
}

static void assert_not_written(void **state,
                               const struct ce_safetensors_entry *entries,
                               size_t count,
                               const char *why)
{
    const char *path = temporary_path(state, "a");
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_safetensors_write(path, entries, count, &err), CE_ERR_ARG);
    if (strstr(err.text, why) == NULL) {
        fail_msg("'%s' does not say '%s'", err.text, why);
    }
    assert_false(ce_file_exists(path));
}

static void what_could_not_be_read_is_not_written(void **state)
{
    static const float floats[2] = {1.0F, 2.0F};
    char name[] = "a";
    char reserved[] = "__metadata__";
    char wrong[] = "\xff";
    struct ce_safetensors_entry entries[2] = {
        entry_of(name, CE_DTYPE_F32, 2, floats),
        entry_of(name, CE_DTYPE_BF16, 2, floats),
    };

    assert_not_written(state, entries, 2, "'a': is there twice");
    entries[0].tensor.bytes = 7;
    assert_not_written(state, entries, 1, "bytes do not match");
    entries[0].tensor.shape[0] = SIZE_MAX / 2;
    assert_not_written(state, entries, 1, "bytes do not match");
    entries[0].tensor.shape[0] = ((size_t)1 << 62) + 2; /* wraps to 8 bytes */
    entries[0].tensor.bytes = 8;
    assert_not_written(state, entries, 1, "bytes do not match");
    entries[0] = entry_of(reserved, CE_DTYPE_F32, 2, floats);
    assert_not_written(state, entries, 1, "reserved");
    entries[0] = entry_of(wrong, CE_DTYPE_F32, 2, floats);
    assert_not_written(state, entries, 1, "UTF-8");
    entries[0] = entry_of(name, CE_DTYPE_OTHER, 2, floats);
    assert_not_written(state, entries, 1, "cannot be written");
    entries[0] = entry_of(name, CE_DTYPE_F32, 2, floats);
    entries[0].tensor.dims = CE_TENSOR_MAX_DIMS + 1;
    assert_not_written(state, entries, 1, "cannot be written");
}

/* A model of 48 layers with 128 experts has 18,867 tensors in 2.5 MB of header;
 * anything quadratic in them takes minutes. */
static void many_tensors_are_fast(void **state)
{
    const size_t count = 20000;
    static const unsigned char data[1] = {0};
    struct ce_safetensors_entry *entries = calloc(count, sizeof(*entries));
    char(*names)[64] = calloc(count, sizeof(*names));
    const char *path = temporary_path(state, "many");
    struct ce_safetensors file;
    struct ce_error err;
    const clock_t start = clock(); /* other programs may keep the cores */

    for (size_t i = 0; i < count; i++) {
        (void)snprintf(names[i],
                       sizeof(names[i]),
                       "model.layers.%zu.mlp.experts.%zu.down_proj.weight",
                       i / 400,
                       i % 400);
        entries[i] = entry_of(names[i], CE_DTYPE_U8, 1, data);
    }
    assert_int_equal(ce_safetensors_write(path, entries, count, &err), CE_OK);
    assert_int_equal(ce_safetensors_open(&file, path, &err), CE_OK);
    for (size_t i = 0; i < count; i++) {
        assert_non_null(ce_safetensors_find(&file, names[i]));
    }
    assert_true(clock() - start < (clock_t)10 * CLOCKS_PER_SEC);
    ce_safetensors_close(&file);
    free(entries);
    free(names);
}

#define WITH_FILES(test)                                                               \
    cmocka_unit_test_setup_teardown(test, temporary_setup, temporary_teardown)

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        WITH_FILES(what_is_written_is_read_again),
        WITH_FILES(the_written_data_begins_at_a_multiple_of_8),
        WITH_FILES(the_order_of_the_entries_does_not_matter),
        WITH_FILES(an_empty_list_can_be_written),
        WITH_FILES(metadata_are_those_asked_for),
        WITH_FILES(what_could_not_be_read_is_not_written),
        WITH_FILES(many_tensors_are_fast),
    };

    return cmocka_run_group_tests_name("model.safetensors_write", tests, NULL, NULL);
}
