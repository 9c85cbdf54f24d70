/* compressed_file.c - fits rounded to BF16, as tensors of a safetensors file */

#include "calibrate/compressed_file.h"

#include "base/tensor.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    OWN_METADATA = 5,
    NUMBER_CHARS = 24, /* of a 64-bit number as text */
    FIRST_ROOM = 64,
};

struct ce_compressed_file {
    size_t hidden;
    size_t count;
    size_t room;
    struct ce_safetensors_entry *entries; /* names and data are ours */
};

enum ce_status ce_compressed_file_create(struct ce_compressed_file **file,
                                         size_t hidden,
                                         struct ce_error *err)
{
    *file = calloc(1, sizeof(**file));
    if (*file == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for compressed experts");
    }
    (*file)->hidden = hidden;
    return CE_OK;
}

static void *data_of(const struct ce_safetensors_entry *entry)
{
    union {
        const void *view;
        void *owned;
    } data = {.view = entry->tensor.data};

    return data.owned;
}

void ce_compressed_file_destroy(struct ce_compressed_file *file)
{
    if (file == NULL) {
        return;
    }
    for (size_t i = 0; i < file->count; i++) {
        free(file->entries[i].name);
        free(data_of(&file->entries[i]));
    }
    free(file->entries);
    free(file);
}

/* Where an expert's tensor is added to, for its texts. */
struct place {
    struct ce_compressed_file *file;
    size_t layer;
    size_t expert;
    struct ce_error *err;
};

static enum ce_status out_of_memory(const struct place *place)
{
    return ce_fail(place->err,
                   CE_ERR_NOMEM,
                   "no memory for the compressed expert %zu of layer %zu",
                   place->expert,
                   place->layer);
}

static enum ce_status grow(const struct place *place)
{
    struct ce_compressed_file *file = place->file;
    const size_t room = file->room == 0 ? FIRST_ROOM : 2 * file->room;
    struct ce_safetensors_entry *entries = NULL;

    if (file->count < file->room) {
        return CE_OK;
    }
    entries = reallocarray(file->entries, room, sizeof(*entries));
    if (entries == NULL) {
        return out_of_memory(place);
    }
    file->entries = entries;
    file->room = room;
    return CE_OK;
}

/* A new [rows][columns] or, with `columns` 0, [rows] tensor; its values are not set. */
static enum ce_status add_tensor(const struct place *place,
                                 const char *part,
                                 size_t rows,
                                 size_t columns,
                                 uint16_t **values)
{
    struct ce_compressed_file *file = place->file;
    const size_t count = columns == 0 ? rows : rows * columns;
    struct ce_safetensors_entry entry = {
        .tensor = {.dtype = CE_DTYPE_BF16,
                   .dims = columns == 0 ? 1 : 2,
                   .shape = {rows, columns},
                   .bytes = count * sizeof(**values)},
    };
    enum ce_status status = grow(place);

    if (status != CE_OK) {
        return status;
    }
    *values = calloc(count, sizeof(**values));
    if (*values == NULL || asprintf(&entry.name,
                                    "model.layers.%zu.mlp.affine.%zu.%s",
                                    place->layer,
                                    place->expert,
                                    part) < 0) {
        free(*values);
        return out_of_memory(place);
    }
    entry.tensor.data = *values;
    file->entries[file->count++] = entry;
    return CE_OK;
}

static enum ce_status
round_value(const struct place *place, const char *part, float value, uint16_t *rounded)
{
    *rounded = ce_bf16_from_f32(value);
    if (!isfinite(ce_f32_from_bf16(*rounded))) {
        return ce_fail(place->err,
                       CE_ERR_NUMERIC,
                       "compressed expert %zu of layer %zu: a value of '%s' is not "
                       "finite in BF16",
                       place->expert,
                       place->layer,
                       part);
    }
    return CE_OK;
}

/* from [rows][d], as [rows, d] or, turned, as [d, rows]. */
static enum ce_status add_rounded(const struct place *place,
                                  const char *part,
                                  const float *from,
                                  size_t rows,
                                  bool turned,
                                  const uint16_t **to)
{
    const size_t d = place->file->hidden;
    uint16_t *values = NULL;
    enum ce_status status =
        add_tensor(place, part, turned ? d : rows, turned ? rows : d, &values);

    for (size_t i = 0; status == CE_OK && i < rows; i++) {
        for (size_t j = 0; status == CE_OK && j < d; j++) {
            const size_t at = turned ? j * rows + i : i * d + j;

            status = round_value(place, part, from[i * d + j], &values[at]);
        }
    }
    *to = values;
    return status;
}

