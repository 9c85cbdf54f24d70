#include "eval/journal_image.h"
#include "journal_fixture.h"

#include <unistd.h>

#define ITEMS 6

/* A journal in memory and where its records are. */
struct sample {
    unsigned char *data;
    size_t bytes;
    size_t record[ITEMS + 3]; /* two headers, the items, the end */
};

static struct sample sample_create(void **state)
{
    struct sample sample = {.data = NULL};
    size_t at = 0;

    sample.data = fixture_image(state, ITEMS, &sample.bytes);
    for (size_t i = 0; i < ITEMS + 2; i++) {
        sample.record[i] = at;
        at += CE_JOURNAL_FRAME_BYTES + sample.data[at + 4] + 256U * sample.data[at + 5];
    }
    sample.record[ITEMS + 2] = at;
    assert_int_equal(at, sample.bytes);
    return sample;
}

/* Which items of an image are there; each must be what was recorded. */
static unsigned items_of(const struct ce_journal_image *image)
{
    unsigned items = 0;

    for (size_t i = 0; i < image->entries; i++) {
        assert_true(is_fixture_entry(&image->entry[i]));
        assert_true(image->entry[i].item.query < ITEMS);
        items |= 1U << image->entry[i].item.query;
    }
    return items;
}

static struct ce_journal_image parse(const unsigned char *data, size_t bytes)
{
    struct ce_journal_image image;
    struct ce_error err = {.text = ""};

    assert_ok(ce_journal_image_parse(&image, data, bytes, "j", &err), &err);
    return image;
}

/* Whatever byte it ends with: the whole records are there and the rest is reported. */
static void test_torn_image(void **state)
{
    struct sample sample = sample_create(state);

    for (size_t bytes = sample.record[1]; bytes <= sample.bytes; bytes++) {
        struct ce_journal_image image = parse(sample.data, bytes);
        size_t whole = 1;

        while (whole < ITEMS + 2 && sample.record[whole + 1] <= bytes) {
            whole++;
        }
        assert_int_equal(items_of(&image), whole < 2 ? 0 : (1U << (whole - 2)) - 1);
        assert_int_equal(image.end, sample.record[whole]);
        assert_int_equal(image.notices, bytes > image.end);
        if (image.notices > 0) {
            assert_int_equal(image.notice[0].kind, CE_JOURNAL_TORN);
            assert_int_equal(image.notice[0].offset, image.end);
            assert_int_equal(image.notice[0].bytes, bytes - image.end);
        }
        ce_journal_image_destroy(&image);
    }
    for (size_t bytes = 0; bytes < sample.record[1]; bytes++) {
        struct ce_journal_image image;
        struct ce_error err = {.text = ""};

        assert_int_equal(ce_journal_image_parse(&image, sample.data, bytes, "j", &err),
                         CE_ERR_FORMAT);
    }
    free(sample.data);
}

/* A job goes on from a file that was cut anywhere in its last two records. */
static void test_resume_torn(void **state)
{
    struct sample sample = sample_create(state);
    const char *path = temporary_path(state, CE_JOURNAL_NAME);
    struct ce_error err = {.text = ""};

    for (size_t bytes = sample.record[ITEMS]; bytes < sample.bytes; bytes++) {
        size_t left = bytes < sample.record[ITEMS + 1] ? ITEMS - 2 : ITEMS - 1;
        size_t count = 0;
        struct stat info;

        assert_ok(ce_file_write_atomic(path, sample.data, bytes, &err), &err);
        struct ce_journal *journal = fixture_open(state, CE_JOURNAL_RESUME);

        assert_int_equal(stat(path, &info), 0); /* cut before anything is appended */
        assert_int_equal(info.st_size, sample.record[left + 2]);

        (void)ce_journal_entries(journal, &count);
        assert_int_equal(count, left);
        for (size_t i = left; i < ITEMS; i++) {
            fixture_append(journal, i);
        }
        fixture_sync(journal);
        ce_journal_close(journal);
        journal = fixture_open(state, CE_JOURNAL_READ);
        (void)ce_journal_entries(journal, &count);
        assert_int_equal(count, ITEMS);
        (void)ce_journal_notices(journal, &count);
        assert_int_equal(count, 0);
        ce_journal_close(journal);
    }
    free(sample.data);
}

