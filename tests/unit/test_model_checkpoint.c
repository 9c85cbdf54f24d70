#include "base/log.h"
#include "model/checkpoint.h"
#include "temporary.h"
#include "test.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SINGLE "model.safetensors"
#define INDEX  "model.safetensors.index.json"

/* One file of float tensors [2, 3]; each letter of `names` is one. */
static void write_tensors(void **state, const char *file, const char *names)
{
    static const float data[6] = {1, 2, 3, 4, 5, 6};
    struct ce_safetensors_entry entries[8];
    char name[8][2];
    struct ce_error err;
    size_t count = 0;

    for (; names[count] != '\0'; count++) {
        name[count][0] = names[count];
        name[count][1] = '\0';
        entries[count] = (struct ce_safetensors_entry){
            .name = name[count],
            .tensor = {.dims = 2, .shape = {2, 3}, .bytes = 24, .data = data}};
    }
    assert_int_equal(
        ce_safetensors_write(temporary_path(state, file), entries, count, &err), CE_OK);
}

static void write_text(void **state, const char *name, const char *text)
{
    temporary_write(state, name, text, strlen(text));
}

/* Two shards: one.safetensors with a and b, two.safetensors with c. */
static void write_shards(void **state)
{
    write_tensors(state, "one.safetensors", "ab");
    write_tensors(state, "two.safetensors", "c");
}

#define MAP(a, b, c)                                                                   \
    "{\"metadata\": {\"total_size\": 1.5e3}, \"weight_map\": {\"a\": \"" a             \
    "\", \"c\": \"" c "\", \"b\": \"" b "\"}}"
#define ONE "one.safetensors"
#define TWO "two.safetensors"

static void assert_refused(void **state, enum ce_status code, const char *why)
{
    struct ce_checkpoint checkpoint;
    struct ce_error err = {.text = ""};

    assert_int_equal(ce_checkpoint_open(&checkpoint, temporary_path(state, ""), &err),
                     code);
    if (strstr(err.text, why) == NULL) {
        fail_msg("'%s' does not say '%s'", err.text, why);
    }
    assert_null(checkpoint.dir);
    assert_int_equal(checkpoint.files, 0);
    ce_checkpoint_close(&checkpoint);
}

static void a_single_file_is_opened(void **state)
{
    struct ce_checkpoint checkpoint;
    struct ce_error err;
    const char *path = NULL;

    write_tensors(state, SINGLE, "a");
    assert_int_equal(ce_checkpoint_open(&checkpoint, temporary_path(state, ""), &err),
                     CE_OK);
    assert_int_equal(checkpoint.files, 1);
    assert_int_equal(checkpoint.count, 1);
    assert_non_null(ce_checkpoint_find(&checkpoint, "a", &path));
    assert_string_equal(path, temporary_path(state, SINGLE));
    assert_null(ce_checkpoint_find(&checkpoint, "b", NULL));
    ce_checkpoint_close(&checkpoint);
    ce_checkpoint_close(&checkpoint);
    assert_null(ce_checkpoint_find(&checkpoint, "a", NULL));
}

static void shards_are_opened_by_the_index(void **state)
{
    struct ce_checkpoint checkpoint;
    struct ce_error err;
    const char *path = NULL;

    write_shards(state);
    write_text(state, INDEX, MAP(ONE, ONE, TWO));
    assert_int_equal(ce_checkpoint_open(&checkpoint, temporary_path(state, ""), &err),
                     CE_OK);
    assert_int_equal(checkpoint.files, 2);
    assert_int_equal(checkpoint.count, 3);
    assert_string_equal(checkpoint.entries[0].name, "a");
    assert_string_equal(checkpoint.entries[2].name, "c");
    assert_non_null(ce_checkpoint_find(&checkpoint, "c", &path));
    assert_string_equal(path, temporary_path(state, TWO));
    assert_non_null(ce_checkpoint_find(&checkpoint, "b", &path));
    assert_string_equal(path, temporary_path(state, ONE));
    ce_checkpoint_close(&checkpoint);
}

