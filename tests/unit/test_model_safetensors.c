/* Hostile images are built in memory of their exact size, so that a sanitizer
 * sees any read beyond the end. */

#include "model/safetensors.h"
#include "temporary.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

/* u64 length, header, data counting 0, 1, 2, ... */
static unsigned char *
image_of(const char *header, size_t header_bytes, size_t data_bytes)
{
    unsigned char *image = malloc(8 + header_bytes + data_bytes);

    assert_non_null(image);
    for (unsigned i = 0; i < 8; i++) {
        image[i] = (unsigned char)((uint64_t)header_bytes >> (8 * i));
    }
    memcpy(image + 8, header, header_bytes);
    for (size_t i = 0; i < data_bytes; i++) {
        image[8 + header_bytes + i] = (unsigned char)i;
    }
    return image;
}

static enum ce_status parse_bytes(struct ce_safetensors *file,
                                  const char *header,
                                  size_t header_bytes,
                                  size_t data_bytes,
                                  unsigned char **image,
                                  struct ce_error *err)
{
    *image = image_of(header, header_bytes, data_bytes);
    return ce_safetensors_parse(file, *image, 8 + header_bytes + data_bytes, "f", err);
}

/* `why` must be in the message, which begins with the file name. */
static void assert_refused_bytes(const char *header,
                                 size_t header_bytes,
                                 size_t data_bytes,
                                 const char *why)
{
    struct ce_safetensors file;
    struct ce_error err = {.text = ""};
    unsigned char *image;

    assert_int_equal(parse_bytes(&file, header, header_bytes, data_bytes, &image, &err),
                     CE_ERR_FORMAT);
    assert_memory_equal(err.text, "f: ", 3);
    if (strstr(err.text, why) == NULL) {
        fail_msg("'%s' does not say '%s'", err.text, why);
    }
    assert_int_equal(file.count, 0);
    assert_null(file.entries);
    ce_safetensors_close(&file);
    free(image);
}

static void assert_refused(const char *header, size_t data_bytes, const char *why)
{
    assert_refused_bytes(header, strlen(header), data_bytes, why);
}

static void assert_accepted(const char *header, size_t data_bytes, size_t count)
{
    struct ce_safetensors file;
    struct ce_error err = {.text = ""};
    unsigned char *image;
    enum ce_status status =
        parse_bytes(&file, header, strlen(header), data_bytes, &image, &err);

    assert_string_equal(err.text, "");
    assert_int_equal(status, CE_OK);
    assert_int_equal(file.count, count);
    ce_safetensors_close(&file);
    free(image);
}

#define TENSOR(name, dtype, shape, begin, end)                                         \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape                          \
    "],\"data_offsets\":[" begin "," end "]}"

static void tensors_are_found_by_name(void **state)
{
    (void)state;
    const char *header = "{" TENSOR("b", "F32", "2,3", "4", "28") "," TENSOR(
        "a", "BF16", "2", "0", "4") "," TENSOR("c", "U8", "", "28", "29") "}   ";
    struct ce_safetensors file;
    struct ce_error err;
    unsigned char *image;

    assert_int_equal(parse_bytes(&file, header, strlen(header), 29, &image, &err),
                     CE_OK);
    assert_string_equal(file.entries[0].name, "a");
    assert_string_equal(file.entries[2].name, "c");

    const struct ce_tensor *b = ce_safetensors_find(&file, "b");

    assert_non_null(b);
    assert_int_equal(b->dtype, CE_DTYPE_F32);
    assert_int_equal(b->dims, 2);
    assert_int_equal(b->shape[1], 3);
    assert_int_equal(b->bytes, 24);
    assert_int_equal(*(const unsigned char *)b->data, 4);
    assert_int_equal(ce_safetensors_find(&file, "c")->dims, 0);
    assert_null(ce_safetensors_find(&file, "d"));
    assert_null(ce_safetensors_find(&file, "__metadata__"));
    ce_safetensors_close(&file);
    ce_safetensors_close(&file);
    free(image);
}

static void a_file_without_tensors_is_legal(void **state)
{
    (void)state;
    const struct ce_safetensors nothing = {.path = NULL};

    assert_accepted("{}", 0, 0);
    assert_accepted("{\"__metadata__\":null}", 0, 0);
    assert_null(ce_safetensors_find(&nothing, "a"));
    assert_null(ce_safetensors_metadata(&nothing, "a"));
}