/* b = mean_y - U V mean_x, with what U [d, rank] and V [rank, d] are in the file. */
static enum ce_status add_constant(const struct place *place,
                                   const struct ce_fit *fit,
                                   const uint16_t *u,
                                   const uint16_t *v,
                                   size_t rank)
{
    const size_t d = place->file->hidden;
    double *mapped = calloc(rank + 1, sizeof(*mapped));
    uint16_t *values = NULL;
    enum ce_status status = mapped == NULL ? out_of_memory(place) : CE_OK;

    if (status == CE_OK) {
        status = add_tensor(place, "b", d, 0, &values);
    }
    for (size_t i = 0; status == CE_OK && i < rank; i++) {
        for (size_t j = 0; j < d; j++) {
            mapped[i] +=
                (double)ce_f32_from_bf16(v[i * d + j]) * (double)fit->mean_x[j];
        }
    }
    for (size_t j = 0; status == CE_OK && j < d; j++) {
        double constant = fit->mean_y[j];

        for (size_t i = 0; i < rank; i++) {
            constant -= (double)ce_f32_from_bf16(u[j * rank + i]) * mapped[i];
        }
        status = round_value(place, "b", (float)constant, &values[j]);
    }
    free(mapped);
    return status;
}

static enum ce_status add_neurons(const struct place *place,
                                  const struct ce_compressed_file_neurons *neurons)
{
    const uint16_t *ignored = NULL;
    enum ce_status status =
        add_rounded(place, "gate", neurons->gate, neurons->count, false, &ignored);

    if (status == CE_OK) {
        status = add_rounded(place, "up", neurons->up, neurons->count, false, &ignored);
    }
    if (status == CE_OK) {
        status =
            add_rounded(place, "down", neurons->down, neurons->count, true, &ignored);
    }
    return status;
}

enum ce_status ce_compressed_file_add(struct ce_compressed_file *file,
                                      size_t layer,
                                      size_t expert,
                                      const struct ce_fit *fit,
                                      size_t rank,
                                      const struct ce_compressed_file_neurons *neurons,
                                      struct ce_error *err)
{
    const struct place place = {
        .file = file, .layer = layer, .expert = expert, .err = err};
    const uint16_t *u = NULL;
    const uint16_t *v = NULL;
    enum ce_status status = CE_OK;

    if (fit->hidden != file->hidden || rank > fit->rank) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "compressed expert %zu of layer %zu: rank %zu of a fit of %zu",
                       expert,
                       layer,
                       rank,
                       fit->rank);
    }
    if (rank > 0) {
        status = add_rounded(&place, "u", fit->u, rank, true, &u);
    }
    if (status == CE_OK && rank > 0) {
        status = add_rounded(&place, "v", fit->v, rank, false, &v);
    }
    if (status == CE_OK) {
        status = add_constant(&place, fit, u, v, rank);
    }
    if (status == CE_OK && neurons != NULL && neurons->count > 0) {
        status = add_neurons(&place, neurons);
    }
    return status;
}

enum ce_status
ce_compressed_file_write_entries(const char *path,
                                 enum ce_compressed_kind kind,
                                 const struct ce_safetensors_entry *entries,
                                 size_t entry_count,
                                 const struct ce_compressed_file_facts *facts,
                                 struct ce_error *err)
{
    const size_t count = OWN_METADATA + facts->provenance_count;
    struct ce_safetensors_text *metadata = calloc(count, sizeof(*metadata));
    char n_ce[NUMBER_CHARS];
    char model[NUMBER_CHARS];
    enum ce_status status;

    if (metadata == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory for its metadata", path);
    }
    (void)snprintf(n_ce, sizeof(n_ce), "%zu", facts->n_ce);
    (void)snprintf(model, sizeof(model), "%016" PRIx64, facts->model);
    metadata[0] = (struct ce_safetensors_text){"format", CE_COMPRESSED_FORMAT};
    metadata[1] = (struct ce_safetensors_text){"version", CE_COMPRESSED_VERSION};
    metadata[2] = (struct ce_safetensors_text){"kind", ce_compressed_kind_name(kind)};
    metadata[3] = (struct ce_safetensors_text){"n_ce", n_ce};
    metadata[4] = (struct ce_safetensors_text){"model", model};
    for (size_t i = 0; i < facts->provenance_count; i++) {
        metadata[OWN_METADATA + i] = facts->provenance[i];
    }
    status =
        ce_safetensors_write_with(path, entries, entry_count, metadata, count, err);
    free(metadata);
    return status;
}

enum ce_status ce_compressed_file_write(const struct ce_compressed_file *file,
                                        const char *path,
                                        const struct ce_compressed_file_facts *facts,
                                        struct ce_error *err)
{
    return ce_compressed_file_write_entries(
        path, CE_COMPRESSED_AFFINE, file->entries, file->count, facts, err);
}
