/* weights.c - the lists and counts all weights have, loaded or dummy */

#include "model/weights.h"

#include "model/weights_internal.h"

#include <stdlib.h>

enum ce_status ce_weights_take_layers(struct ce_weights *weights,
                                      const struct ce_config *config,
                                      struct ce_error *err)
{
    size_t d = config->hidden_size;
    size_t f = config->intermediate_size;

    weights->layers = calloc(config->layers, sizeof(weights->layers[0]));
    weights->experts =
        calloc(config->layers * config->experts, sizeof(weights->experts[0]));
    if (weights->layers == NULL || weights->experts == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for the list of layers");
    }
    for (size_t l = 0; l < config->layers; l++) {
        weights->layers[l].experts = weights->experts + l * config->experts;
        weights->layers[l].compressed_width = d > f ? d : f;
    }
    return CE_OK;
}

struct ce_slice ce_weights_slice(struct ce_weights_split split, size_t outputs)
{
    if (split.ranks < 2) {
        return (struct ce_slice){0, outputs};
    }
    const size_t panels = ce_quantised_panels(outputs);
    const size_t first = panels * split.rank / split.ranks * CE_QUANTISED_PANEL;
    const size_t end = panels * (split.rank + 1) / split.ranks * CE_QUANTISED_PANEL;

    return (struct ce_slice){first, (end < outputs ? end : outputs) - first};
}

struct ce_slice ce_weights_rows(struct ce_weights_split split,
                                const struct ce_tensor_slot *slot)
{
    const bool whole = slot->role != CE_TENSOR_EXPERT && slot->role != CE_TENSOR_MATRIX;

    return ce_weights_slice(whole ? (struct ce_weights_split){0} : split,
                            slot->shape[0]);
}

void ce_weights_tie(struct ce_weights *weights, struct ce_weights_split split)
{
    const struct ce_matrix *whole = &weights->embedding;
    const struct ce_slice slice = ce_weights_slice(split, whole->outputs);

    weights->output = *whole;
    weights->output.outputs = slice.count;
    weights->output.data =
        (const unsigned char *)whole->data +
        ce_weights_matrix_bytes(whole->dtype, slice.first, whole->inputs);
}

void ce_weights_count(struct ce_weights *weights,
                      enum ce_tensor_role role,
                      size_t bytes)
{
    switch (role) {
    case CE_TENSOR_EXPERT:
        weights->expert_bytes += bytes;
        break;
    case CE_TENSOR_TABLE:
        weights->compressed_bytes += bytes;
        break;
    case CE_TENSOR_MATRIX:
    case CE_TENSOR_EXACT:
    case CE_TENSOR_VECTOR:
        weights->dense_bytes += bytes;
        break;
    }
}

void ce_weights_destroy(struct ce_weights *weights)
{
    free(weights->layers);
    free(weights->experts);
    ce_arena_destroy(&weights->arena);
    ce_file_map_close(&weights->map);
    *weights = (struct ce_weights){0};
}
