/* placement_file.c - packs placements, reads files that nobody vouches for */

#include "moe/placement_file.h"

#include "base/file.h"
#include "base/hash.h"
#include "placement.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT 1

/* As many experts as a model may have in all layers; a file with 30 owners of each. */
#define MOST_LISTS ((uint64_t)1 << 20)
#define MOST_BYTES ((size_t)64 << 20)

static uint64_t checksum_of(const void *data, size_t bytes)
{
    return ce_hash_bytes(CE_HASH_START, data, bytes);
}

/* The message of a placement; `owners` and `owner` are malloc'ed. */
static enum ce_status fill_message(Cemoe__Placement *message,
                                   const struct ce_placement *placement,
                                   struct ce_error *err)
{
    size_t lists = placement->layers * placement->experts;
    size_t total = placement->begin[lists];

    message->name = (char *)(uintptr_t)placement->name; /* packing only reads it */
    message->layers = (uint32_t)placement->layers;
    message->experts = (uint32_t)placement->experts;
    message->ranks = (uint32_t)placement->ranks;
    message->n_owners = lists;
    message->owners = malloc(lists * sizeof(message->owners[0]));
    message->n_owner = total;
    message->owner = malloc(total * sizeof(message->owner[0]));
    if (message->owners == NULL || message->owner == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory to write a placement");
    }
    for (size_t i = 0; i < lists; i++) {
        message->owners[i] = (uint32_t)(placement->begin[i + 1] - placement->begin[i]);
    }
    for (size_t i = 0; i < total; i++) {
        message->owner[i] = placement->owner[i];
    }
    return CE_OK;
}

/* *image is malloc'ed, NULL when there is no memory. */
static void
pack_file(const Cemoe__Placement *message, unsigned char **image, size_t *bytes)
{
    Cemoe__PlacementFile file;

    cemoe__placement_file__init(&file);
    file.format = FORMAT;
    file.placement.len = cemoe__placement__get_packed_size(message);
    file.placement.data = malloc(file.placement.len);
    *image = NULL;
    if (file.placement.data == NULL) {
        return;
    }
    cemoe__placement__pack(message, file.placement.data);
    file.checksum = checksum_of(file.placement.data, file.placement.len);
    *bytes = cemoe__placement_file__get_packed_size(&file);
    *image = malloc(*bytes);
    if (*image != NULL) {
        cemoe__placement_file__pack(&file, *image);
    }
    free(file.placement.data);
}

enum ce_status ce_placement_write(const struct ce_placement *placement,
                                  const char *path,
                                  struct ce_error *err)
{
    Cemoe__Placement message;
    unsigned char *image = NULL;
    size_t bytes = 0;
    enum ce_status status = CE_OK;

    cemoe__placement__init(&message);
    status = fill_message(&message, placement, err);
    if (status == CE_OK) {
        pack_file(&message, &image, &bytes);
        if (image == NULL) {
            status = ce_fail(err, CE_ERR_NOMEM, "%s: no memory to write it", path);
        } else if (bytes > MOST_BYTES) {
            status = ce_fail(err,
                             CE_ERR_ARG,
                             "%s: a placement with %zu owners is larger than is read",
                             path,
                             message.n_owner);
        } else {
            status = ce_file_write_atomic(path, image, bytes, err);
        }
    }
    free(image);
    free(message.owners);
    free(message.owner);
    return status;
}

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < ' ' || *text > '~') {
            return false;
        }
    }
    return true;
}

static enum ce_status
check_sizes(const Cemoe__Placement *message, const char *file, struct ce_error *err)
{
    uint64_t lists = (uint64_t)message->layers * message->experts;

    if (strlen(message->name) >= CE_PLACEMENT_NAME || !is_printable(message->name)) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: name is not printable ASCII of at most %d characters",
                       file,
                       CE_PLACEMENT_NAME - 1);
    }
    if (lists == 0 || lists > MOST_LISTS) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: layers %u and experts %u are not possible",
                       file,
                       message->layers,
                       message->experts);
    }
    if (message->ranks == 0 || message->ranks > UINT16_MAX) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: ranks is %u, not 1 to %d",
                       file,
                       message->ranks,
                       UINT16_MAX);
    }
    if (message->n_owners != lists) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: owners has %zu entries, not %u layers times %u experts",
                       file,
                       message->n_owners,
                       message->layers,
                       message->experts);
    }
    if (message->n_owner < lists) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: owner has %zu entries, fewer than there are experts",
                       file,
                       message->n_owner);
    }
    return CE_OK;
}

/* The owners of expert i, of which `left` numbers are left. */
static enum ce_status check_owners(const Cemoe__Placement *message,
                                   size_t i,
                                   const uint32_t *owner,
                                   size_t left,
                                   const char *file,
                                   struct ce_error *err)
{
    size_t layer = i / message->experts;
    size_t expert = i % message->experts;

    if (message->owners[i] == 0 || message->owners[i] > left) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: owners: layer %zu, expert %zu has %u owners, and owner has "
                       "%zu entries left",
                       file,
                       layer,
                       expert,
                       message->owners[i],
                       left);
    }
    for (size_t j = 0; j < message->owners[i]; j++) {
        if (owner[j] >= message->ranks || (j > 0 && owner[j] <= owner[j - 1])) {
            return ce_fail(
                err,
                CE_ERR_FORMAT,
                "%s: owner: layer %zu, expert %zu is on rank %u, which is %s",
                file,
                layer,
                expert,
                owner[j],
                owner[j] >= message->ranks ? "not one of the ranks"
                                           : "out of order or there twice");
        }
    }
    return CE_OK;
}

