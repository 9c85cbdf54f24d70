/* Packed models: what is written is read, by any kernel set, whole or in part. */

#include "model/packed_file.h"
#include "packed_fixture.h"
#include "temporary.h"
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

/* Not the size of a piece, which tests need not know: several are in LARGE. */
enum { LARGE = 3000001, COUNT = 4 };

static const struct ce_packed_source source = {
    .config_hash = 0x1122334455667788,
    .tensors_hash = 9,
    .expert_format = "q4",
    .dense_format = "bf16",
};

static const struct ce_packed_tensor tensors[COUNT] = {
    {.name = "large", .dtype = "q8", .dims = 2, .shape = {3, 1000000}, .bytes = LARGE},
    {.name = "empty", .dtype = "F32", .dims = 2, .shape = {0, 7}, .bytes = 0},
    {.name = "a.scalar", .dtype = "F16", .dims = 0, .bytes = 2},
    {.name = "page", .dtype = "BF16", .dims = 1, .shape = {2048}, .bytes = 4096},
};

static unsigned char data_byte(size_t tensor, size_t i)
{
    return (unsigned char)(tensor * 101 + i * 7 + i / 1000);
}

static unsigned char *make_data(size_t tensor)
{
    unsigned char *data = malloc(tensors[tensor].bytes + 1);

    assert_non_null(data);
    for (size_t i = 0; i < tensors[tensor].bytes; i++) {
        data[i] = data_byte(tensor, i);
    }
    return data;
}

static const struct ce_kernels *best(void)
{
    return ce_kernels_get(ce_isa_detect());
}

static void add(struct ce_packed_writer *writer, size_t tensor, enum ce_status expected)
{
    unsigned char *data = make_data(tensor);
    struct ce_error err;

    assert_int_equal(ce_packed_writer_add(writer, &tensors[tensor], data, &err),
                     expected);
    free(data);
}

static const char *write_model(void **state, size_t count)
{
    const char *path = temporary_path(state, "m.cemoe");
    struct ce_packed_writer writer;
    struct ce_error err;

    assert_int_equal(ce_packed_writer_open(&writer, path, &source, best(), &err),
                     CE_OK);
    for (size_t i = 0; i < count; i++) {
        add(&writer, i, CE_OK);
    }
    assert_int_equal(ce_packed_writer_commit(&writer, &err), CE_OK);
    ce_packed_writer_close(&writer);
    return path;
}

