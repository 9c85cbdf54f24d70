/* compressed_experts_affine.c - the affine kind: six tensors an expert to two matrices
 */

#include "model/compressed_experts_parts.h"

#include <math.h>
#include <stdio.h>

enum part { B = 0, U, V, GATE, UP, DOWN, PARTS };

static const char *const part_name[PARTS] = {"b", "u", "v", "gate", "up", "down"};

/* The tensors of one expert, NULL where there is none. */
struct parts {
    const struct ce_tensor *of[PARTS];
};

static struct ce_compressed_name name_part(size_t layer, size_t expert, enum part part)
{
    struct ce_compressed_name name;

    (void)snprintf(name.text,
                   sizeof(name.text),
                   "model.layers.%zu.mlp.affine.%zu.%s",
                   layer,
                   expert,
                   part_name[part]);
    return name;
}

static struct parts
find_parts(struct ce_compressed_file *in, size_t layer, size_t expert)
{
    struct parts parts;

    for (int p = 0; p < PARTS; p++) {
        const struct ce_compressed_name name = name_part(layer, expert, (enum part)p);

        parts.of[p] = ce_compressed_find(in, name.text);
    }
    return parts;
}

/* The rank or the number of neurons: what `part`, a matrix with d columns, has rows of;
 * 0 where it is not there. */
static size_t rows_of(const struct parts *parts, enum part part)
{
    const struct ce_tensor *tensor = parts->of[part];

    return tensor != NULL && tensor->dims == 2 ? tensor->shape[0] : 0;
}

/* Parts first .. last are all there or none of them. */
static enum ce_status check_together(const struct ce_compressed_file *in,
                                     const struct parts *parts,
                                     size_t layer,
                                     size_t expert,
                                     enum part first,
                                     enum part last,
                                     struct ce_error *err)
{
    int missing = -1;
    int found = -1;

    for (int p = (int)first; p <= (int)last; p++) {
        if (parts->of[p] != NULL) {
            found = p;
        } else {
            missing = p;
        }
    }
    if (missing < 0 || found < 0) {
        return CE_OK;
    }
    const struct ce_compressed_name name = name_part(layer, expert, (enum part)missing);
    char what[64];

    (void)snprintf(
        what, sizeof(what), "is missing, though there is .%s", part_name[found]);
    return ce_compressed_fail(in, name.text, what, err);
}

/* Shapes of parts that are there, with d = hidden_size. */
static enum ce_status check_shapes(const struct ce_compressed_file *in,
                                   const struct parts *parts,
                                   size_t layer,
                                   size_t expert,
                                   struct ce_error *err)
{
    const size_t d = in->config->hidden_size;
    const size_t r = rows_of(parts, V);
    const size_t s = rows_of(parts, GATE);
    const struct {
        unsigned dims;
        size_t shape[2];
    } wanted[PARTS] = {[B] = {1, {d, 0}},
                       [U] = {2, {d, r}},
                       [V] = {2, {r, d}},
                       [GATE] = {2, {s, d}},
                       [UP] = {2, {s, d}},
                       [DOWN] = {2, {d, s}}};
    enum ce_status status = CE_OK;

    for (int p = 0; status == CE_OK && p < PARTS; p++) {
        const struct ce_compressed_name name = name_part(layer, expert, (enum part)p);

        if (parts->of[p] != NULL) {
            status = ce_compressed_check(
                in, name.text, parts->of[p], wanted[p].dims, wanted[p].shape, err);
        }
    }
    return status;
}

/* The number of rows of a part that is there is 1 .. most. */
static enum ce_status check_rows(const struct ce_compressed_file *in,
                                 const struct parts *parts,
                                 size_t layer,
                                 size_t expert,
                                 enum part part,
                                 size_t most,
                                 struct ce_error *err)
{
    const size_t rows = rows_of(parts, part);

    if (parts->of[part] == NULL || (rows > 0 && rows <= most)) {
        return CE_OK;
    }
    const struct ce_compressed_name name = name_part(layer, expert, part);
    char what[64];

    (void)snprintf(what, sizeof(what), "has %zu rows, expected 1 to %zu", rows, most);
    return ce_compressed_fail(in, name.text, what, err);
}

static enum ce_status check_parts(const struct ce_compressed_file *in,
                                  const struct parts *parts,
                                  size_t layer,
                                  size_t expert,
                                  struct ce_error *err)
{
    const size_t d = in->config->hidden_size;
    const size_t f = in->config->intermediate_size;
    enum ce_status status = CE_OK;

    if (parts->of[B] == NULL) {
        const struct ce_compressed_name name = name_part(layer, expert, B);

        return ce_compressed_fail(in, name.text, "is missing", err);
    }
    status = check_together(in, parts, layer, expert, U, V, err);
    if (status == CE_OK) {
        status = check_together(in, parts, layer, expert, GATE, DOWN, err);
    }
    if (status == CE_OK) {
        status = check_rows(in, parts, layer, expert, V, d, err);
    }
    if (status == CE_OK) {
        status = check_rows(in, parts, layer, expert, GATE, f, err);
    }
    return status == CE_OK ? check_shapes(in, parts, layer, expert, err) : status;
}

