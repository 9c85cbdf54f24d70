/* pack.c - converts a tensor, measures what that changed, and writes it */

#include "model/pack.h"

#include "base/hash.h"
#include "base/progress.h"
#include "model/identity.h"
#include "model/packed_model.h"
#include "model/weights_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pack {
    struct ce_weights_finder finder;
    struct ce_packed_writer writer;
    struct ce_identity identity; /* of what was read */
    struct ce_pack_report *report;
    struct ce_progress progress;
    unsigned char *buffer; /* of the largest tensor so far */
    size_t buffer_bytes;
};

static enum ce_status fail_memory(const char *name, struct ce_error *err)
{
    return ce_fail(err, CE_ERR_NOMEM, "no memory to pack tensor %s", name);
}

/* All outputs, shared by the threads. False when a weight cannot be quantised. */
static bool convert(const struct ce_matrix *to, const struct ce_matrix *from)
{
    const bool panels = ce_dtype_is_packed(to->dtype);
    const size_t tasks = ce_quantised_panels(from->outputs);
    bool good = true;

#pragma omp parallel for schedule(dynamic) reduction(&& : good)
    for (size_t i = 0; i < tasks; i++) {
        const size_t first = i * CE_QUANTISED_PANEL;
        const size_t left = from->outputs - first;
        const size_t rows = left < CE_QUANTISED_PANEL ? left : CE_QUANTISED_PANEL;

        good = ce_weights_convert(to, from, panels ? i : first, panels ? 1 : rows) ==
                   from->outputs &&
               good;
    }
    return good;
}

/* Sums of squares, of an output's weights and of what was changed. */
struct squares {
    double weights;
    double changes;
};

/* `a` and `b` have room for one output each. */
static struct squares compare_output(const struct ce_matrix *packed,
                                     const struct ce_matrix *stored,
                                     size_t output,
                                     float *a,
                                     float *b)
{
    struct squares sum = {0, 0};

    ce_weights_output(a, stored, output);
    ce_weights_output(b, packed, output);
    for (size_t i = 0; i < stored->inputs; i++) {
        const double change = (double)a[i] - (double)b[i];

        sum.weights += (double)a[i] * (double)a[i];
        sum.changes += change * change;
    }
    return sum;
}

/* The sums of the outputs are added in their order, whoever made them. False when there
 * is no memory. */
static bool measure_error(double *error,
                          const struct ce_matrix *packed,
                          const struct ce_matrix *stored)
{
    struct squares *of = calloc(stored->outputs, sizeof(of[0]));
    struct squares all = {0, 0};
    bool good = of != NULL;

#pragma omp parallel if (good) reduction(&& : good)
    {
        float *row = malloc(2 * stored->inputs * sizeof(row[0]));

        good = good && row != NULL;
#pragma omp for
        for (size_t o = 0; o < stored->outputs; o++) {
            if (good) {
                of[o] = compare_output(packed, stored, o, row, row + stored->inputs);
            }
        }
        free(row);
    }
    for (size_t o = 0; good && o < stored->outputs; o++) {
        all.weights += of[o].weights;
        all.changes += of[o].changes;
    }
    *error = all.changes > 0 ? sqrt(all.changes / all.weights) : 0;
    free(of);
    return good;
}

static bool grow_buffer(struct pack *pack, size_t bytes)
{
    if (bytes > pack->buffer_bytes) {
        free(pack->buffer);
        pack->buffer = malloc(bytes);
        pack->buffer_bytes = pack->buffer != NULL ? bytes : 0;
    }
    return pack->buffer != NULL;
}

/* The tensor as it will be in memory, in the buffer. */
static enum ce_status fill_buffer(struct pack *pack,
                                  struct ce_packed_entry *entry,
                                  const struct ce_tensor_slot *slot,
                                  const struct ce_tensor *from,
                                  struct ce_error *err)
{
    if (!grow_buffer(pack, entry->packed_bytes)) {
        return fail_memory(slot->name, err);
    }
    if (slot->vector != NULL) {
        const size_t values = entry->packed_bytes / sizeof(float);

        ce_tensor_widen((float *)(void *)pack->buffer, from->data, from->dtype, values);
        return CE_OK;
    }
    const struct ce_matrix stored = {
        from->dtype, slot->shape[0], slot->shape[1], from->data};
    const struct ce_matrix packed = {
        entry->packed, slot->shape[0], slot->shape[1], pack->buffer};

    if (!convert(&packed, &stored)) {
        return ce_weights_fail_quantising(slot->name, err);
    }
    return measure_error(&entry->error, &packed, &stored)
               ? CE_OK
               : fail_memory(slot->name, err);
}

/* All of the tensor, by all threads. */
static enum ce_status hash_tensor(struct pack *pack,
                                  const struct ce_tensor_slot *slot,
                                  const struct ce_tensor *from,
                                  struct ce_error *err)
{
    const struct ce_kernels *kernels = pack->writer.kernels;
    const size_t chunks = from->bytes / CE_IDENTITY_CHUNK + 1;
    uint64_t content = 0;
    enum ce_status status =
        ce_identity_add(&pack->identity, slot, ce_dtype_name(from->dtype), err);