static void open_model(struct ce_packed_file *file, const char *path)
{
    struct ce_error err = {.text = ""};

    if (ce_packed_file_open(file, path, ce_kernels_get(CE_ISA_REF), &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
}

static int count_files(void **state)
{
    DIR *dir = opendir(temporary_path(state, ""));
    int count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    (void)closedir(dir);
    return count - 2; /* . and .. */
}

static void assert_described(const struct ce_packed_file *file)
{
    assert_int_equal(file->count, COUNT);
    assert_true(file->source.config_hash == source.config_hash);
    assert_true(file->source.tensors_hash == source.tensors_hash);
    assert_string_equal(file->source.expert_format, "q4");
    assert_string_equal(file->source.dense_format, "bf16");
    for (size_t i = 0; i < COUNT; i++) {
        const struct ce_packed_tensor *found = NULL;

        assert_int_equal(ce_packed_file_require(file, &tensors[i], &found, NULL),
                         CE_OK);
        assert_ptr_equal(found, ce_packed_file_find(file, tensors[i].name));
        assert_string_equal(found->name, tensors[i].name);
        assert_int_equal(found->offset % 4096, 0);
    }
    assert_null(ce_packed_file_find(file, "larger"));
}

/* Exactly the bytes of the tensor, at an odd address. */
static void assert_reads(const struct ce_packed_file *file, size_t count)
{
    struct ce_packed_read reads[COUNT];
    struct ce_error err = {.text = ""};

    for (size_t i = 0; i < count; i++) {
        unsigned char *to = malloc(tensors[i].bytes + 2);

        assert_non_null(to);
        to[0] = to[tensors[i].bytes + 1] = 0xa5;
        reads[i].tensor = ce_packed_file_find(file, tensors[i].name);
        reads[i].to = to + 1;
    }
    if (ce_packed_file_read(file, NULL, reads, count, &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
    for (size_t i = 0; i < count; i++) {
        unsigned char *to = (unsigned char *)reads[i].to - 1;
        unsigned char *expected = make_data(i);

        assert_memory_equal(to + 1, expected, tensors[i].bytes);
        assert_int_equal(to[0], 0xa5);
        assert_int_equal(to[tensors[i].bytes + 1], 0xa5);
        free(expected);
        free(to);
    }
}

static void what_is_written_is_read(void **state)
{
    struct ce_packed_file file;

    open_model(&file, write_model(state, COUNT));
    assert_described(&file);
    for (size_t count = 0; count <= COUNT; count++) {
        assert_reads(&file, count);
    }
    ce_packed_file_close(&file);
    ce_packed_file_close(&file);
    assert_int_equal(count_files(state), 1);
}

static void a_model_without_tensors_is_one(void **state)
{
    struct ce_packed_file file;

    open_model(&file, write_model(state, 0));
    assert_int_equal(file.count, 0);
    assert_null(ce_packed_file_find(&file, ""));
    assert_int_equal(ce_packed_file_read(&file, NULL, NULL, 0, NULL), CE_OK);
    ce_packed_file_close(&file);
}

static void what_is_required_must_be_alike(void **state)
{
    struct ce_packed_tensor wanted[] = {
        tensors[3], tensors[3], tensors[3], tensors[3], tensors[3]};
    const struct ce_packed_tensor *found = NULL;
    struct ce_packed_file file;
    struct ce_error err;

    wanted[0].name = "pages";
    wanted[1].dtype = "F16";
    wanted[2].dims = 2;
    wanted[2].shape[1] = 1;
    wanted[3].shape[0] = 2047;
    wanted[4].bytes = 4095;
    open_model(&file, write_model(state, COUNT));
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        assert_int_equal(ce_packed_file_require(&file, &wanted[i], &found, &err),
                         CE_ERR_FORMAT);
        assert_non_null(strstr(err.text, file.path));
        assert_non_null(strstr(err.text,
                               i == 0
                                   ? "'pages' is missing"
                                   : "'page' is BF16 [2048] in 4096 bytes, expected"));
    }
    ce_packed_file_close(&file);
}

/* In place: the data are those of the file, checked, and outlive it. */
static void a_mapped_file_is_read_where_it_is(void **state)
{
    struct ce_file_map map = {.data = NULL};
    struct ce_packed_file file;
    struct ce_packed_read read = {.to = NULL};

    open_model(&file, write_model(state, COUNT));
    read.tensor = ce_packed_file_find(&file, "large");
    assert_int_equal(ce_packed_file_map(&file, &map, NULL), CE_OK);
    assert_int_equal(ce_packed_file_read(&file, &map, &read, 1, NULL), CE_OK);
    const unsigned char *large = map.data + read.tensor->offset;

    ce_packed_file_close(&file);
    for (size_t i = 0; i < LARGE; i++) {
        assert_int_equal(large[i], data_byte(0, i));
    }
    ce_file_map_close(&map);
}

/* A file that was cut after it was opened is not mapped: it would kill the process. */
static void a_file_that_was_cut_is_not_mapped(void **state)
{
    const char *path = write_model(state, COUNT);
    struct ce_file_map map = {.data = NULL};
    struct ce_packed_file file;
    struct ce_error err;

    open_model(&file, path);
    assert_int_equal(truncate(path, 8192), 0);
    assert_int_equal(ce_packed_file_map(&file, &map, &err), CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "is not within the file"));
    ce_file_map_close(&map);
    ce_packed_file_close(&file);
}

/* A bit anywhere in the data: the piece is found, the others are still read. */
static void flipped_bits_in_data_are_found(void **state)
{
    const char *path = write_model(state, COUNT);
    unsigned char *to = malloc(LARGE);
    struct ce_packed_file file;
    int fd = open(path, O_RDWR | O_CLOEXEC);

    open_model(&file, path);
    for (size_t at = 0; at < LARGE;
         at = at < LARGE - 1 && at + 177777 > LARGE ? LARGE - 1 : at + 177777) {
        const struct ce_packed_tensor *large = ce_packed_file_find(&file, "large");
        const struct ce_packed_read read = {large, to};
        unsigned char wrong = data_byte(0, at) ^ 0x10;
        struct ce_error err = {.text = ""};
        char words[64];

        (void)snprintf(words,
                       sizeof(words),
                       "'large': piece %zu of %zu, bytes",
                       at / file.piece_bytes + 1,
                       large->checksums);
        assert_int_equal(pwrite(fd, &wrong, 1, (off_t)(large->offset + at)), 1);
        assert_int_equal(ce_packed_file_read(&file, NULL, &read, 1, &err),
                         CE_ERR_FORMAT);
        assert_non_null(strstr(err.text, path));
        assert_non_null(strstr(err.text, words));
        assert_non_null(strstr(err.text, "checksum does not match"));
        wrong ^= 0x10;
        assert_int_equal(pwrite(fd, &wrong, 1, (off_t)(large->offset + at)), 1);
        assert_int_equal(ce_packed_file_read(&file, NULL, &read, 1, &err), CE_OK);
    }
    ce_packed_file_close(&file);
    (void)close(fd);
    free(to);
}

/* The first failure of the list is told, however many there are. */
static void the_first_bad_piece_is_named(void **state)
{
    const char *path = write_model(state, COUNT);
    unsigned char *to = malloc(LARGE);
    struct ce_packed_read reads[2] = {{.to = to}, {.to = to}};
    struct ce_packed_file file;
    struct ce_error err = {.rank = 3};

    open_model(&file, path);
    reads[0].tensor = ce_packed_file_find(&file, "a.scalar");
    reads[1].tensor = ce_packed_file_find(&file, "large");
    assert_int_equal(truncate(path, (off_t)reads[1].tensor->offset + 100), 0);
    assert_int_equal(ce_packed_file_read(&file, NULL, &reads[1], 1, &err), CE_ERR_IO);
    assert_non_null(strstr(err.text, "'large': piece 1 of "));
    assert_non_null(strstr(err.text, "was cut after it was opened"));
    assert_int_equal(ce_packed_file_read(&file, NULL, reads, 2, &err), CE_ERR_IO);
    assert_non_null(strstr(err.text, "'a.scalar': piece 1 of 1"));
    assert_int_equal(err.rank, 3);
    assert_int_equal(ce_packed_file_read(&file, NULL, reads, 2, NULL), CE_ERR_IO);
    ce_packed_file_close(&file);
    free(to);
}

/* A small bad piece and a large one, begun at the same time: either may be done first.
 */
static void of_two_bad_pieces_the_first_is_named(void **state)
{
    const char *path = write_model(state, COUNT);
    unsigned char *to = malloc(LARGE);
    unsigned char small[2];
    struct ce_packed_file file;
    int fd = open(path, O_RDWR | O_CLOEXEC);

    open_model(&file, path);
    const struct ce_packed_read large = {ce_packed_file_find(&file, "large"), to};
    const struct ce_packed_read scalar = {ce_packed_file_find(&file, "a.scalar"),
                                          small};

    assert_int_equal(pwrite(fd, "\xff", 1, (off_t)large.tensor->offset), 1);
    assert_int_equal(pwrite(fd, "\xff", 1, (off_t)scalar.tensor->offset), 1);
    for (size_t i = 0; i < 300; i++) {
        struct ce_packed_read reads[2] = {i % 2 == 0 ? large : scalar,
                                          i % 2 == 0 ? scalar : large};
        struct ce_error err = {.text = ""};

        assert_int_equal(ce_packed_file_read(&file, NULL, reads, 2, &err),
                         CE_ERR_FORMAT);
        assert_non_null(
            strstr(err.text, i % 2 == 0 ? "'large': piece 1" : "'a.scalar'"));
    }
    ce_packed_file_close(&file);
    (void)close(fd);
    free(to);
}

/* Stands for a disk that fails: reading a directory is an error of the system. */
static void a_failing_read_is_told(void **state)
{
    struct ce_packed_file file;
    unsigned char to[2];
    struct ce_packed_read read = {.to = to};
    struct ce_error err;
    int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    open_model(&file, write_model(state, COUNT));
    read.tensor = ce_packed_file_find(&file, "a.scalar");
    assert_true(dup2(fd, file.fd) == file.fd);
    assert_int_equal(ce_packed_file_read(&file, NULL, &read, 1, &err), CE_ERR_IO);
    assert_non_null(
        strstr(err.text, "'a.scalar': piece 1 of 1, bytes 0 to 1: Is a dir"));
    ce_packed_file_close(&file);
    (void)close(fd);
}

static void without_a_commit_nothing_is_left(void **state)
{
    const char *path = temporary_path(state, "m.cemoe");
    struct ce_packed_writer writer;
    struct ce_error err;

    assert_int_equal(ce_packed_writer_open(&writer, path, &source, best(), &err),
                     CE_OK);
    add(&writer, 0, CE_OK);
    assert_int_equal(count_files(state), 1);
    ce_packed_writer_close(&writer);
    ce_packed_writer_close(&writer);
    assert_int_equal(count_files(state), 0);
    assert_int_equal(ce_packed_writer_open(
                         &writer, temporary_path(state, "no/m"), &source, best(), &err),
                     CE_ERR_IO);
    assert_non_null(strstr(err.text, "/no/m: No such file"));
    ce_packed_writer_close(&writer);
}

/* Stands for a full disk, in the data and in the header; an older file stays. */
static void a_full_disk_leaves_the_old_file(void **state)
{
    static const rlim_t limits[] = {100000, 4096 + LARGE, 3010560 + 10};
    const char *path = write_model(state, 1);
    struct rlimit before;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct rlimit small = {limits[i], before.rlim_max};
        struct ce_packed_writer writer;
        struct ce_packed_file file;
        enum ce_status status = CE_OK;
        struct ce_error err = {.text = ""};
        unsigned char *data = make_data(0);

        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        status = ce_packed_writer_open(&writer, path, &source, best(), &err);
        for (size_t j = 0; status == CE_OK && j < COUNT; j += 3) {
            status = ce_packed_writer_add(&writer, &tensors[j], data, &err);
        }
        if (status == CE_OK) {
            status = ce_packed_writer_commit(&writer, &err);
        }
        ce_packed_writer_close(&writer);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        free(data);
        assert_int_equal(status, CE_ERR_IO);
        assert_non_null(strstr(err.text, "m.cemoe: File too large"));
        assert_int_equal(count_files(state), 1);
        open_model(&file, path);
        assert_int_equal(file.count, 1);
        ce_packed_file_close(&file);
    }
}

/* What no reader would take is not written. */
static void nonsense_is_not_written(void **state)
{
    const char *path = temporary_path(state, "m.cemoe");
    struct ce_packed_tensor bad[] = {tensors[3], tensors[3], tensors[3], tensors[3]};
    struct ce_packed_writer writer;
    struct ce_error err;

    bad[0].name = "";
    bad[1].dtype = "Q8";
    bad[2].bytes = 4095;
    bad[3].dims = CE_TENSOR_MAX_DIMS + 1;
    assert_int_equal(ce_packed_writer_open(&writer, path, &source, best(), &err),
                     CE_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ce_packed_writer_add(&writer, &bad[i], "", &err),
                         CE_ERR_FORMAT);
    }
    add(&writer, 2, CE_OK);
    add(&writer, 3, CE_OK);
    add(&writer, 2, CE_OK);
    assert_int_equal(ce_packed_writer_commit(&writer, &err), CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "'a.scalar': name is there twice"));
    ce_packed_writer_close(&writer);
    assert_int_equal(count_files(state), 0);
}

int main(void)
{
#define TEST(name)                                                                     \
    cmocka_unit_test_setup_teardown(name, temporary_setup, temporary_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_read),
        TEST(a_model_without_tensors_is_one),
        TEST(what_is_required_must_be_alike),
        TEST(a_mapped_file_is_read_where_it_is),
        TEST(a_file_that_was_cut_is_not_mapped),
        TEST(flipped_bits_in_data_are_found),
        TEST(the_first_bad_piece_is_named),
        TEST(of_two_bad_pieces_the_first_is_named),
        TEST(a_failing_read_is_told),
        TEST(without_a_commit_nothing_is_left),
        TEST(a_full_disk_leaves_the_old_file),
        TEST(nonsense_is_not_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