static void the_single_file_wins(void **state)
{
    struct ce_checkpoint checkpoint;
    struct ce_error err;

    write_tensors(state, SINGLE, "x");
    write_shards(state);
    write_text(state, INDEX, MAP(ONE, ONE, TWO));
    assert_int_equal(ce_checkpoint_open(&checkpoint, temporary_path(state, ""), &err),
                     CE_OK);
    assert_int_equal(checkpoint.count, 1);
    assert_non_null(ce_checkpoint_find(&checkpoint, "x", NULL));
    ce_checkpoint_close(&checkpoint);
}

/* What opening the test's directory puts on stderr. */
static void opening_says(void **state, char *said, size_t size)
{
    struct ce_checkpoint checkpoint;
    struct ce_error err = {.text = ""};
    const int saved = dup(STDERR_FILENO);
    const int fd =
        open(temporary_path(state, "stderr"), O_RDWR | O_CREAT | O_TRUNC, 0600);

    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    ce_log_init(CE_LOG_WARN, 0);
    enum ce_status status =
        ce_checkpoint_open(&checkpoint, temporary_path(state, ""), &err);
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);

    const ssize_t bytes = pread(fd, said, size - 1, 0);

    (void)close(fd);
    assert_true(bytes >= 0);
    said[bytes] = '\0';
    assert_int_equal(status, CE_OK);
    ce_checkpoint_close(&checkpoint);
}

static void an_adapter_beside_the_weights_is_warned_of(void **state)
{
    char said[1024];

    write_tensors(state, SINGLE, "a");
    opening_says(state, said, sizeof(said));
    assert_string_equal(said, "");
    write_text(state, "adapter_config.json", "{\"peft_type\": \"LORA\"}");
    opening_says(state, said, sizeof(said));
    assert_non_null(strstr(said, "/adapter_config.json: an adapter is not applied"));
}

static void links_to_files_are_followed(void **state)
{
    struct ce_checkpoint checkpoint;
    struct ce_error err;

    write_tensors(state, "blob", "x");
    assert_int_equal(symlink("blob", temporary_path(state, SINGLE)), 0);
    assert_int_equal(ce_checkpoint_open(&checkpoint, temporary_path(state, ""), &err),
                     CE_OK);
    ce_checkpoint_close(&checkpoint);
}

static void a_damaged_file_is_named(void **state)
{
    write_text(state, SINGLE, "no such thing");
    assert_refused(state, CE_ERR_FORMAT, "/model.safetensors: ");
}

static void a_missing_shard_is_named(void **state)
{
    write_shards(state);
    assert_int_equal(unlink(temporary_path(state, TWO)), 0);
    write_text(state, INDEX, MAP(ONE, ONE, TWO));
    assert_refused(state, CE_ERR_IO, "/two.safetensors: No such file");
}

static void a_listed_tensor_must_be_there(void **state)
{
    write_tensors(state, ONE, "a");
    write_tensors(state, TWO, "c");
    write_text(state, INDEX, MAP(ONE, ONE, TWO));
    assert_refused(
        state, CE_ERR_FORMAT, "weight_map: tensor 'b' is not in 'one.safetensors'");
}

static void a_tensor_must_be_in_its_file(void **state)
{
    write_shards(state);
    write_text(state, INDEX, MAP(ONE, TWO, TWO));
    assert_refused(state,
                   CE_ERR_FORMAT,
                   "/one.safetensors: tensor 'b': the index lists it in "
                   "'two.safetensors'");
}

static void a_tensor_must_be_listed(void **state)
{
    write_shards(state);
    write_text(state,
               INDEX,
               "{\"weight_map\": {\"a\": \"one.safetensors\", "
               "\"c\": \"two.safetensors\"}}");
    assert_refused(state,
                   CE_ERR_FORMAT,
                   "/one.safetensors: tensor 'b': the index does not list it");
}

