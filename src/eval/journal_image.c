/* journal_image.c - finds the records of a file, also after damaged ones
 *
 * A place that holds no valid record is passed byte by byte until one is found. Cheap,
 * although any byte may be tried: a checksum over the 12 bytes of the frame is looked
 * at before the length is believed.
 */

#include "eval/journal_image.h"

#include "eval/journal_frame.h"
#include "eval/journal_outcome.h"

#include <stdlib.h>
#include <string.h>

/* Room in an array for one element more; NULL without memory, and the array stays. */
static void *room_for_one(void *array, size_t count, size_t bytes)
{
    bool full = (count & (count - 1)) == 0; /* 0, 1, 2, 4, ... */

    return full ? reallocarray(array, count == 0 ? 1 : count * 2, bytes) : array;
}

/* ---- header */

/* The first valid header of the file; there are two copies at its start. */
static enum ce_status find_header(struct ce_journal_image *image,
                                  const unsigned char *data,
                                  size_t bytes,
                                  const char *path,
                                  struct ce_error *err)
{
    struct ce_journal_frame frame;

    for (size_t at = 0; at < bytes; at++) {
        if (ce_journal_frame_read(
                &frame, CE_JOURNAL_FRAME_HEADER, data, bytes, at, 0)) {
            image->header_crc = frame.crc;
            return ce_journal_job_parse(
                &image->job, frame.message, frame.bytes, path, err);
        }
    }
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: not a journal, or both copies of its header are damaged: "
                   "nothing of it can be used; move it away to begin again",
                   path);
}

/* ---- records */

struct scan {
    struct ce_journal_image *image;
    const unsigned char *data;
    size_t bytes;
    const char *path;
    struct ce_error *err;
};

/* `item` may be NULL. */
static enum ce_status add_notice(const struct scan *scan,
                                 enum ce_journal_notice_kind kind,
                                 size_t offset,
                                 size_t bytes,
                                 const struct ce_journal_item *item)
{
    struct ce_journal_image *image = scan->image;
    struct ce_journal_notice *larger =
        room_for_one(image->notice, image->notices, sizeof(image->notice[0]));

    if (larger == NULL) {
        return ce_fail(scan->err, CE_ERR_NOMEM, "%s: no memory to read it", scan->path);
    }
    image->notice = larger;
    larger[image->notices] =
        (struct ce_journal_notice){.kind = kind, .offset = offset, .bytes = bytes};
    if (item != NULL) {
        larger[image->notices].item = *item;
    }
    image->notices++;
    return CE_OK;
}

/* A record at `offset` or NULL; `frame` is what is filled. */
static bool
read_record(const struct scan *scan, struct ce_journal_frame *frame, size_t offset)
{
    uint32_t crc = scan->image->header_crc;

    if (ce_journal_frame_read(
            frame, CE_JOURNAL_FRAME_ITEM, scan->data, scan->bytes, offset, crc)) {
        return true;
    }
    return ce_journal_frame_read(
               frame, CE_JOURNAL_FRAME_HEADER, scan->data, scan->bytes, offset, crc) &&
           frame->crc == crc;
}

/* Takes the text of the entry over. */
static enum ce_status keep_entry(const struct scan *scan,
                                 const struct ce_journal_entry *entry)
{
    struct ce_journal_image *image = scan->image;
    struct ce_journal_entry *larger =
        room_for_one(image->entry, image->entries, sizeof(image->entry[0]));

    if (larger == NULL) {
        free(entry->outcome.text);
        return ce_fail(scan->err, CE_ERR_NOMEM, "%s: no memory to read it", scan->path);
    }
    image->entry = larger;
    larger[image->entries++] = *entry;
    ce_journal_set_add(&image->done, &entry->item);
    return CE_OK;
}

static enum ce_status
take_item(const struct scan *scan, const struct ce_journal_frame *frame, size_t offset)
{
    size_t bytes = CE_JOURNAL_FRAME_BYTES + frame->bytes;
    struct ce_journal_entry entry = {.outcome = {.text = NULL}};
    enum ce_status status =
        ce_journal_outcome_parse(&entry, frame->message, frame->bytes, scan->err);

    if (status == CE_OK && ce_journal_set_may_have(&scan->image->done, &entry.item)) {
        if (!ce_journal_set_has(&scan->image->done, &entry.item)) {
            return keep_entry(scan, &entry);
        }
        status = add_notice(scan, CE_JOURNAL_DUPLICATE, offset, bytes, &entry.item);
    } else if (status == CE_OK) {
        status = add_notice(scan, CE_JOURNAL_INVALID, offset, bytes, &entry.item);
    } else if (status == CE_ERR_FORMAT) {
        status = add_notice(scan, CE_JOURNAL_DAMAGED, offset, bytes, NULL);
    }
    free(entry.outcome.text);
    return status;
}

