/* weights_dummy.c - random weights of a model's shapes, for measuring speed
 *
 * Uniform in +-sqrt(3 / inputs), so that activations keep their size; norms are
 * 1, compressed tables 1 +- 0.1. Four elements come from one 64-bit hash of
 * (seed, tensor name, index): a pure function, the same for any rank count.
 */

#include "model/weights.h"
#include "model/weights_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Elements one task fills. */
#define BLOCK ((size_t)1 << 20)

/* Values an element can have. */
#define COLOURS ((size_t)1 << 16)

struct palette {
    enum ce_dtype dtype;
    float center;
    float spread;
    union {
        uint16_t half[COLOURS]; /* BF16 and F16 */
        float whole[COLOURS];
    };
};

struct dummy {
    const struct ce_config *config;
    struct ce_weights *weights;
    const unsigned char *owned;
    struct ce_weights_split split;
    struct ce_weight_formats formats;
    uint64_t seed;
    struct palette *palette; /* of the tensor that is being filled */
};

/* Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
 * OOPSLA 2014 (SplitMix64). */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

static uint64_t tensor_key(uint64_t seed, const char *name)
{
    for (; *name != '\0'; name++) {
        seed = mix(seed ^ (unsigned char)*name);
    }
    return seed;
}

/* What each of the 65536 values of 16 bits stands for in a tensor: in -1 .. 1, times
 * spread, around center. */
static void
paint(struct palette *palette, enum ce_dtype dtype, float center, float spread)
{
    if (palette->dtype == dtype && palette->center == center &&
        palette->spread == spread) {
        return;
    }
    *palette = (struct palette){.dtype = dtype, .center = center, .spread = spread};
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < COLOURS; i++) {
        const float value = center + spread * (((float)i - 32767.5F) / 32768.0F);

        if (dtype == CE_DTYPE_BF16) {
            palette->half[i] = ce_bf16_from_f32(value);
        } else if (dtype == CE_DTYPE_F16) {
            palette->half[i] = ce_f16_from_f32(value);
        } else {
            palette->whole[i] = value;
        }
    }
}

/* Elements first .. first + count - 1 of the tensor with this key. */
static void fill_run(
    void *data, const struct palette *palette, size_t first, size_t count, uint64_t key)
{
    const bool halves = ce_dtype_size(palette->dtype) == sizeof(uint16_t);
    uint64_t bits = mix(key ^ (first / 4));

    for (size_t i = 0; i < count; i++) {
        const size_t element = first + i;
        const size_t shift = element % 4 * 16;

        bits = shift == 0 ? mix(key ^ (element / 4)) : bits;
        if (halves) {
            ((uint16_t *)data)[i] = palette->half[bits >> shift & (COLOURS - 1)];
        } else {
            ((float *)data)[i] = palette->whole[bits >> shift & (COLOURS - 1)];
        }
    }
}

static void fill(void *data,
                 const struct palette *palette,
                 size_t elements,
                 size_t first,
                 uint64_t key)
{
    const size_t size = ce_dtype_size(palette->dtype);
    const size_t blocks = (elements + BLOCK - 1) / BLOCK;

#pragma omp parallel for schedule(dynamic)
    for (size_t b = 0; b < blocks; b++) {
        const size_t begin = b * BLOCK;
        const size_t left = elements - begin;

        fill_run((unsigned char *)data + begin * size,
                 palette,
                 first + begin,
                 left < BLOCK ? left : BLOCK,
                 key);
    }
}

static size_t slot_elements(const struct ce_tensor_slot *slot)
{
    size_t elements = 1;

    for (unsigned i = 0; i < slot->dims; i++) {
        elements *= slot->shape[i];
    }
    return elements;
}

/* Quantised from the values that `dtype` would hold: panel by panel, so that no more of
 * the matrix than that is ever there. */
static void fill_packed(const struct ce_matrix *to,
                        const struct palette *palette,
                        size_t from_row,
                        uint64_t key)
{
    const size_t row_bytes = to->inputs * ce_dtype_size(palette->dtype);
    const size_t panels = ce_quantised_panels(to->outputs);
    const size_t panel_bytes =
        ce_weights_matrix_bytes(to->dtype, CE_QUANTISED_PANEL, to->inputs);

#pragma omp parallel
    {
        void *rows = malloc(CE_QUANTISED_PANEL * row_bytes);

#pragma omp for schedule(dynamic)
        for (size_t p = 0; p < panels; p++) {
            const size_t first = p * CE_QUANTISED_PANEL;
            const size_t left = to->outputs - first;
            const size_t count = left < CE_QUANTISED_PANEL ? left : CE_QUANTISED_PANEL;
            const struct ce_matrix from = {palette->dtype, count, to->inputs, rows};
            const struct ce_matrix panel = {to->dtype,
                                            count,
                                            to->inputs,
                                            (const unsigned char *)to->data +
                                                p * panel_bytes};

            if (rows != NULL) { /* without memory they stay zero, which is harmless */
                fill_run(rows,
                         palette,
                         (from_row + first) * to->inputs,
                         count * to->inputs,
                         key);
                (void)ce_weights_convert(&panel, &from, 0, 1);
            }
        }
        free(rows);
    }
}