static void a_tensor_in_two_shards_is_refused(void **state)
{
    write_tensors(state, ONE, "ab");
    write_tensors(state, TWO, "bc");
    write_text(state, INDEX, MAP(ONE, ONE, TWO));
    assert_refused(state,
                   CE_ERR_FORMAT,
                   "/two.safetensors: tensor 'b': the index lists it in "
                   "'one.safetensors'");
}

/* One tensor too many and one too few: the counts are equal. */
static void equal_counts_do_not_hide_a_wrong_tensor(void **state)
{
    write_tensors(state, ONE, "ax");
    write_tensors(state, TWO, "c");
    write_text(state, INDEX, MAP(ONE, ONE, TWO));
    assert_refused(state, CE_ERR_FORMAT, "tensor 'x': the index does not list it");
}

static void shard_names_cannot_leave_the_directory(void **state)
{
    static const char *const names[] = {"../one.safetensors",
                                        "/etc/one.safetensors",
                                        "sub/../one.safetensors",
                                        "sub/.hidden/one.safetensors",
                                        "sub//one.safetensors",
                                        "./one.safetensors",
                                        "sub/.safetensors",
                                        "..safetensors",
                                        ".safetensors",
                                        ".hidden.safetensors",
                                        "..",
                                        "",
                                        "pytorch_model.bin",
                                        "one.safetensors/"};
    char text[256];

    write_shards(state);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(
            text, sizeof(text), "{\"weight_map\": {\"a\": \"%s\"}}", names[i]);
        write_text(state, INDEX, text);
        assert_refused(state, CE_ERR_FORMAT, "is not the name of a");
    }
    write_text(state, INDEX, "{\"weight_map\": {\"a\": 1}}");
    assert_refused(state, CE_ERR_FORMAT, "weight_map: a: '' is not the name of a");
}

static void shards_may_lie_in_folders(void **state)
{
    struct ce_checkpoint checkpoint;
    struct ce_error err;
    const char *path = NULL;

    temporary_mkdir(state, "weights");
    temporary_mkdir(state, "weights/part");
    write_tensors(state, "weights/one.safetensors", "ab");
    write_tensors(state, "weights/part/two.safetensors", "c");
    write_text(state,
               INDEX,
               MAP("weights/one.safetensors",
                   "weights/one.safetensors",
                   "weights/part/two.safetensors"));
    assert_int_equal(ce_checkpoint_open(&checkpoint, temporary_path(state, ""), &err),
                     CE_OK);
    assert_non_null(ce_checkpoint_find(&checkpoint, "c", &path));
    assert_string_equal(path, temporary_path(state, "weights/part/two.safetensors"));
    ce_checkpoint_close(&checkpoint);
}

static void the_index_is_checked(void **state)
{
    write_text(state, INDEX, "{\"weight_map\": {}}");
    assert_refused(state, CE_ERR_FORMAT, "weight_map: is not an object that lists");
    write_text(state, INDEX, "{\"weight_map\": [\"a\"]}");
    assert_refused(state, CE_ERR_FORMAT, "weight_map: is not an object that lists");
    write_text(state, INDEX, "{}");
    assert_refused(state, CE_ERR_FORMAT, "weight_map: is not an object that lists");
    write_text(state, INDEX, "[]");
    assert_refused(state, CE_ERR_FORMAT, "index.json: not a JSON object");
    write_text(state,
               INDEX,
               "{\"weight_map\": {\"a\": \"one.safetensors\", "
               "\"a\": \"one.safetensors\"}}");
    assert_refused(state, CE_ERR_FORMAT, "duplicate");
}

static void pickled_weights_are_refused_with_a_way_out(void **state)
{
    write_text(state, "pytorch_model-00001-of-00002.bin", "x");
    assert_refused(state, CE_ERR_UNSUPPORTED, "pytorch_model-00001-of-00002.bin");
    assert_refused(state, CE_ERR_UNSUPPORTED, "safe_serialization=True");
}

