/* Packed models that nobody should trust: each is refused, and the field is named. */

#include "model/packed_file.h"
#include "packed_fixture.h"
#include "temporary.h"
#include "test.h"

#include <fcntl.h>
#include <unistd.h>

static enum ce_status
open_image(struct ce_packed_file *file, const char *path, struct ce_error *err)
{
    return ce_packed_file_open(file, path, ce_kernels_get(CE_ISA_REF), err);
}

static void assert_refused(const char *path, const char *words)
{
    struct ce_packed_file file;
    struct ce_error err = {.text = ""};

    assert_int_equal(open_image(&file, path, &err), CE_ERR_FORMAT);
    assert_int_equal(strncmp(err.text, path, strlen(path)), 0);
    if (strstr(err.text, words) == NULL) {
        fail_msg("%s: does not say: %s", err.text, words);
    }
    assert_null(file.path);
    ce_packed_file_close(&file);
}

static void assert_opens(const char *path)
{
    struct ce_packed_file file;
    struct ce_error err = {.text = ""};

    if (open_image(&file, path, &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
    ce_packed_file_close(&file);
}

static void write_file(const char *path, const struct packed_image *image)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(image->data, 1, image->bytes, file), image->bytes);
    assert_int_equal(fclose(file), 0);
}

static void write_image(const char *path, const struct packed_fields *fields)
{
    static struct packed_image image;

    packed_make(&image, fields);
    write_file(path, &image);
}

static void the_fixture_is_valid(void **state)
{
    const char *path = temporary_path(state, "m.cemoe");

    write_image(path, &packed_valid);
    assert_opens(path);
}

#define LONG_16  "0123456789abcdef"
#define LONG_256 LONG_64 LONG_64 LONG_64 LONG_64
#define LONG_64  LONG_16 LONG_16 LONG_16 LONG_16

#define DAMAGE(name, change)                                                           \
    static void name(struct packed_fields *f)                                          \
    {                                                                                  \
        change;                                                                        \
    }
DAMAGE(magic, f->magic = "cemoepK\n")
DAMAGE(place_before, f->place = 8192)
DAMAGE(place_after, f->place = 12289)
DAMAGE(place_huge, f->place = UINT64_MAX)
DAMAGE(place_wraps, f->place = UINT64_MAX; f->more_header = 12289)
DAMAGE(header_longer, f->more_header = 1)
DAMAGE(header_huge, f->more_header = UINT64_MAX - 50)
DAMAGE(format_next, f->format = 2)
DAMAGE(format_none, f->format = 0)
DAMAGE(checksum, f->checksum_flip = 1)
DAMAGE(expert_format_long, f->expert_format = LONG_16 LONG_16)
DAMAGE(expert_format_control, f->expert_format = "q\n")
DAMAGE(dense_format_long, f->dense_format = LONG_16 LONG_16)
DAMAGE(piece_zero, f->piece_bytes = 0; f->tensor[0].checksums = 0)
DAMAGE(piece_huge, f->piece_bytes = UINT32_MAX; f->tensors = 0)
DAMAGE(name_empty, f->tensor[1].name = "")
DAMAGE(name_long, f->tensor[1].name = LONG_256)
DAMAGE(name_control, f->tensor[1].name = "a\x1b[2J")
DAMAGE(name_twice, f->tensor[1].name = "c")
DAMAGE(dtype_unknown, f->tensor[0].dtype = "F33")
DAMAGE(dtype_larger, f->tensor[2].dtype = "F32"; f->tensor[2].shape[0] = 1)
DAMAGE(dims_nine, f->tensor[2].dims = 9)
DAMAGE(shape_larger, f->tensor[0].shape[1] = 6)
DAMAGE(shape_wraps, f->tensor[0].shape[0] = f->tensor[0].shape[1] = UINT64_C(1) << 32)
DAMAGE(shape_bits_wrap, f->tensor[0].dims = 1;
       f->tensor[0].shape[0] = UINT64_C(1) << 60)
DAMAGE(offset_front, f->tensor[0].offset = 0)
DAMAGE(offset_overlap, f->tensor[1].offset = 4096)
DAMAGE(offset_unaligned, f->tensor[1].offset = 8200)
DAMAGE(offset_hole, f->tensor[1].offset = 12288)
DAMAGE(offset_huge, f->tensor[1].offset = UINT64_MAX - 4095)
DAMAGE(bytes_fewer, f->tensor[0].bytes = 59)
DAMAGE(bytes_beyond, f->tensor[1].bytes = 4097; f->tensor[1].checksums = 129)
DAMAGE(bytes_huge, f->tensor[1].bytes = UINT64_MAX)
DAMAGE(checksums_fewer, f->tensor[1].checksums = 2)
DAMAGE(checksums_more, f->tensor[2].checksums = 1)
DAMAGE(tensors_fewer, f->tensors = 1)

