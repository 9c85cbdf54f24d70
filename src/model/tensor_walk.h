/* tensor_walk.h - every tensor of a model, in one fixed order
 *
 * One description of the model serves planning, loading, dummy weights and the
 * check for leftovers: the walk calls a visitor with each tensor's name, shape
 * and the place its view belongs to. One function an architecture.
 */

#ifndef CE_MODEL_TENSOR_WALK_H
#define CE_MODEL_TENSOR_WALK_H

#include "base/status.h"
#include "base/tensor.h"
#include "model/config.h"
#include "model/weights.h"

#include <stddef.h>

enum ce_tensor_role {
    CE_TENSOR_MATRIX = 0, /* dense, in the format asked for */
    CE_TENSOR_EXACT,      /* dense, always in its stored type: embedding, router */
    CE_TENSOR_VECTOR,     /* widened to F32 */
    CE_TENSOR_EXPERT,     /* a matrix of one full expert, on its owner only */
    CE_TENSOR_TABLE,      /* compressed experts of a layer, widened to F32 */
};

enum ce_expert_part { CE_EXPERT_GATE = 0, CE_EXPERT_UP, CE_EXPERT_DOWN };

struct ce_tensor_slot {
    char name[128];
    enum ce_tensor_role role;
    unsigned dims;
    size_t shape[3];
    size_t layer;
    size_t expert;            /* role EXPERT */
    enum ce_expert_part part; /* role EXPERT */
    struct ce_matrix *matrix; /* of all matrices: where the view goes */
    const float **vector;     /* roles VECTOR and TABLE */
};

typedef enum ce_status (*ce_tensor_visitor)(void *context,
                                            const struct ce_tensor_slot *slot,
                                            struct ce_error *err);

/* Visits OLMoE's tensors. `weights->layers` must have config->layers elements
 * with their `experts`; lm_head is left out where the embeddings are tied. Stops
 * at the first visitor that fails. */
CE_MUST_CHECK enum ce_status ce_olmoe_walk(const struct ce_config *config,
                                           struct ce_weights *weights,
                                           ce_tensor_visitor visit,
                                           void *context,
                                           struct ce_error *err);

/* The name of the fused tensor that holds an expert's part in checkpoints saved
 * in transformers v5's run-time layout: [E][2f][d] (gate rows, then up rows) or
 * [E][d][f]. */
void ce_olmoe_fused_name(const struct ce_tensor_slot *slot, char *name, size_t size);

#endif
