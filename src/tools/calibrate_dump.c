/* calibrate_dump.c - the rows of one layer's experts, for a fit by other means */

#include "model/safetensors.h"
#include "tools/calibrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows of one expert and set. */
struct rows {
    float *x; /* [count][hidden] */
    float *y;
    float *weights;
    size_t count;
    size_t room;
};

struct ce_calibrate_dump {
    size_t experts;
    size_t hidden;
    struct rows *rows; /* [experts][CE_TEXT_SETS] */
    bool failed;       /* no memory */
};

static float *grow(float *values, size_t room, size_t width)
{
    return reallocarray(values, room, width * sizeof(*values));
}

static bool make_room(struct rows *rows, size_t count, size_t hidden)
{
    const size_t room = 2 * rows->room + count;
    float *x = NULL;
    float *y = NULL;
    float *weights = NULL;

    if (rows->count + count <= rows->room) {
        return true;
    }
    x = grow(rows->x, room, hidden);
    rows->x = x != NULL ? x : rows->x;
    y = grow(rows->y, room, hidden);
    rows->y = y != NULL ? y : rows->y;
    weights = grow(rows->weights, room, 1);
    rows->weights = weights != NULL ? weights : rows->weights;
    if (x == NULL || y == NULL || weights == NULL) {
        return false;
    }
    rows->room = room;
    return true;
}

/* The harvest's rows stand one after another. */
static void see(void *context,
                enum ce_text_set set,
                size_t expert,
                const struct ce_moments_rows *seen)
{
    struct ce_calibrate_dump *dump = context;
    struct rows *rows = &dump->rows[expert * CE_TEXT_SETS + (size_t)set];
    const size_t d = dump->hidden;

    if (dump->failed || !make_room(rows, seen->rows, d)) {
        dump->failed = true;
        return;
    }
    memcpy(rows->x + rows->count * d, seen->x, seen->rows * d * sizeof(float));
    memcpy(rows->y + rows->count * d, seen->y, seen->rows * d * sizeof(float));
    memcpy(rows->weights + rows->count, seen->weights, seen->rows * sizeof(float));
    rows->count += seen->rows;
}

enum ce_status ce_calibrate_dump_open(struct ce_calibrate_job *job,
                                      struct ce_error *err)
{
    const size_t layer = job->values->dump_layer;
    struct ce_calibrate_dump *dump = NULL;

    if (job->values->dump == NULL) {
        return CE_OK;
    }
    if (job->layers.solved[layer] != 0) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "layer %zu is done already, its rows are gone: remove %s or "
                       "choose another --parts",
                       layer,
                       job->parts_dir);
    }
    job->dump = dump = calloc(1, sizeof(*dump));
    if (dump != NULL) {
        dump->experts = job->config.experts;
        dump->hidden = job->config.hidden_size;
        dump->rows = calloc(dump->experts * CE_TEXT_SETS, sizeof(dump->rows[0]));
    }
    if (dump == NULL || dump->rows == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the dump");
    }
    job->layers.tee_layer = layer;
    job->layers.tee = see;
    job->layers.tee_context = dump;
    return CE_OK;
}

void ce_calibrate_dump_close(struct ce_calibrate_dump *dump)
{
    if (dump == NULL) {
        return;
    }
    for (size_t i = 0; dump->rows != NULL && i < dump->experts * CE_TEXT_SETS; i++) {
        free(dump->rows[i].x);
        free(dump->rows[i].y);
        free(dump->rows[i].weights);
    }
    free(dump->rows);
    free(dump);
}

enum { TENSORS = 3, NAME_CHARS = 48 };

/* x, y and a of one expert and set. */
static void list_tensors(const struct ce_calibrate_dump *dump,
                         size_t index,
                         struct ce_safetensors_entry *entry,
                         char (*name)[NAME_CHARS])
{
    static const char *const parts[TENSORS] = {"x", "y", "a"};
    const struct rows *rows = &dump->rows[index];
    const float *const data[TENSORS] = {rows->x, rows->y, rows->weights};

    for (size_t i = 0; i < TENSORS; i++) {
        const bool is_vector = i == TENSORS - 1;
        const size_t width = is_vector ? 1 : dump->hidden;

        (void)snprintf(name[i],
                       NAME_CHARS,
                       "%zu.%s.%s",
                       index / CE_TEXT_SETS,
                       ce_text_set_name((enum ce_text_set)(index % CE_TEXT_SETS)),
                       parts[i]);
        entry[i] = (struct ce_safetensors_entry){
            .name = name[i],
            .tensor = {.dtype = CE_DTYPE_F32,
                       .dims = is_vector ? 1 : 2,
                       .shape = {rows->count, is_vector ? 0 : dump->hidden},
                       .bytes = rows->count * width * sizeof(float),
                       .data = data[i]}};
    }
}

enum ce_status ce_calibrate_dump_write(struct ce_calibrate_job *job,
                                       struct ce_error *err)
{
    const struct ce_calibrate_dump *dump = job->dump;

    if (dump == NULL) {
        return CE_OK;
    }
    const size_t sets = dump->experts * CE_TEXT_SETS;
    struct ce_safetensors_entry *entries = calloc(sets * TENSORS, sizeof(*entries));
    char(*names)[NAME_CHARS] = calloc(sets * TENSORS, sizeof(*names));
    enum ce_status status = CE_OK;

    if (dump->failed || entries == NULL || names == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory for the dump");
    }
    for (size_t i = 0; status == CE_OK && i < sets; i++) {
        list_tensors(dump, i, entries + i * TENSORS, names + i * TENSORS);
    }
    if (status == CE_OK) {
        status = ce_safetensors_write(job->values->dump, entries, sets * TENSORS, err);
    }
    free(names);
    free(entries);
    return status;
}