    if (status != CE_OK) {
        return status;
    }
#pragma omp parallel for reduction(+ : content)
    for (size_t c = 0; c < chunks; c++) {
        const size_t begin = c * CE_IDENTITY_CHUNK;
        const size_t end = begin + CE_IDENTITY_CHUNK;

        content += ce_identity_chunks(kernels,
                                      from->data,
                                      from->bytes,
                                      begin,
                                      end < from->bytes ? end : from->bytes);
    }
    pack->identity.mark[pack->identity.count - 1].content = content;
    return CE_OK;
}

static enum ce_status add_entry(struct ce_pack_report *report,
                                const struct ce_packed_entry *entry,
                                struct ce_error *err)
{
    if (report->count == report->capacity) {
        size_t capacity = report->capacity * 2 + 64;
        struct ce_packed_entry *grown =
            reallocarray(report->entry, capacity, sizeof(grown[0]));

        if (grown == NULL) {
            return fail_memory(entry->name, err);
        }
        report->entry = grown;
        report->capacity = capacity;
    }
    report->entry[report->count++] = *entry;
    return CE_OK;
}

static enum ce_status pack_tensor(struct pack *pack,
                                  const struct ce_tensor_slot *slot,
                                  const struct ce_tensor *from,
                                  struct ce_error *err)
{
    const struct ce_weight_formats formats = pack->finder.request->formats;
    const enum ce_dtype dtype = slot->vector != NULL
                                    ? CE_DTYPE_F32
                                    : ce_weights_dtype(formats, slot, from->dtype);
    const struct ce_packed_tensor tensor = ce_weights_packed_tensor(slot, dtype);
    struct ce_packed_entry entry = {.role = slot->role,
                                    .stored = from->dtype,
                                    .packed = dtype,
                                    .stored_bytes = from->bytes,
                                    .packed_bytes = tensor.bytes};
    const void *data = from->data;
    enum ce_status status = hash_tensor(pack, slot, from, err);

    memcpy(entry.name, slot->name, sizeof(entry.name));
    if (status == CE_OK && dtype != from->dtype) {
        status = fill_buffer(pack, &entry, slot, from, err);
        data = pack->buffer;
    }
    if (status == CE_OK) {
        status = ce_packed_writer_add(&pack->writer, &tensor, data, err);
    }
    if (status == CE_OK) {
        status = add_entry(pack->report, &entry, err);
    }
    ce_progress_add(&pack->progress, from->bytes);
    return status;
}

static enum ce_status
visit_slot(void *context, const struct ce_tensor_slot *slot, struct ce_error *err)
{
    struct pack *pack = context;
    struct ce_tensor from = {0};
    enum ce_status status = ce_weights_find(&pack->finder, slot, &from, err);

    return status == CE_OK && from.data != NULL ? pack_tensor(pack, slot, &from, err)
                                                : status;
}

static enum ce_status
write_file(struct pack *pack, struct ce_weights *plan, struct ce_error *err)
{
    const struct ce_weights_request *request = pack->finder.request;
    enum ce_status status = ce_olmoe_walk(request->config, plan, visit_slot, pack, err);

    if (status == CE_OK) {
        status = ce_checkpoint_check_unchanged(request->checkpoint, err);
    }
    if (status != CE_OK) {
        return status;
    }
    ce_packed_writer_set_content(
        &pack->writer, ce_identity_sum(&pack->identity, false, CE_HASH_START));
    return ce_packed_writer_commit(&pack->writer, err);
}

static size_t checkpoint_bytes(const struct ce_checkpoint *checkpoint)
{
    size_t bytes = 0;

    for (size_t i = 0; i < checkpoint->count; i++) {
        bytes += checkpoint->entries[i].tensor->bytes;
    }
    return bytes;
}

enum ce_status ce_pack(struct ce_pack_report *report,
                       const struct ce_weights_request *request,
                       const char *path,
                       const struct ce_kernels *kernels,
                       struct ce_error *err)
{
    struct pack pack = {
        .finder = {.request = request},
        .report = report,
        .progress = {.verb = "packed", .total = checkpoint_bytes(request->checkpoint)}};
    struct ce_packed_source source = {
        .config_hash = ce_packed_config_hash(request->config),
        .tensors_hash = ce_checkpoint_hash(request->checkpoint)};
    struct ce_weights plan = {0};
    enum ce_status status = ce_weights_plan(&plan, request, err); /* checks all first */

    (void)snprintf(source.expert_format,
                   sizeof(source.expert_format),
                   "%s",
                   ce_weight_format_name(request->formats.experts));
    (void)snprintf(source.dense_format,
                   sizeof(source.dense_format),
                   "%s",
                   ce_weight_format_name(request->formats.dense));
    if (status == CE_OK) {
        status = ce_packed_writer_open(&pack.writer, path, &source, kernels, err);
        if (status == CE_OK) {
            status = write_file(&pack, &plan, err);
        }
        ce_packed_writer_close(&pack.writer);
    }
    ce_weights_destroy(&plan);
    ce_weights_finder_fini(&pack.finder);
    ce_identity_free(&pack.identity);
    free(pack.buffer);
    return status;
}

void ce_pack_report_free(struct ce_pack_report *report)
{
    free(report->entry);
    *report = (struct ce_pack_report){.count = 0};
}
