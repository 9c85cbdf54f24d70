/* parts.c - files of layers: written whole, checked when read */

#include "calibrate/parts.h"

#include "base/file.h"
#include "base/hash.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC     "cemoecal"
#define VERSION   3
#define JOB_NAME  "job"
#define JOB_LIMIT ((size_t)1 << 20)

struct head {
    char magic[8];
    uint64_t version;
    uint64_t job; /* hash of what it is of */
    uint64_t layer;
    uint64_t experts;
    uint64_t hidden;
    uint64_t most_rank;
    uint64_t neurons;
    double moe_out[CE_TEXT_SETS];
};

/* ---- the job ---- */

static size_t line_length(const char *line)
{
    return strcspn(line, "\n");
}

/* The first line in which two jobs differ. */
static enum ce_status compare_jobs(const struct ce_parts *parts,
                                   const char *there,
                                   const char *here,
                                   struct ce_error *err)
{
    while (*there != '\0' || *here != '\0') {
        const size_t theirs = line_length(there);
        const size_t ours = line_length(here);

        if (theirs != ours || memcmp(there, here, ours) != 0) {
            return ce_fail(
                err,
                CE_ERR_ARG,
                "%s is of another calibration: \"%.*s\" there, \"%.*s\" here; "
                "remove it to begin anew, or choose another directory",
                parts->dir,
                (int)theirs,
                there,
                (int)ours,
                here);
        }
        there += theirs + (there[theirs] == '\n');
        here += ours + (here[ours] == '\n');
    }
    return CE_OK;
}

static enum ce_status open_job(const struct ce_parts *parts,
                               const char *path,
                               const char *job,
                               struct ce_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    enum ce_status status = CE_OK;

    if (!ce_file_exists(path)) {
        return ce_file_write_atomic(path, job, strlen(job), err);
    }
    status = ce_file_read(path, JOB_LIMIT, &text, &bytes, err);
    if (status == CE_OK) {
        status = compare_jobs(parts, text, job, err);
    }
    free(text);
    return status;
}

enum ce_status ce_parts_open(struct ce_parts *parts,
                             const char *dir,
                             const char *job,
                             struct ce_error *err)
{
    char *path = NULL;
    enum ce_status status = CE_OK;

    parts->dir = strdup(dir);
    parts->job = ce_hash_bytes(CE_HASH_START, job, strlen(job));
    path = ce_path_join(dir, JOB_NAME);
    if (parts->dir == NULL || path == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "%s: no memory", dir);
    } else if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        status = ce_fail(err, CE_ERR_IO, "%s: %s", dir, strerror(errno));
    } else {
        status = open_job(parts, path, job, err);
    }
    free(path);
    return status;
}

void ce_parts_close(struct ce_parts *parts)
{
    free(parts->dir);
    *parts = (struct ce_parts){0};
}

/* ---- files of layers ---- */

/* malloc'ed; NULL when out of memory. */
static char *part_path(const struct ce_parts *parts, size_t layer)
{
    char *path = NULL;

    return asprintf(&path, "%s/layer-%zu.part", parts->dir, layer) < 0 ? NULL : path;
}

void ce_parts_remove(const struct ce_parts *parts)
{
    char *job = ce_path_join(parts->dir, JOB_NAME);

    for (size_t layer = 0; layer < parts->layers; layer++) {
        char *path = part_path(parts, layer);

        if (path != NULL) {
            (void)unlink(path);
        }
        free(path);
    }
    if (job != NULL) {
        (void)unlink(job);
    }
    (void)rmdir(parts->dir);
    free(job);
}

static size_t records_bytes(const struct ce_parts *parts)
{
    return parts->body_bytes > 0 ? parts->body_bytes
                                 : parts->experts * ce_record_bytes(parts->shape);
}

static struct head make_head(const struct ce_parts *parts, size_t layer)
{
    struct head head = {.version = VERSION,
                        .job = parts->job,
                        .layer = layer,
                        .experts = parts->experts,
                        .hidden = parts->shape.hidden,
                        .most_rank = parts->shape.most_rank,
                        .neurons = parts->shape.neurons};