/* Copies the owners of a message whose sizes are checked. */
static enum ce_status copy_owners(struct ce_placement *placement,
                                  const Cemoe__Placement *message,
                                  const char *file,
                                  struct ce_error *err)
{
    size_t used = 0;

    for (size_t i = 0; i < message->n_owners; i++) {
        const uint32_t *owner = message->owner + used;
        enum ce_status status =
            check_owners(message, i, owner, message->n_owner - used, file, err);

        if (status != CE_OK) {
            return status;
        }
        for (size_t j = 0; j < message->owners[i]; j++) {
            placement->owner[used++] = (uint16_t)owner[j];
        }
        placement->begin[i + 1] = used;
    }
    if (used != message->n_owner) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: owner has %zu entries, %zu more than owners says",
                       file,
                       message->n_owner,
                       message->n_owner - used);
    }
    return CE_OK;
}

static enum ce_status take_message(struct ce_placement *placement,
                                   const Cemoe__Placement *message,
                                   const char *file,
                                   struct ce_error *err)
{
    enum ce_status status = check_sizes(message, file, err);

    if (status == CE_OK) {
        status = ce_placement_create(placement,
                                     message->layers,
                                     message->experts,
                                     (int)message->ranks,
                                     message->n_owner,
                                     err);
    }
    if (status != CE_OK) {
        return status;
    }
    memcpy(placement->name, message->name, strlen(message->name));
    status = copy_owners(placement, message, file, err);
    if (status != CE_OK) {
        ce_placement_destroy(placement);
    }
    return status;
}

static enum ce_status check_envelope(const Cemoe__PlacementFile *envelope,
                                     const char *file,
                                     struct ce_error *err)
{
    const ProtobufCBinaryData *inner = &envelope->placement;

    if (envelope->format != FORMAT) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: format is %u; this version reads placements of format %d",
                       file,
                       envelope->format,
                       FORMAT);
    }
    if (envelope->checksum != checksum_of(inner->data, inner->len)) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: the checksum does not match: the file is damaged",
                       file);
    }
    return CE_OK;
}

enum ce_status ce_placement_parse(struct ce_placement *placement,
                                  const void *data,
                                  size_t bytes,
                                  const char *file,
                                  struct ce_error *err)
{
    Cemoe__PlacementFile *envelope = cemoe__placement_file__unpack(NULL, bytes, data);
    Cemoe__Placement *message = NULL;
    enum ce_status status = CE_OK;

    *placement = (struct ce_placement){0};
    if (envelope == NULL) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: not a placement, or cut short: cemoe plan writes them",
                       file);
    }
    status = check_envelope(envelope, file, err);
    if (status == CE_OK) {
        message = cemoe__placement__unpack(
            NULL, envelope->placement.len, envelope->placement.data);
        status =
            message == NULL
                ? ce_fail(err, CE_ERR_FORMAT, "%s: placement cannot be decoded", file)
                : take_message(placement, message, file, err);
    }
    cemoe__placement__free_unpacked(message, NULL);
    cemoe__placement_file__free_unpacked(envelope, NULL);
    return status;
}

enum ce_status ce_placement_read(struct ce_placement *placement,
                                 const char *path,
                                 struct ce_error *err)
{
    char *data = NULL;
    size_t bytes = 0;
    enum ce_status status = ce_file_read(path, MOST_BYTES, &data, &bytes, err);

    *placement = (struct ce_placement){0};
    if (status == CE_OK) {
        status = ce_placement_parse(placement, data, bytes, path, err);
    }
    free(data);
    return status;
}

static enum ce_status open_file(struct ce_placement *placement,
                                const char *path,
                                size_t layers,
                                size_t experts,
                                int ranks,
                                struct ce_error *err)
{
    enum ce_status status = ce_placement_read(placement, path, err);

    if (status == CE_ERR_IO) {
        ce_error_prefix(err, "a placement is contiguous, strided or a file");
    }
    if (status != CE_OK ||
        (placement->layers == layers && placement->experts == experts &&
         placement->ranks == ranks)) {
        return status;
    }
    status =
        ce_fail(err,
                CE_ERR_ARG,
                "%s: a placement of %zu layers with %zu experts on %d rank(s), but "
                "here are %zu layers with %zu experts and %d rank(s): make another "
                "with cemoe plan --model DIR --ranks %d --out FILE",
                path,
                placement->layers,
                placement->experts,
                placement->ranks,
                layers,
                experts,
                ranks,
                ranks);
    ce_placement_destroy(placement);
    return status;
}

enum ce_status ce_placement_open(struct ce_placement *placement,
                                 const char *what,
                                 size_t layers,
                                 size_t experts,
                                 int ranks,
                                 struct ce_error *err)
{
    struct ce_placement_recipe recipe = {.kind = CE_PLACEMENT_CONTIGUOUS,
                                         .replicas = 1};

    if (what != NULL && strcmp(what, "strided") == 0) {
        recipe.kind = CE_PLACEMENT_STRIDED;
    } else if (what != NULL && strcmp(what, "contiguous") != 0) {
        return open_file(placement, what, layers, experts, ranks, err);
    }
    return ce_placement_make(placement, &recipe, layers, experts, ranks, err);
}