static void every_field_is_checked_and_named(void **state)
{
    static const struct {
        void (*damage)(struct packed_fields *fields);
        const char *words;
    } cases[] = {
        {magic, "not a packed model"},
        {place_before, "tensor 'a': bytes is 65, which ends beyond"},
        {place_after, "the header is at 12289, but the tensors end before 12288"},
        {place_huge, "cut short or damaged"},
        {place_wraps, "cut short or damaged"},
        {header_longer, "cut short or damaged"},
        {header_huge, "cut short or damaged"},
        {format_next, "format is 2; this version reads packed models of format 1"},
        {format_none, "format is 0"},
        {checksum, "checksum of the header"},
        {expert_format_long, "expert_format is not printable ASCII of at most 31"},
        {expert_format_control, "expert_format is not"},
        {dense_format_long, "dense_format is not"},
        {piece_zero, "piece_bytes is 0"},
        {piece_huge, "piece_bytes is 4294967295"},
        {name_empty, "name of a tensor is not"},
        {name_long, "name of a tensor is not printable ASCII of 1 to 255"},
        {name_control, "name of a tensor is not"},
        {name_twice, "tensor 'c': name is there twice"},
        {dtype_unknown, "tensor 'b': dtype is not one"},
        {dtype_larger, "tensor 'c': bytes is 0, too few"},
        {dims_nine, "tensor 'c': shape has 9 dimensions"},
        {shape_larger, "tensor 'b': bytes is 60, too few"},
        {shape_wraps, "tensor 'b': bytes is 60, too few"},
        {shape_bits_wrap, "tensor 'b': bytes is 60, too few"},
        {offset_front, "tensor 'b': offset is 0, but its place is at 4096"},
        {offset_overlap, "tensor 'a': offset is 4096, but its place is at 8192"},
        {offset_unaligned, "tensor 'a': offset is 8200"},
        {offset_hole, "tensor 'a': offset is 12288"},
        {offset_huge, "tensor 'a': offset is 18446744073709547520"},
        {bytes_fewer, "tensor 'b': bytes is 59"},
        {bytes_beyond, "tensor 'a': bytes is 4097, which ends beyond"},
        {bytes_huge, "tensor 'a': checksum has 3 entries"},
        {checksums_fewer, "tensor 'a': checksum has 2 entries"},
        {checksums_more, "tensor 'c': checksum has 1 entries"},
        {tensors_fewer, "the header is at 12288, but the tensors end before 8192"},
    };
    const char *path = temporary_path(state, "m.cemoe");

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct packed_fields fields = packed_valid;

        cases[i].damage(&fields);
        write_image(path, &fields);
        assert_refused(path, cases[i].words);
    }
}

/* Lists that claim more than is there, numbers that are too long, no header. */
static void headers_that_cannot_be_decoded_are_refused(void **state)
{
    static const struct {
        unsigned char data[16];
        size_t bytes;
    } headers[] = {
        {{0x32, 0xff, 0xff, 0xff, 0xff, 0x07}, 6},
        {{0x32, 0x03, 0x32, 0xff, 0x7f}, 5},
        {{0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 12},
        {{0x09, 0x00}, 2},
        {{0x1a, 0x05, 'q', '8'}, 4},
    };
    static struct packed_image image;
    const char *path = temporary_path(state, "m.cemoe");

    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        struct packed_message header = {.bytes = headers[i].bytes};

        memcpy(header.data, headers[i].data, sizeof(headers[i].data));
        packed_wrap(&image, &packed_valid, &header);
        write_file(path, &image);
        assert_refused(path, "header cannot be decoded");
    }
}

static void a_header_without_tensors_is_valid(void **state)
{
    const char *path = temporary_path(state, "m.cemoe");
    struct packed_fields fields = packed_valid;

    fields.tensors = 0;
    fields.place = 4096;
    write_image(path, &fields);
    assert_opens(path);
}

/* Every shorter file: none is taken for a whole one. */
static void torn_files_are_refused(void **state)
{
    const char *path = temporary_path(state, "m.cemoe");
    struct stat info;

    write_image(path, &packed_valid);
    assert_int_equal(stat(path, &info), 0);
    for (off_t cut = info.st_size - 1; cut >= 0; cut--) {
        assert_int_equal(truncate(path, cut), 0);
        assert_refused(path, cut < 24 ? "not a packed model" : "cut short");
    }
    write_image(path, &packed_valid);
    assert_int_equal(truncate(path, info.st_size + 1), 0);
    assert_refused(path, "cut short or damaged");
}

/* Every bit of the front and of the header. */
static void flipped_bits_are_refused(void **state)
{
    const char *path = temporary_path(state, "m.cemoe");
    struct stat info;
    int fd = -1;

    write_image(path, &packed_valid);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(fstat(fd, &info), 0);
    for (off_t i = 0; i < info.st_size;
         i = i == 23 ? (off_t)packed_valid.place : i + 1) {
        unsigned char right = 0;

        assert_int_equal(pread(fd, &right, 1, i), 1);
        for (unsigned bit = 0; bit < 8; bit++) {
            unsigned char wrong = (unsigned char)(right ^ (1U << bit));

            assert_int_equal(pwrite(fd, &wrong, 1, i), 1);
            assert_refused(path, "");
        }
        assert_int_equal(pwrite(fd, &right, 1, i), 1);
    }
    (void)close(fd);
    assert_opens(path);
}

static void what_is_no_file_is_refused(void **state)
{
    struct ce_packed_file file;
    struct ce_error err;
    const char *fifo = temporary_path(state, "fifo");

    assert_int_equal(open_image(&file, temporary_path(state, "gone"), &err), CE_ERR_IO);
    assert_non_null(strstr(err.text, "/gone: No such file"));
    assert_int_equal(open_image(&file, temporary_path(state, ""), &err), CE_ERR_IO);
    assert_non_null(strstr(err.text, "not a regular file"));
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(open_image(&file, fifo, &err), CE_ERR_IO);
    ce_packed_file_close(&file);
}

int main(void)
{
#define TEST(name)                                                                     \
    cmocka_unit_test_setup_teardown(name, temporary_setup, temporary_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_fixture_is_valid),
        TEST(every_field_is_checked_and_named),
        TEST(headers_that_cannot_be_decoded_are_refused),
        TEST(a_header_without_tensors_is_valid),
        TEST(torn_files_are_refused),
        TEST(flipped_bits_are_refused),
        TEST(what_is_no_file_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