static void metadata_is_a_map_of_strings(void **state)
{
    (void)state;
    const char *header = "{\"__metadata__\":{\"format\":\"pt\",\"x\":\"\"}}";
    struct ce_safetensors file;
    struct ce_error err;
    unsigned char *image;

    assert_int_equal(parse_bytes(&file, header, strlen(header), 0, &image, &err),
                     CE_OK);
    assert_string_equal(ce_safetensors_metadata(&file, "format"), "pt");
    assert_string_equal(ce_safetensors_metadata(&file, "x"), "");
    assert_null(ce_safetensors_metadata(&file, "y"));
    ce_safetensors_close(&file);
    free(image);
    assert_refused("{\"__metadata__\":[]}", 0, "metadata: is not an object");
    assert_refused(
        "{\"__metadata__\":{\"a\":\"\",\"b\":1}}", 0, "metadata: b: is not a string");
}

static void every_dtype_of_the_format_is_known(void **state)
{
    (void)state;
    assert_accepted("{" TENSOR("a", "F64", "1", "0", "8") "}", 8, 1);
    assert_accepted("{" TENSOR("a", "I64", "1", "0", "8") "}", 8, 1);
    assert_accepted("{" TENSOR("a", "U64", "1", "0", "8") "}", 8, 1);
    assert_accepted("{" TENSOR("a", "C64", "1", "0", "8") "}", 8, 1);
    assert_accepted("{" TENSOR("a", "I32", "1", "0", "4") "}", 4, 1);
    assert_accepted("{" TENSOR("a", "U32", "1", "0", "4") "}", 4, 1);
    assert_accepted("{" TENSOR("a", "I16", "1", "0", "2") "}", 2, 1);
    assert_accepted("{" TENSOR("a", "U16", "1", "0", "2") "}", 2, 1);
    assert_accepted("{" TENSOR("a", "F16", "1", "0", "2") "}", 2, 1);
    assert_accepted("{" TENSOR("a", "I8", "1", "0", "1") "}", 1, 1);
    assert_accepted("{" TENSOR("a", "BOOL", "1", "0", "1") "}", 1, 1);
    assert_accepted("{" TENSOR("a", "F8_E4M3", "1", "0", "1") "}", 1, 1);
    assert_accepted("{" TENSOR("a", "F8_E8M0", "1", "0", "1") "}", 1, 1);
    assert_accepted("{" TENSOR("a", "F4", "2", "0", "1") "}", 1, 1);
    assert_accepted("{" TENSOR("a", "F6_E2M3", "4", "0", "3") "}", 3, 1);
    assert_refused(
        "{" TENSOR("a", "F4", "3", "0", "1") "}", 1, "whole number of bytes");
    assert_refused("{" TENSOR("a", "F128", "1", "0", "16") "}", 16, "dtype 'F128'");
    assert_refused("{" TENSOR("a", "f32", "1", "0", "4") "}", 4, "dtype 'f32'");
}

static void empty_tensors_are_legal_anywhere(void **state)
{
    (void)state;
    assert_accepted("{" TENSOR("a", "F32", "0", "0", "0") "}", 0, 1);
    assert_accepted("{" TENSOR("a", "U8", "4", "0", "4") "," TENSOR(
                        "b", "F32", "0,7", "4", "4") "}",
                    4,
                    2);
    /* Two at one place: the empty one comes first, whatever the names. */
    assert_accepted("{" TENSOR("a", "U8", "4", "0", "4") "," TENSOR(
                        "b", "F32", "3,0", "0", "0") "}",
                    4,
                    2);
    assert_refused(
        "{" TENSOR("a", "U8", "4", "0", "4") "," TENSOR("b", "F32", "0", "2", "2") "}",
        4,
        "overlaps");
}

static void the_envelope_is_checked(void **state)
{
    (void)state;
    struct ce_safetensors file;
    struct ce_error err;
    unsigned char *image = image_of("{}", 2, 0);

    for (size_t bytes = 0; bytes < 8; bytes++) {
        assert_int_equal(ce_safetensors_parse(&file, image, bytes, "f", &err),
                         CE_ERR_FORMAT);
        assert_non_null(strstr(err.text, "too short"));
    }
    assert_int_equal(ce_safetensors_parse(&file, image, 9, "f", &err), CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "header is cut off"));
    free(image);

    image = image_of("{}", 2, 0);
    memset(image, 0xff, 8);
    assert_int_equal(ce_safetensors_parse(&file, image, 10, "f", &err), CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "larger than 100000000"));
    free(image);
}

static void the_header_begins_with_a_brace(void **state)
{
    (void)state;
    assert_refused("", 0, "begin with '{'");
    assert_refused(" {}", 0, "begin with '{'");
    assert_refused("[]", 0, "begin with '{'");
}