static void a_directory_without_weights_is_explained(void **state)
{
    struct ce_checkpoint checkpoint;
    struct ce_error err;

    assert_refused(
        state, CE_ERR_IO, "neither model.safetensors nor model.safetensors.index.json");
    assert_int_equal(
        ce_checkpoint_open(&checkpoint, temporary_path(state, "gone"), &err),
        CE_ERR_IO);
    assert_non_null(strstr(err.text, "/gone: not a directory"));
}

static void required_tensors_have_shape_and_type(void **state)
{
    static const int32_t ids[1] = {1};
    static const float data[6] = {0};
    char names[2][4] = {"w", "ids"};
    struct ce_safetensors_entry entries[2] = {
        {names[0], {CE_DTYPE_F32, 2, {2, 3}, 24, data}},
        {names[1], {CE_DTYPE_I32, 1, {1}, 4, ids}},
    };
    const size_t shape[3] = {2, 3, 1};
    const size_t other[2] = {3, 2};
    const size_t one[1] = {1};
    struct ce_checkpoint checkpoint;
    struct ce_tensor out;
    struct ce_error err;

    assert_int_equal(
        ce_safetensors_write(temporary_path(state, SINGLE), entries, 2, &err), CE_OK);
    assert_int_equal(ce_checkpoint_open(&checkpoint, temporary_path(state, ""), &err),
                     CE_OK);
    assert_int_equal(ce_checkpoint_require(&checkpoint, "w", 2, shape, &out, &err),
                     CE_OK);
    assert_int_equal(out.bytes, 24);

    assert_int_equal(ce_checkpoint_require(&checkpoint, "w", 2, other, &out, &err),
                     CE_ERR_FORMAT);
    assert_non_null(strstr(
        err.text, "/model.safetensors: tensor 'w': shape [2, 3], wanted [3, 2]"));
    assert_int_equal(ce_checkpoint_require(&checkpoint, "w", 1, shape, &out, &err),
                     CE_ERR_FORMAT);
    assert_int_equal(ce_checkpoint_require(&checkpoint, "w", 3, shape, &out, &err),
                     CE_ERR_FORMAT);
    assert_int_equal(ce_checkpoint_require(&checkpoint, "ids", 1, one, &out, &err),
                     CE_ERR_FORMAT);
    assert_non_null(
        strstr(err.text, "tensor 'ids': dtype I32, wanted F32, BF16 or F16"));
    assert_int_equal(ce_checkpoint_require(&checkpoint, "gone", 2, shape, &out, &err),
                     CE_ERR_FORMAT);
    assert_non_null(
        strstr(err.text, ": tensor 'gone' is missing, wanted shape [2, 3]"));
    assert_memory_equal(err.text, checkpoint.dir, strlen(checkpoint.dir));
    ce_checkpoint_close(&checkpoint);
}

/* A large model: 20,000 tensors in 100 shards. */
static void many_shards_are_fast(void **state)
{
    enum { SHARDS = 100, EACH = 200 };
    static struct ce_safetensors_entry entries[EACH];
    static char names[EACH][64];
    static const unsigned char data[1] = {0};
    FILE *index = fopen(temporary_path(state, INDEX), "w");
    struct ce_checkpoint checkpoint;
    struct ce_error err;
    char file[64];
    bool first = true;

    assert_non_null(index);
    (void)fputs("{\"weight_map\": {", index);
    for (int shard = 0; shard < SHARDS; shard++) {
        struct temporary *temporary = *state;
        char path[256];

        (void)snprintf(file, sizeof(file), "model-%05d.safetensors", shard);
        (void)snprintf(path, sizeof(path), "%s/%s", temporary->dir, file);
        for (int i = 0; i < EACH; i++) {
            (void)snprintf(names[i], sizeof(names[i]), "layer.%d.tensor.%d", i, shard);
            entries[i] =
                (struct ce_safetensors_entry){names[i], {CE_DTYPE_U8, 1, {1}, 1, data}};
            (void)fprintf(
                index, "%s\"%s\": \"%s\"", first ? "" : ",\n", names[i], file);
            first = false;
        }
        assert_int_equal(ce_safetensors_write(path, entries, EACH, &err), CE_OK);
    }
    (void)fputs("}}", index);
    (void)fclose(index);

    const clock_t start = clock(); /* other programs may keep the cores */

    assert_int_equal(ce_checkpoint_open(&checkpoint, temporary_path(state, ""), &err),
                     CE_OK);
    assert_int_equal(checkpoint.count, SHARDS * EACH);
    for (size_t i = 0; i < checkpoint.count; i++) {
        const char *name = checkpoint.entries[i].name;

        assert_ptr_equal(ce_checkpoint_find(&checkpoint, name, NULL),
                         checkpoint.entries[i].tensor);
    }
    assert_true(clock() - start < (clock_t)5 * CLOCKS_PER_SEC);
    ce_checkpoint_close(&checkpoint);
}