static struct ce_matrix
take_matrix(struct ce_compressed_experts *experts, size_t rows, size_t d)
{
    const size_t values = rows * d;

    experts->bytes += values * sizeof(uint16_t);
    return (struct ce_matrix){CE_DTYPE_BF16,
                              rows,
                              d,
                              ce_arena_take(&experts->arena, values, sizeof(uint16_t))};
}

static void place_expert(struct ce_compressed_experts *experts,
                         const struct parts *parts,
                         size_t d,
                         struct ce_affine_expert *expert)
{
    const size_t r = rows_of(parts, V);
    const size_t s = rows_of(parts, GATE);

    *expert = (struct ce_affine_expert){.rank = r, .neurons = s};
    expert->inputs = take_matrix(experts, r + 2 * s, d);
    expert->outputs = take_matrix(experts, 1 + r + s, d);
    experts->parameters += d * (1 + 2 * r + 3 * s);
    if (r + 2 * s > experts->most_inputs) {
        experts->most_inputs = r + 2 * s;
    }
}

enum ce_status ce_affine_place(struct ce_compressed_experts *experts,
                               struct ce_compressed_file *in,
                               struct ce_error *err)
{
    for (size_t i = 0; i < experts->layers * experts->experts; i++) {
        const size_t layer = i / experts->experts;
        const size_t expert = i % experts->experts;
        const struct parts parts = find_parts(in, layer, expert);
        enum ce_status status = check_parts(in, &parts, layer, expert, err);

        if (status != CE_OK) {
            return status;
        }
        place_expert(experts, &parts, in->config->hidden_size, &experts->affine[i]);
    }
    return CE_OK;
}

/* ---- values ---- */

static uint16_t *row_of(const struct ce_matrix *matrix, size_t row)
{
    return (uint16_t *)(uintptr_t)matrix->data + row * matrix->inputs;
}

/* Elements as they are widened at once. */
#define PIECE ((size_t)256)

/* Element (i, j) of the tensor [rows][columns] to out[i * row_step + j * column_step].
 * False when a value is not finite, also for being too large for BF16. */
static bool copy_part(uint16_t *out,
                      const struct ce_tensor *tensor,
                      size_t rows,
                      size_t columns,
                      size_t row_step,
                      size_t column_step)
{
    const unsigned char *from = tensor->data;
    const size_t size = ce_dtype_size(tensor->dtype);
    bool finite = true;

    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j += PIECE) {
            const size_t n = columns - j < PIECE ? columns - j : PIECE;
            float piece[PIECE];

            ce_tensor_widen(piece, from + (i * columns + j) * size, tensor->dtype, n);
            for (size_t k = 0; k < n; k++) {
                const uint16_t bits = ce_bf16_from_f32(piece[k]);

                finite = isfinite(ce_f32_from_bf16(bits)) && finite;
                out[i * row_step + (j + k) * column_step] = bits;
            }
        }
    }
    return finite;
}

/* Copies one part to its place; false when a value is not finite. */
static bool fill_part(const struct ce_affine_expert *expert,
                      const struct ce_tensor *tensor,
                      enum part part)
{
    const size_t d = expert->outputs.inputs;
    const size_t r = expert->rank;
    const size_t s = expert->neurons;

    switch (part) {
    case B:
        return copy_part(row_of(&expert->outputs, 0), tensor, 1, d, d, 1);
    case U:
        return copy_part(row_of(&expert->outputs, 1), tensor, d, r, 1, d);
    case V:
        return copy_part(row_of(&expert->inputs, 0), tensor, r, d, d, 1);
    case GATE:
        return copy_part(row_of(&expert->inputs, r), tensor, s, d, d, 1);
    case UP:
        return copy_part(row_of(&expert->inputs, r + s), tensor, s, d, d, 1);
    case DOWN:
        return copy_part(row_of(&expert->outputs, 1 + r), tensor, d, s, 1, d);
    case PARTS:
        break;
    }
    return false;
}

/* The first part with a value that is not finite, or PARTS. */
static enum part fill_expert(const struct ce_affine_expert *expert,
                             const struct parts *parts)
{
    for (int p = 0; p < PARTS; p++) {
        if (parts->of[p] != NULL && !fill_part(expert, parts->of[p], (enum part)p)) {
            return (enum part)p;
        }
    }
    return PARTS;
}

enum ce_status ce_affine_fill(struct ce_compressed_experts *experts,
                              struct ce_compressed_file *in,
                              struct ce_error *err)
{
    const size_t count = experts->layers * experts->experts;
    size_t bad = SIZE_MAX;

#pragma omp parallel for schedule(dynamic) reduction(min : bad)
    for (size_t i = 0; i < count; i++) {
        const struct parts parts =
            find_parts(in, i / experts->experts, i % experts->experts);
        const enum part part = fill_expert(&experts->affine[i], &parts);

        if (part != PARTS && i * PARTS + (size_t)part < bad) {
            bad = i * PARTS + (size_t)part;
        }
    }
    if (bad == SIZE_MAX) {
        return CE_OK;
    }
    const struct ce_compressed_name name = name_part(bad / PARTS / experts->experts,
                                                     bad / PARTS % experts->experts,
                                                     (enum part)(bad % PARTS));

    return ce_compressed_fail(in, name.text, "has a value that is not finite", err);
}
