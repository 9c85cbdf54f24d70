/* weights_dummy.c - random weights of a model's shapes, for measuring speed
 *
 * Uniform in +-sqrt(3 / inputs), so that activations keep their size; norms are
 * 1, compressed tables 1 +- 0.1. Four elements come from one 64-bit hash of
 * (seed, tensor name, index): a pure function, the same for any rank count.
 */

#include "model/weights.h"
#include "model/weights_internal.h"

#include <math.h>
#include <string.h>

/* Elements one task fills. */
#define BLOCK ((size_t)1 << 20)

struct dummy {
    const struct ce_config *config;
    struct ce_weights *weights;
    const unsigned char *owned;
    uint64_t seed;
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

static void store(void *data, enum ce_dtype dtype, size_t i, float value)
{
    if (dtype == CE_DTYPE_BF16) {
        ((uint16_t *)data)[i] = ce_bf16_from_f32(value);
    } else if (dtype == CE_DTYPE_F16) {
        ((uint16_t *)data)[i] = ce_f16_from_f32(value);
    } else {
        ((float *)data)[i] = value;
    }
}

static void fill_block(void *data,
                       enum ce_dtype dtype,
                       size_t begin,
                       size_t end,
                       uint64_t key,
                       float center,
                       float spread)
{
    for (size_t i = begin; i < end; i++) {
        uint64_t bits = mix(key ^ (i / 4)) >> (i % 4 * 16);
        float unit = ((float)(bits & 0xffff) - 32767.5F) / 32768.0F;

        store(data, dtype, i, center + spread * unit);
    }
}

static void fill(void *data,
                 enum ce_dtype dtype,
                 size_t elements,
                 uint64_t key,
                 float center,
                 float spread)
{
    size_t blocks = (elements + BLOCK - 1) / BLOCK;

#pragma omp parallel for schedule(dynamic)
    for (size_t b = 0; b < blocks; b++) {
        size_t end = (b + 1) * BLOCK < elements ? (b + 1) * BLOCK : elements;

        fill_block(data, dtype, b * BLOCK, end, key, center, spread);
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

static void fill_slot(const struct ce_tensor_slot *slot,
                      void *data,
                      enum ce_dtype dtype,
                      uint64_t seed)
{
    uint64_t key = tensor_key(seed, slot->name);
    size_t elements = slot_elements(slot);

    if (slot->matrix != NULL) {
        fill(data, dtype, elements, key, 0.0F, sqrtf(3.0F / (float)slot->shape[1]));
    } else if (slot->role == CE_TENSOR_TABLE) {
        fill(data, dtype, elements, key, 1.0F, 0.1F);
    } else {
        fill(data, dtype, elements, key, 1.0F, 0.0F);
    }
}

static enum ce_status
visit_slot(void *context, const struct ce_tensor_slot *slot, struct ce_error *err)
{
    struct dummy *dummy = context;
    enum ce_dtype dtype = slot->matrix != NULL ? dummy->config->dtype : CE_DTYPE_F32;
    size_t bytes = slot_elements(slot) * ce_dtype_size(dtype);
    void *data = NULL;

    (void)err;
    if (slot->role == CE_TENSOR_EXPERT &&
        !dummy->owned[slot->layer * dummy->config->experts + slot->expert]) {
        return CE_OK;
    }
    data = ce_arena_take(&dummy->weights->arena, bytes, 1);
    ce_weights_count(dummy->weights, slot->role, bytes);
    if (slot->matrix != NULL) {
        *slot->matrix = (struct ce_matrix){dtype, slot->shape[0], slot->shape[1], data};
    } else {
        *slot->vector = data;
    }
    if (data != NULL) {
        fill_slot(slot, data, dtype, dummy->seed);
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
                                     struct ce_error *err)
{
    struct dummy dummy = {.config = config, .weights = plan, .owned = owned};

    *plan = (struct ce_weights){0};
    ce_arena_measure(&plan->arena);
    return walk(&dummy, err);
}

enum ce_status ce_weights_dummy(struct ce_weights *weights,
                                const struct ce_config *config,
                                const unsigned char *owned,
                                uint64_t seed,
                                struct ce_error *err)
{
    struct dummy dummy = {
        .config = config, .weights = weights, .owned = owned, .seed = seed};
    struct ce_weights plan = {0};
    enum ce_status status = ce_weights_plan_dummy(&plan, config, owned, err);

    *weights = (struct ce_weights){0};
    if (status == CE_OK) {
        status = ce_arena_create(&weights->arena, plan.arena.used, err);
    }
    if (status == CE_OK) {
        status = walk(&dummy, err);
    }
    if (status == CE_OK && config->tie_word_embeddings) {
        weights->output = weights->embedding;
    }
    ce_weights_destroy(&plan);
    return status;
}