/* What lies between two records. */
static enum ce_status pass_gap(const struct scan *scan, size_t from, size_t to)
{
    return from == to ? CE_OK
                      : add_notice(scan, CE_JOURNAL_DAMAGED, from, to - from, NULL);
}

static enum ce_status scan_records(const struct scan *scan)
{
    struct ce_journal_frame frame;
    enum ce_status status = CE_OK;
    size_t end = 0;

    for (size_t at = 0; status == CE_OK && at < scan->bytes;) {
        if (!read_record(scan, &frame, at)) {
            at++;
            continue;
        }
        status = pass_gap(scan, end, at);
        if (status == CE_OK && frame.kind == CE_JOURNAL_FRAME_ITEM) {
            status = take_item(scan, &frame, at);
        }
        at += CE_JOURNAL_FRAME_BYTES + frame.bytes;
        end = at;
    }
    scan->image->end = end;
    if (status != CE_OK || end == scan->bytes) {
        return status;
    }
    return add_notice(scan, CE_JOURNAL_TORN, end, scan->bytes - end, NULL);
}

static int compare_entries(const void *left, const void *right)
{
    const struct ce_journal_item *a = &((const struct ce_journal_entry *)left)->item;
    const struct ce_journal_item *b = &((const struct ce_journal_entry *)right)->item;

    if (a->variant != b->variant) {
        return a->variant < b->variant ? -1 : 1;
    }
    if (a->task != b->task) {
        return a->task < b->task ? -1 : 1;
    }
    return a->query < b->query ? -1 : a->query > b->query;
}

enum ce_status ce_journal_image_parse(struct ce_journal_image *image,
                                      const unsigned char *data,
                                      size_t bytes,
                                      const char *path,
                                      struct ce_error *err)
{
    const struct scan scan = {
        .image = image, .data = data, .bytes = bytes, .path = path, .err = err};

    *image = (struct ce_journal_image){.entry = NULL};
    enum ce_status status = find_header(image, data, bytes, path, err);

    if (status == CE_OK) {
        status = ce_journal_set_create(&image->done, &image->job.header, err);
    }
    if (status == CE_OK) {
        status = scan_records(&scan);
    }
    if (status != CE_OK) {
        ce_journal_image_destroy(image);
        return status;
    }
    if (image->entries > 0) {
        qsort(image->entry, image->entries, sizeof(image->entry[0]), compare_entries);
    }
    return CE_OK;
}

void ce_journal_image_destroy(struct ce_journal_image *image)
{
    for (size_t i = 0; i < image->entries; i++) {
        free(image->entry[i].outcome.text);
    }
    free(image->entry);
    free(image->notice);
    ce_journal_set_destroy(&image->done);
    ce_journal_job_destroy(&image->job);
    *image = (struct ce_journal_image){.entry = NULL};
}

/* ---- a new one */

enum ce_status ce_journal_image_begin(const struct ce_journal_header *header,
                                      unsigned char **data,
                                      size_t *bytes,
                                      struct ce_error *err)
{
    unsigned char *message = NULL;
    size_t size = 0;
    enum ce_status status = ce_journal_job_pack(header, &message, &size, err);
    size_t record = CE_JOURNAL_FRAME_BYTES + size;

    *data = NULL;
    if (status == CE_OK && size > CE_JOURNAL_MOST_BYTES) {
        status =
            ce_fail(err, CE_ERR_ARG, "the journal of a job: its header is too large");
    }
    if (status == CE_OK && (*data = malloc(2 * record)) == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory to begin a journal");
    }
    for (size_t copy = 0; status == CE_OK && copy < 2; copy++) {
        unsigned char *to = *data + copy * record;

        memcpy(to + CE_JOURNAL_FRAME_BYTES, message, size);
        ce_journal_frame_write(to, CE_JOURNAL_FRAME_HEADER, size, copy * record, 0);
    }
    *bytes = 2 * record;
    free(message);
    return status;
}
