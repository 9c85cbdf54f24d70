/* olmoe.c - the tensors of an OLMoE checkpoint and their shapes
 *
 * Source: Hugging Face transformers, model type "olmoe".
 */

#include "model/tensor_walk.h"

#include <stdio.h>

struct walk {
    const struct ce_config *config;
    ce_tensor_visitor visit;
    void *context;
    struct ce_error *err;
    enum ce_status status; /* the first failure; later visits are skipped */
    struct ce_tensor_slot slot;
};

static void visit(struct walk *w) /* the slot, whose name is complete */
{
    if (w->status == CE_OK) {
        w->status = w->visit(w->context, &w->slot, w->err);
    }
}

static void name_global(struct walk *w, const char *name)
{
    (void)snprintf(w->slot.name, sizeof(w->slot.name), "%s", name);
}

static void name_in_layer(struct walk *w, const char *part)
{
    (void)snprintf(
        w->slot.name, sizeof(w->slot.name), "model.layers.%zu.%s", w->slot.layer, part);
}

static void
set_matrix(struct walk *w, struct ce_matrix *m, size_t outputs, size_t inputs)
{
    w->slot.role = CE_TENSOR_MATRIX;
    w->slot.dims = 2;
    w->slot.shape[0] = outputs;
    w->slot.shape[1] = inputs;
    w->slot.matrix = m;
    w->slot.vector = NULL;
}

static void set_vector(struct walk *w, const float **vector, size_t n)
{
    w->slot.role = CE_TENSOR_VECTOR;
    w->slot.dims = 1;
    w->slot.shape[0] = n;
    w->slot.matrix = NULL;
    w->slot.vector = vector;
}

static void layer_matrix(struct walk *w,
                         const char *part,
                         struct ce_matrix *m,
                         size_t outputs,
                         size_t inputs)
{
    name_in_layer(w, part);
    set_matrix(w, m, outputs, inputs);
    visit(w);
}

static void
exact_matrix(struct walk *w, struct ce_matrix *m, size_t outputs, size_t inputs)
{
    set_matrix(w, m, outputs, inputs);
    w->slot.role = CE_TENSOR_EXACT;
    visit(w);
}

static void
layer_vector(struct walk *w, const char *part, const float **vector, size_t n)
{
    name_in_layer(w, part);
    set_vector(w, vector, n);
    visit(w);
}

static void walk_attention(struct walk *w, struct ce_layer_weights *layer)
{
    const struct ce_config *c = w->config;
    size_t d = c->hidden_size;
    size_t q = c->heads * c->head_dim;
    size_t kv = c->kv_heads * c->head_dim;

    layer_vector(w, "input_layernorm.weight", &layer->attention_norm, d);
    layer_matrix(w, "self_attn.q_proj.weight", &layer->q, q, d);
    layer_matrix(w, "self_attn.k_proj.weight", &layer->k, kv, d);
    layer_matrix(w, "self_attn.v_proj.weight", &layer->v, kv, d);
    layer_matrix(w, "self_attn.o_proj.weight", &layer->o, d, q);
    layer_vector(w, "self_attn.q_norm.weight", &layer->q_norm, q);
    layer_vector(w, "self_attn.k_norm.weight", &layer->k_norm, kv);
    if (c->attention_bias) {
        layer_vector(w, "self_attn.q_proj.bias", &layer->q_bias, q);
        layer_vector(w, "self_attn.k_proj.bias", &layer->k_bias, kv);
        layer_vector(w, "self_attn.v_proj.bias", &layer->v_bias, kv);
        layer_vector(w, "self_attn.o_proj.bias", &layer->o_bias, d);
    }
    layer_vector(w, "post_attention_layernorm.weight", &layer->moe_norm, d);
}

static void expert_matrix(struct walk *w,
                          enum ce_expert_part part,
                          struct ce_matrix *m,
                          size_t outputs,
                          size_t inputs)
{
    static const char *const names[] = {"gate_proj", "up_proj", "down_proj"};

    (void)snprintf(w->slot.name,
                   sizeof(w->slot.name),
                   "model.layers.%zu.mlp.experts.%zu.%s.weight",
                   w->slot.layer,
                   w->slot.expert,
                   names[part]);
    set_matrix(w, m, outputs, inputs);
    w->slot.role = CE_TENSOR_EXPERT;
    w->slot.part = part;
    visit(w);
}

static void walk_experts(struct walk *w, struct ce_layer_weights *layer)
{
    size_t d = w->config->hidden_size;
    size_t f = w->config->intermediate_size;

    for (size_t e = 0; e < w->config->experts; e++) {
        struct ce_expert_weights *expert = &layer->experts[e];

        w->slot.expert = e;
        expert_matrix(w, CE_EXPERT_GATE, &expert->gate, f, d);
        expert_matrix(w, CE_EXPERT_UP, &expert->up, f, d);
        expert_matrix(w, CE_EXPERT_DOWN, &expert->down, d, f);
    }
}

static void walk_table(struct walk *w, struct ce_layer_weights *layer)
{
    size_t d = w->config->hidden_size;
    size_t f = w->config->intermediate_size;

    name_in_layer(w, "mlp.ces");
    w->slot.role = CE_TENSOR_TABLE;
    w->slot.dims = 3;
    w->slot.shape[0] = w->config->experts;
    w->slot.shape[1] = 3;
    w->slot.shape[2] = d > f ? d : f;
    w->slot.matrix = NULL;
    w->slot.vector = &layer->compressed;
    visit(w);
}

static void walk_layer(struct walk *w, struct ce_layer_weights *layer)
{
    walk_attention(w, layer);
    name_in_layer(w, "mlp.gate.weight");
    exact_matrix(w, &layer->router, w->config->experts, w->config->hidden_size);
    walk_experts(w, layer);
    walk_table(w, layer);
}

enum ce_status ce_olmoe_walk(const struct ce_config *config,
                             struct ce_weights *weights,
                             ce_tensor_visitor visitor,
                             void *context,
                             struct ce_error *err)
{
    struct walk w = {
        .config = config, .visit = visitor, .context = context, .err = err};
    size_t d = config->hidden_size;

    name_global(&w, "model.embed_tokens.weight");
    exact_matrix(&w, &weights->embedding, config->vocab_size, d);
    for (size_t l = 0; l < config->layers && w.status == CE_OK; l++) {
        w.slot.layer = l;
        walk_layer(&w, &weights->layers[l]);
    }
    name_global(&w, "model.norm.weight");
    set_vector(&w, &weights->norm, d);
    visit(&w);
    if (!config->tie_word_embeddings) {
        name_global(&w, "lm_head.weight");
        set_matrix(&w, &weights->output, config->vocab_size, d);
        visit(&w);
    }
    return w.status;
}

void ce_olmoe_fused_name(const struct ce_tensor_slot *slot, char *name, size_t size)
{
    (void)snprintf(name,
                   size,
                   "model.layers.%zu.mlp.experts.%s",
                   slot->layer,
                   slot->part == CE_EXPERT_DOWN ? "down_proj" : "gate_up_proj");
}