static void the_header_is_strict_json(void **state)
{
    (void)state;
    static const char nul[] = "{}\0\0";

    assert_refused("{\"a\":}", 0, "line 1");
    assert_refused("{} {}", 0, "the end of the text");
    assert_refused_bytes(nul, 4, 0, "line 1");
    assert_refused("{\"a\xff\":{}}", 0, "not UTF-8");
    assert_refused("{\"a\\u0000b\":{}}", 0, "NUL");
    assert_refused("{\"__metadata__\":{\"a\":\"x\\u0000y\"}}", 0, "a: is not a string");
}

static void duplicate_keys_are_refused(void **state)
{
    (void)state;
    assert_refused(
        "{" TENSOR("a", "U8", "1", "0", "1") "," TENSOR("a", "U8", "1", "1", "2") "}",
        2,
        "duplicate");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[],"
                   "\"data_offsets\":[0,1]}}",
                   1,
                   "duplicate");
}

static void fields_have_their_types(void **state)
{
    (void)state;
    assert_refused("{\"a\":1}", 0, "'a': is not an object");
    assert_refused("{\"a\":{\"shape\":[],\"data_offsets\":[0,1]}}", 1, "dtype is not");
    assert_refused("{\"a\":{\"dtype\":1,\"shape\":[],\"data_offsets\":[0,1]}}",
                   1,
                   "dtype is not a string");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "shape");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":1,\"data_offsets\":[0,1]}}",
                   1,
                   "shape is not a list");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[]}}", 1, "[begin, end]");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":{}}}",
                   1,
                   "[begin, end]");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0]}}",
                   1,
                   "[begin, end]");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1,1]}}",
                   1,
                   "[begin, end]");
}

static void a_good_tensor_does_not_excuse_a_bad_one(void **state)
{
    (void)state;
    assert_refused("{\"a\":{}," TENSOR("b", "U8", "1", "0", "1") "}", 1, "'a': dtype");
}

static void unknown_fields_are_ignored(void **state)
{
    (void)state;
    assert_accepted("{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],"
                    "\"note\":\"x\"}}",
                    1,
                    1);
}

static void numbers_are_natural(void **state)
{
    (void)state;
    assert_refused("{" TENSOR("a", "U8", "-1", "0", "1") "}", 1, "non-negative");
    assert_refused("{" TENSOR("a", "U8", "1.0", "0", "1") "}", 1, "non-negative");
    assert_refused("{" TENSOR("a", "U8", "\"1\"", "0", "1") "}", 1, "non-negative");
    assert_refused("{" TENSOR("a", "U8", "1", "-1", "0") "}", 1, "[begin, end]");
    assert_refused("{" TENSOR("a", "U8", "1", "0", "1.0") "}", 1, "[begin, end]");
    assert_refused("{" TENSOR("a", "U8", "1", "0", "1e0") "}", 1, "[begin, end]");
    assert_refused(
        "{" TENSOR("a", "U8", "99999999999999999999", "0", "1") "}", 1, "not made of");
}

static void too_many_dimensions_are_refused(void **state)
{
    (void)state;
    assert_accepted("{" TENSOR("a", "U8", "1,1,1,1,1,1,1,1", "0", "1") "}", 1, 1);
    assert_refused(
        "{" TENSOR("a", "U8", "1,1,1,1,1,1,1,1,1", "0", "1") "}", 1, "8 dimensions");
}

static void sizes_cannot_overflow(void **state)
{
    (void)state;
    assert_refused(
        "{" TENSOR("a", "U8", "4294967296,4294967296", "0", "0") "}", 0, "overflows");
    assert_refused(
        "{" TENSOR("a", "U8", "4294967296,4294967296,0", "0", "0") "}", 0, "overflows");
    assert_refused(
        "{" TENSOR("a", "F32", "4611686018427387904", "0", "0") "}", 0, "overflows");
}

static void offsets_match_the_shape(void **state)
{
    (void)state;
    assert_refused("{" TENSOR("a", "F32", "2", "0", "4") "}", 4, "do not match");
    assert_refused("{" TENSOR("a", "F32", "2", "0", "12") "}", 12, "do not match");
    assert_refused("{" TENSOR("a", "F32", "1", "4", "0") "}", 4, "do not match");
    assert_refused("{" TENSOR("a", "F32", "0", "1", "0") "}", 4, "do not match");
    assert_refused(
        "{" TENSOR("a", "U8", "9223372036854775807", "0", "9223372036854775807") "}",
        4,
        "overflows");
    assert_refused(
        "{" TENSOR("a", "U8", "1", "9223372036854775806", "9223372036854775807") "}",
        4,
        "beyond the end");
}