/* The notices of an image in which a bit of record `broken` is not what it was. */
static void check_flipped(const struct sample *sample,
                          const struct ce_journal_image *image,
                          size_t broken)
{
    size_t begin = sample->record[broken];
    size_t end = sample->record[broken + 1];
    bool last = broken == ITEMS + 1;
    unsigned all = (1U << ITEMS) - 1;

    assert_int_equal(items_of(image), broken < 2 ? all : all & ~(1U << (broken - 2)));
    assert_int_equal(image->job.header.tasks, 2);
    assert_string_equal(image->job.header.program, "cemoe 0.1.0");
    assert_int_equal(image->notices, 1);
    assert_int_equal(image->notice[0].kind,
                     last ? CE_JOURNAL_TORN : CE_JOURNAL_DAMAGED);
    assert_int_equal(image->notice[0].offset, begin);
    assert_int_equal(image->notice[0].bytes, end - begin);
    assert_int_equal(image->end, last ? begin : sample->bytes);
}

static void test_flipped_bits(void **state)
{
    struct sample sample = sample_create(state);

    for (size_t broken = 0; broken < ITEMS + 2; broken++) {
        for (size_t at = 8 * sample.record[broken]; at < 8 * sample.record[broken + 1];
             at++) {
            unsigned char bit = (unsigned char)(1U << (at % 8));

            sample.data[at / 8] ^= bit;
            struct ce_journal_image image = parse(sample.data, sample.bytes);

            check_flipped(&sample, &image, broken);
            ce_journal_image_destroy(&image);
            sample.data[at / 8] ^= bit;
        }
    }
    free(sample.data);
}

/* Damage stays where it is; what it cost is appended behind the end. */
static void test_resume_damaged(void **state)
{
    struct sample sample = sample_create(state);
    size_t at = sample.record[4] + 3;
    size_t bytes = 0;
    size_t count = 0;
    char text[400];
    char *data = NULL;
    struct ce_error err = {.text = ""};

    sample.data[at] ^= 0x10;
    temporary_write(state, CE_JOURNAL_NAME, sample.data, sample.bytes);
    struct ce_journal *journal = fixture_open(state, CE_JOURNAL_RESUME);
    const struct ce_journal_notice *notice = ce_journal_notices(journal, &count);

    assert_int_equal(count, 1);
    ce_journal_notice_print(journal, notice, text, sizeof(text));
    assert_non_null(strstr(text, "journal.pb: "));
    assert_non_null(strstr(text, ": damaged; what they recorded counts as not done"));
    (void)ce_journal_entries(journal, &count);
    assert_int_equal(count, ITEMS - 1);
    fixture_append(journal, 2);
    fixture_sync(journal);
    ce_journal_close(journal);
    assert_ok(
        ce_file_read(
            temporary_path(state, CE_JOURNAL_NAME), SIZE_MAX, &data, &bytes, &err),
        &err);
    assert_memory_equal(data, sample.data, sample.bytes);
    struct ce_journal_image image = parse((unsigned char *)data, bytes);

    assert_int_equal(items_of(&image), (1U << ITEMS) - 1);
    assert_int_equal(image.notices, 1);
    ce_journal_image_destroy(&image);
    free(data);
    free(sample.data);
}

/* A copy of a record is none: not at another place, not of another journal. */
static void test_copied_records(void **state)
{
    struct sample sample = sample_create(state);
    size_t begin = sample.record[5];
    size_t bytes = sample.record[6] - begin;
    unsigned char *data = malloc(sample.bytes + bytes);

    assert_non_null(data);
    memcpy(data, sample.data, sample.bytes);
    memcpy(data + sample.bytes, sample.data + begin, bytes);
    struct ce_journal_image image = parse(data, sample.bytes + bytes);

    assert_int_equal(image.entries, ITEMS);
    assert_int_equal(image.notices, 1);
    assert_int_equal(image.notice[0].kind, CE_JOURNAL_TORN);
    ce_journal_image_destroy(&image);
    ce_journal_frame_write(data + begin,
                           CE_JOURNAL_FRAME_ITEM,
                           bytes - CE_JOURNAL_FRAME_BYTES,
                           begin,
                           1234567); /* as another journal has it there */
    image = parse(data, sample.bytes);
    assert_int_equal(image.entries, ITEMS - 1);
    ce_journal_image_destroy(&image);
    free(data);
    free(sample.data);
}