    memcpy(head.magic, MAGIC, sizeof(head.magic));
    return head;
}

/* Of both, one after the other. */
static uint64_t
checksum(const struct ce_parts *parts, const struct head *head, const void *records)
{
    const uint64_t sums[2] = {
        parts->kernels->checksum(head, sizeof(*head)),
        parts->kernels->checksum(records, records_bytes(parts)),
    };

    return parts->kernels->checksum(sums, sizeof(sums));
}

static enum ce_status no_memory(struct ce_error *err)
{
    return ce_fail(err, CE_ERR_NOMEM, "no memory for the name of a file");
}

enum ce_status ce_parts_write(const struct ce_parts *parts,
                              size_t layer,
                              const struct ce_part_facts *facts,
                              const void *records,
                              struct ce_error *err)
{
    struct head head = make_head(parts, layer);
    char *path = part_path(parts, layer);
    enum ce_status status = CE_OK;

    if (path == NULL) {
        return no_memory(err);
    }
    memcpy(head.moe_out, facts->moe_out, sizeof(head.moe_out));
    const uint64_t sum = checksum(parts, &head, records);
    const struct ce_file_piece pieces[] = {
        {&head, sizeof(head)}, {records, records_bytes(parts)}, {&sum, sizeof(sum)}};

    status = ce_file_write_pieces_atomic(
        path, pieces, sizeof(pieces) / sizeof(pieces[0]), err);
    free(path);
    return status;
}

static bool head_is_good(const struct ce_parts *parts, const struct head *head)
{
    const struct head wanted = make_head(parts, (size_t)head->layer);
    bool good = memcmp(head, &wanted, offsetof(struct head, moe_out)) == 0;

    for (int set = 0; set < CE_TEXT_SETS; set++) {
        good = good && isfinite(head->moe_out[set]) && head->moe_out[set] >= 0;
    }
    return good;
}

/* Checks an image of the right size. */
static bool take_apart(const struct ce_parts *parts, size_t layer, struct ce_part *part)
{
    struct head head;
    uint64_t sum = 0;

    memcpy(&head, part->image, sizeof(head));
    part->records = (unsigned char *)part->image + sizeof(head);
    memcpy(&sum, part->records + records_bytes(parts), sizeof(sum));
    memcpy(part->facts.moe_out, head.moe_out, sizeof(head.moe_out));
    return head.layer == layer && head_is_good(parts, &head) &&
           sum == checksum(parts, &head, part->records);
}

enum ce_status ce_parts_read(const struct ce_parts *parts,
                             size_t layer,
                             struct ce_part *part,
                             struct ce_error *err)
{
    const size_t wanted = sizeof(struct head) + records_bytes(parts) + sizeof(uint64_t);
    char *path = part_path(parts, layer);
    size_t bytes = 0;
    enum ce_status status = CE_OK;

    *part = (struct ce_part){.image = NULL};
    if (path == NULL) {
        return no_memory(err);
    }
    status = ce_file_read(path, wanted + 1, &part->image, &bytes, err);
    if (status == CE_OK && (bytes != wanted || !take_apart(parts, layer, part))) {
        status = ce_fail(
            err, CE_ERR_FORMAT, "%s: damaged, or of another version; remove it", path);
    }
    if (status != CE_OK) {
        ce_part_free(part);
    }
    free(path);
    return status;
}

bool ce_parts_has(const struct ce_parts *parts, size_t layer)
{
    struct ce_error ignored = {.text = ""};
    struct ce_part part = {.image = NULL};
    const bool has = ce_parts_read(parts, layer, &part, &ignored) == CE_OK;

    ce_part_free(&part);
    return has;
}

void ce_part_free(struct ce_part *part)
{
    free(part->image);
    *part = (struct ce_part){.image = NULL};
}
