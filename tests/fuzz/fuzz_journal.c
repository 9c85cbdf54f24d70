/* fuzz_journal.c - no file image gives a journal with items that its job has not
 *
 * The input is tried as a whole file, as the message of a header, and as the message of
 * an item behind a good header, because a fuzzer cannot guess a checksum.
 */

#include "eval/journal_frame.h"
#include "eval/journal_image.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static int is_before(const struct ce_journal_item *left,
                     const struct ce_journal_item *right)
{
    if (left->variant != right->variant) {
        return left->variant < right->variant;
    }
    return left->task != right->task ? left->task < right->task
                                     : left->query < right->query;
}

static void check(const struct ce_journal_image *image, size_t size)
{
    const struct ce_journal_header *header = &image->job.header;

    require(header->tasks > 0 && header->variants > 0 && image->end <= size);
    for (size_t i = 0; i < image->entries; i++) {
        const struct ce_journal_item *item = &image->entry[i].item;

        require(item->variant < header->variants && item->task < header->tasks);
        require(item->query < header->task[item->task].queries);
        require(image->entry[i].outcome.done);
        require(i == 0 || is_before(&image->entry[i - 1].item, item));
    }
    for (size_t i = 0; i < image->notices; i++) {
        const struct ce_journal_notice *notice = &image->notice[i];

        require(notice->bytes > 0 && notice->offset + notice->bytes <= size);
        require(i == 0 || notice[-1].offset + notice[-1].bytes <= notice->offset);
    }
    require(ce_journal_job_compare(header, header, "image", NULL) == CE_OK);
}

static void try_image(const uint8_t *data, size_t size)
{
    struct ce_journal_image image;
    struct ce_error err = {.text = ""};

    if (ce_journal_image_parse(&image, data, size, "image", &err) == CE_OK) {
        check(&image, size);
    } else {
        require(strncmp(err.text, "image: ", 7) == 0);
        require(image.entry == NULL && image.job.storage == NULL);
    }
    ce_journal_image_destroy(&image);
}

/* A record with this message at the end of a file; returns its new size. */
static size_t put(uint8_t *file,
                  size_t at,
                  enum ce_journal_frame_kind kind,
                  const uint8_t *data,
                  size_t size,
                  uint32_t crc)
{
    for (size_t i = 0; i < size; i++) {
        file[at + CE_JOURNAL_FRAME_BYTES + i] = data[i];
    }
    ce_journal_frame_write(file + at, kind, size, at, crc);
    return at + CE_JOURNAL_FRAME_BYTES + size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Format 1, a task "t" of 100 queries, a variant "v". */
    static const uint8_t header[] = {
        0x08, 1, 0x1a, 5, 0x0a, 1, 't', 0x10, 100, 0x22, 1, 'v'};
    uint8_t *file = malloc(size + sizeof(header) + 3 * (size_t)CE_JOURNAL_FRAME_BYTES);
    struct ce_journal_frame frame;

    if (file == NULL) {
        return 0;
    }
    try_image(data, size);
    try_image(file, put(file, 0, CE_JOURNAL_FRAME_HEADER, data, size, 0));
    size_t end = put(file, 0, CE_JOURNAL_FRAME_HEADER, header, sizeof(header), 0);

    require(ce_journal_frame_read(&frame, CE_JOURNAL_FRAME_HEADER, file, end, 0, 0));
    try_image(file, put(file, end, CE_JOURNAL_FRAME_ITEM, data, size, frame.crc));
    free(file);
    return 0;
}