static void
fill_slot(const struct dummy *dummy, const struct ce_tensor_slot *slot, void *data)
{
    const uint64_t key = tensor_key(dummy->seed, slot->name);
    const size_t first = ce_weights_rows(dummy->split, slot).first;
    const struct ce_matrix *matrix = slot->matrix;
    struct palette *palette = dummy->palette;

    if (matrix == NULL) {
        paint(palette, CE_DTYPE_F32, 1.0F, slot->role == CE_TENSOR_TABLE ? 0.1F : 0.0F);
        fill(data, palette, slot_elements(slot), 0, key);
        return;
    }
    const bool packed = ce_dtype_is_packed(matrix->dtype);

    paint(palette,
          packed ? dummy->config->dtype : matrix->dtype,
          0.0F,
          sqrtf(3.0F / (float)matrix->inputs));
    if (packed) {
        fill_packed(matrix, palette, first, key);
    } else {
        fill(data,
             palette,
             matrix->outputs * matrix->inputs,
             first * matrix->inputs,
             key);
    }
}

/* Bytes a tensor takes; of a matrix its view is set but for the data. */
static size_t shape_slot(const struct dummy *dummy, const struct ce_tensor_slot *slot)
{
    if (slot->matrix == NULL) {
        return slot_elements(slot) * sizeof(float);
    }
    const enum ce_dtype dtype =
        ce_weights_dtype(dummy->formats, slot, dummy->config->dtype);
    const size_t outputs = ce_weights_rows(dummy->split, slot).count;

    *slot->matrix = (struct ce_matrix){dtype, outputs, slot->shape[1], NULL};
    return ce_weights_matrix_bytes(dtype, outputs, slot->shape[1]);
}

static enum ce_status
visit_slot(void *context, const struct ce_tensor_slot *slot, struct ce_error *err)
{
    struct dummy *dummy = context;
    size_t bytes = 0;
    void *data = NULL;

    (void)err;
    if (slot->role == CE_TENSOR_EXPERT &&
        !dummy->owned[slot->layer * dummy->config->experts + slot->expert]) {
        return CE_OK;
    }
    bytes = shape_slot(dummy, slot);
    data = ce_arena_take(&dummy->weights->arena, bytes, 1);
    ce_weights_count(dummy->weights, slot->role, bytes);
    if (slot->matrix != NULL) {
        slot->matrix->data = data;
    } else {
        *slot->vector = data;
    }
    if (data != NULL) {
        fill_slot(dummy, slot, data);
    }
    return CE_OK;
}

static enum ce_status walk(struct dummy *dummy, struct ce_error *err)
{
    enum ce_status status = ce_weights_take_layers(dummy->weights, dummy->config, err);

    if (status == CE_OK) {
        status = ce_olmoe_walk(dummy->config, dummy->weights, visit_slot, dummy, err);
    }
    return status;
}

enum ce_status ce_weights_plan_dummy(struct ce_weights *plan,
                                     const struct ce_config *config,
                                     const unsigned char *owned,
                                     struct ce_weights_split split,
                                     struct ce_weight_formats formats,
                                     struct ce_error *err)
{
    struct dummy dummy = {.config = config,
                          .weights = plan,
                          .owned = owned,
                          .split = split,
                          .formats = formats};

    *plan = (struct ce_weights){0};
    ce_arena_measure(&plan->arena);
    return walk(&dummy, err);
}

enum ce_status ce_weights_dummy(struct ce_weights *weights,
                                const struct ce_config *config,
                                const unsigned char *owned,
                                struct ce_weights_split split,
                                struct ce_weight_formats formats,
                                uint64_t seed,
                                struct ce_error *err)
{
    struct dummy dummy = {.config = config,
                          .weights = weights,
                          .owned = owned,
                          .split = split,
                          .formats = formats,
                          .seed = seed,
                          .palette = calloc(1, sizeof(*dummy.palette))};
    struct ce_weights plan = {0};
    enum ce_status status =
        ce_weights_plan_dummy(&plan, config, owned, split, formats, err);

    *weights = (struct ce_weights){0};
    if (status == CE_OK && dummy.palette == NULL) {
        status = ce_fail(err, CE_ERR_NOMEM, "no memory for dummy weights");
    }
    if (status == CE_OK) {
        status = ce_arena_create(&weights->arena, plan.arena.used, err);
    }
    if (status == CE_OK) {
        status = walk(&dummy, err);
    }
    if (status == CE_OK && config->tie_word_embeddings) {
        ce_weights_tie(weights, split);
    }
    ce_weights_destroy(&plan);
    free(dummy.palette);
    return status;
}