static void tensors_tile_the_data(void **state)
{
    (void)state;
    assert_refused("{" TENSOR("a", "U8", "2", "1", "3") "}", 3, "hole");
    assert_refused(
        "{" TENSOR("a", "U8", "1", "0", "1") "," TENSOR("b", "U8", "1", "2", "3") "}",
        3,
        "'b': has a hole before it");
    assert_refused(
        "{" TENSOR("a", "U8", "2", "0", "2") "," TENSOR("b", "U8", "2", "1", "3") "}",
        3,
        "'b': overlaps");
    assert_refused(
        "{" TENSOR("a", "U8", "2", "0", "2") "," TENSOR("b", "U8", "2", "0", "2") "}",
        2,
        "overlaps");
}

static void the_file_ends_with_the_last_tensor(void **state)
{
    (void)state;
    const char *header = "{" TENSOR("a", "U8", "4", "0", "4") "}";

    assert_accepted(header, 4, 1);
    assert_refused(header, 3, "beyond the end");
    assert_refused(header, 0, "beyond the end");
    assert_refused(header, 5, "1 bytes follow");
    assert_refused("{}", 1, "1 bytes follow");
}

static void every_truncation_of_a_file_is_refused(void **state)
{
    (void)state;
    const char *header =
        "{" TENSOR("a", "U8", "4", "0", "4") "," TENSOR("b", "F16", "2", "4", "8") "}";
    size_t bytes = 8 + strlen(header) + 8;
    unsigned char *image = image_of(header, strlen(header), 8);
    struct ce_safetensors file;
    struct ce_error err;

    for (size_t cut = 0; cut < bytes; cut++) {
        unsigned char *piece = malloc(cut + 1);

        memcpy(piece, image, cut);
        assert_int_equal(ce_safetensors_parse(&file, piece, cut, "f", &err),
                         CE_ERR_FORMAT);
        free(piece);
    }
    free(image);
}

static void long_names_do_not_overflow_messages(void **state)
{
    (void)state;
    char header[2000];
    int bytes = snprintf(header, sizeof(header), "{\"%01500d\":1}", 0);

    assert_refused_bytes(header, (size_t)bytes, 0, "is not an object");
}

static void opening_names_the_file(void **state)
{
    struct ce_safetensors file;
    struct ce_error err;

    assert_int_equal(ce_safetensors_open(&file, temporary_path(state, "gone"), &err),
                     CE_ERR_IO);
    assert_non_null(strstr(err.text, "/gone: No such file"));
    ce_safetensors_close(&file);

    temporary_write(state, "empty", "", 0);
    assert_int_equal(ce_safetensors_open(&file, temporary_path(state, "empty"), &err),
                     CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "/empty: too short"));
    ce_safetensors_close(&file);
}

static void the_shipped_model_is_read(void **state)
{
    (void)state;
    struct ce_safetensors file;
    struct ce_error err;

    assert_int_equal(
        ce_safetensors_open(&file, CE_MODEL_DIR "/model.safetensors", &err), CE_OK);

    const struct ce_tensor *router =
        ce_safetensors_find(&file, "model.layers.0.mlp.gate.weight");

    assert_non_null(router);
    assert_int_equal(router->dtype, CE_DTYPE_BF16);
    assert_int_equal(router->shape[0], 16);
    assert_int_equal(router->shape[1], 128);
    ce_safetensors_close(&file);
}

#define WITH_FILES(test)                                                               \
    cmocka_unit_test_setup_teardown(test, temporary_setup, temporary_teardown)

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_are_found_by_name),
        cmocka_unit_test(a_file_without_tensors_is_legal),
        cmocka_unit_test(metadata_is_a_map_of_strings),
        cmocka_unit_test(every_dtype_of_the_format_is_known),
        cmocka_unit_test(empty_tensors_are_legal_anywhere),
        cmocka_unit_test(the_envelope_is_checked),
        cmocka_unit_test(the_header_begins_with_a_brace),
        cmocka_unit_test(the_header_is_strict_json),
        cmocka_unit_test(duplicate_keys_are_refused),
        cmocka_unit_test(fields_have_their_types),
        cmocka_unit_test(a_good_tensor_does_not_excuse_a_bad_one),
        cmocka_unit_test(unknown_fields_are_ignored),
        cmocka_unit_test(numbers_are_natural),
        cmocka_unit_test(too_many_dimensions_are_refused),
        cmocka_unit_test(sizes_cannot_overflow),
        cmocka_unit_test(offsets_match_the_shape),
        cmocka_unit_test(tensors_tile_the_data),
        cmocka_unit_test(the_file_ends_with_the_last_tensor),
        cmocka_unit_test(every_truncation_of_a_file_is_refused),
        cmocka_unit_test(long_names_do_not_overflow_messages),
        WITH_FILES(opening_names_the_file),
        cmocka_unit_test(the_shipped_model_is_read),
    };

    return cmocka_run_group_tests_name("model.safetensors", tests, NULL, NULL);
}