/* Written by Hugging Face transformers, one in each layout we read. */
static void files_of_the_reference_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *dir;
        enum ce_dtype dtype;
        bool sharded;
    } known[] = {
        {CE_TEST_SOURCE_DIR "/golden/gqa_f32", CE_DTYPE_F32, false},
        {CE_TEST_SOURCE_DIR "/golden/tied_bf16", CE_DTYPE_BF16, false},
        {CE_TEST_SOURCE_DIR "/golden/sharded_f16", CE_DTYPE_F16, true},
        {CE_TEST_SOURCE_DIR "/golden/fused_bf16", CE_DTYPE_BF16, false},
        {CE_MODEL_DIR, CE_DTYPE_BF16, false},
        {CE_MODEL_DIR "/ce-math", CE_DTYPE_BF16, false},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        struct ce_checkpoint checkpoint;
        struct ce_error err = {.text = ""};

        enum ce_status status = ce_checkpoint_open(&checkpoint, known[i].dir, &err);

        assert_string_equal(err.text, "");
        assert_int_equal(status, CE_OK);
        const struct ce_tensor *embedding =
            ce_checkpoint_find(&checkpoint, "model.embed_tokens.weight", NULL);

        assert_non_null(embedding);
        assert_int_equal(embedding->dtype, known[i].dtype);
        assert_int_equal(embedding->dims, 2);
        assert_int_equal(checkpoint.files > 1, known[i].sharded);
        ce_checkpoint_close(&checkpoint);
    }
}

#define WITH_FILES(test)                                                               \
    cmocka_unit_test_setup_teardown(test, temporary_setup, temporary_teardown)

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        WITH_FILES(a_single_file_is_opened),
        WITH_FILES(shards_are_opened_by_the_index),
        WITH_FILES(the_single_file_wins),
        WITH_FILES(an_adapter_beside_the_weights_is_warned_of),
        WITH_FILES(links_to_files_are_followed),
        WITH_FILES(a_damaged_file_is_named),
        WITH_FILES(a_missing_shard_is_named),
        WITH_FILES(a_listed_tensor_must_be_there),
        WITH_FILES(a_tensor_must_be_in_its_file),
        WITH_FILES(a_tensor_must_be_listed),
        WITH_FILES(a_tensor_in_two_shards_is_refused),
        WITH_FILES(equal_counts_do_not_hide_a_wrong_tensor),
        WITH_FILES(shard_names_cannot_leave_the_directory),
        WITH_FILES(shards_may_lie_in_folders),
        WITH_FILES(the_index_is_checked),
        WITH_FILES(pickled_weights_are_refused_with_a_way_out),
        WITH_FILES(a_directory_without_weights_is_explained),
        WITH_FILES(required_tensors_have_shape_and_type),
        WITH_FILES(many_shards_are_fast),
        cmocka_unit_test(files_of_the_reference_are_read),
    };

    return cmocka_run_group_tests_name("model.checkpoint", tests, NULL, NULL);
}