/* Appends a record that no ce_journal_append writes. */
static size_t add_record(unsigned char *data,
                         size_t at,
                         const unsigned char *message,
                         size_t bytes,
                         uint32_t header_crc)
{
    memcpy(data + at + CE_JOURNAL_FRAME_BYTES, message, bytes);
    ce_journal_frame_write(data + at, CE_JOURNAL_FRAME_ITEM, bytes, at, header_crc);
    return at + CE_JOURNAL_FRAME_BYTES + bytes;
}

static void test_strange_records(void **state)
{
    static const unsigned char again[] = {0x18, 3};     /* query 3 */
    static const unsigned char never[] = {0x08, 2};     /* variant 2 */
    static const unsigned char broken[] = {0x3a, 0x7f}; /* text without its bytes */
    static const unsigned char zero[] = {0x18, 99, 0x30, 1, 0x3a, 1, 0}; /* a NUL */
    struct sample sample = sample_create(state);
    struct ce_journal_image image = parse(sample.data, sample.bytes);
    uint32_t crc = image.header_crc;
    unsigned char *data = calloc(sample.bytes + 200, 1);
    size_t end = sample.bytes;

    assert_non_null(data);
    ce_journal_image_destroy(&image);
    memcpy(data, sample.data, sample.bytes);
    end = add_record(data, end, again, sizeof(again), crc);
    end = add_record(data, end, never, sizeof(never), crc);
    end = add_record(data, end, broken, sizeof(broken), crc);
    end = add_record(data, end, zero, sizeof(zero), crc);
    image = parse(data, end);
    assert_int_equal(items_of(&image), (1U << ITEMS) - 1);
    assert_int_equal(image.end, end);
    assert_int_equal(image.notices, 4);
    assert_int_equal(image.notice[0].kind, CE_JOURNAL_DUPLICATE);
    assert_int_equal(image.notice[0].item.query, 3);
    assert_int_equal(image.notice[0].offset, sample.bytes);
    assert_int_equal(image.notice[1].kind, CE_JOURNAL_INVALID);
    assert_int_equal(image.notice[1].item.variant, 2);
    assert_int_equal(image.notice[2].kind, CE_JOURNAL_DAMAGED);
    assert_int_equal(image.notice[3].kind, CE_JOURNAL_DAMAGED);
    ce_journal_image_destroy(&image);
    free(data);
    free(sample.data);
}

static void test_other_format(void **state)
{
    static const unsigned char message[] = {0x08, 7};
    unsigned char data[CE_JOURNAL_FRAME_BYTES + sizeof(message)];
    struct ce_journal_header header = fixture_header();
    struct ce_journal *journal = NULL;
    struct ce_error err = {.text = ""};

    memcpy(data + CE_JOURNAL_FRAME_BYTES, message, sizeof(message));
    ce_journal_frame_write(data, CE_JOURNAL_FRAME_HEADER, sizeof(message), 0, 0);
    temporary_write(state, CE_JOURNAL_NAME, data, sizeof(data));
    assert_int_equal(
        ce_journal_open(
            &journal, temporary_path(state, ""), &header, CE_JOURNAL_RESUME, &err),
        CE_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "format 7"));
    assert_non_null(strstr(err.text, "format 1"));
    temporary_write(state, CE_JOURNAL_NAME, "{}", 2);
    assert_int_equal(
        ce_journal_open(
            &journal, temporary_path(state, ""), &header, CE_JOURNAL_RESUME, &err),
        CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "not a journal"));
}

#define TEST(function)                                                                 \
    cmocka_unit_test_setup_teardown(function, temporary_setup, temporary_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_torn_image),
        TEST(test_resume_torn),
        TEST(test_flipped_bits),
        TEST(test_resume_damaged),
        TEST(test_copied_records),
        TEST(test_strange_records),
        TEST(test_other_format),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
