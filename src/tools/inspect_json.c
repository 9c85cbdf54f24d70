/* inspect_json.c - an inspection as a JSON document with stable names */

#include "tools/inspect.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *integer(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* The shortest decimal that is this float: 1e-05, not 9.999999747378752e-06. */
static json_t *from_float(float value)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%.7g", (double)value);
    return json_real(strtod(text, NULL));
}

/* Names of Hugging Face where it has one. */
static json_t *describe_config(const struct ce_config *config)
{
    json_t *object = json_object();

    json_object_set_new(object, "dtype", json_string(ce_dtype_name(config->dtype)));
    json_object_set_new(object, "vocab_size", integer(config->vocab_size));
    json_object_set_new(object, "hidden_size", integer(config->hidden_size));
    json_object_set_new(
        object, "intermediate_size", integer(config->intermediate_size));
    json_object_set_new(object, "num_hidden_layers", integer(config->layers));
    json_object_set_new(object, "num_attention_heads", integer(config->heads));
    json_object_set_new(object, "num_key_value_heads", integer(config->kv_heads));
    json_object_set_new(object, "head_dim", integer(config->head_dim));
    json_object_set_new(object, "num_experts", integer(config->experts));
    json_object_set_new(object, "num_experts_per_tok", integer(config->top_k));
    json_object_set_new(
        object, "max_position_embeddings", integer(config->max_positions));
    json_object_set_new(object, "rms_norm_eps", from_float(config->rms_norm_eps));
    json_object_set_new(object, "rope_theta", json_real(config->rope_theta));
    json_object_set_new(object,
                        "clip_qkv",
                        config->clip_qkv > 0 ? from_float(config->clip_qkv)
                                             : json_null());
    json_object_set_new(object, "norm_topk_prob", json_boolean(config->norm_topk_prob));
    json_object_set_new(
        object, "tie_word_embeddings", json_boolean(config->tie_word_embeddings));
    json_object_set_new(object, "attention_bias", json_boolean(config->attention_bias));
    json_object_set_new(object, "use_ce", json_boolean(config->use_ce));
    json_object_set_new(object, "n_ce", integer(config->n_ce));
    return object;
}

static json_t *describe_stored(const struct ce_inspect_stored *stored)
{
    json_t *object = json_object();

    json_object_set_new(object, "tensors", integer(stored->tensors));
    json_object_set_new(object, "values", integer(stored->values));
    json_object_set_new(object, "bytes", integer(stored->bytes));
    return object;
}

static json_t *describe_weights(const struct ce_inspection *inspection)
{
    json_t *object = json_object();
    json_t *dtypes = json_object();

    for (int d = 0; d < CE_INSPECT_DTYPES; d++) {
        const struct ce_inspect_stored *stored = &inspection->stored[d];

        if (stored->tensors > 0) {
            json_object_set_new(
                dtypes, ce_dtype_name((enum ce_dtype)d), describe_stored(stored));
        }
    }
    json_object_set_new(object, "present", json_boolean(inspection->has_weights));
    json_object_set_new(object, "files", integer(inspection->files));
    json_object_set_new(
        object, "compressed_tables", json_boolean(inspection->has_tables));
    json_object_set_new(object, "dtypes", dtypes);
    return object;
}

static json_t *describe_parameters(const struct ce_inspect_parameters *parameters)
{
    json_t *object = json_object();

    json_object_set_new(object, "total", integer(parameters->total));
    json_object_set_new(object, "embedding", integer(parameters->embedding));
    json_object_set_new(object, "attention", integer(parameters->attention));
    json_object_set_new(object, "router", integer(parameters->router));
    json_object_set_new(object, "experts", integer(parameters->experts));
    json_object_set_new(object, "output", integer(parameters->output));
    json_object_set_new(object, "vectors", integer(parameters->vectors));
    json_object_set_new(object, "compressed_tables", integer(parameters->tables));
    json_object_set_new(object, "active_uncompressed", integer(parameters->active));
    json_object_set_new(
        object, "active_compressed", integer(parameters->active_compressed));
    json_object_set_new(
        object, "compressed_vectors", integer(parameters->compressed_vectors));
    return object;
}

static json_t *describe_memory(const struct ce_inspect_memory *memory)
{
    uint64_t everywhere = memory->dense + memory->tables;
    json_t *object = json_object();

    json_object_set_new(object, "dense_bytes", integer(memory->dense));
    json_object_set_new(object, "expert_bytes_min", integer(memory->experts_least));
    json_object_set_new(object, "expert_bytes_max", integer(memory->experts_most));
    json_object_set_new(object, "compressed_bytes", integer(memory->tables));
    json_object_set_new(
        object, "rank_bytes_min", integer(everywhere + memory->experts_least));
    json_object_set_new(
        object, "rank_bytes_max", integer(everywhere + memory->experts_most));
    json_object_set_new(object, "kv_bytes_per_token", integer(memory->cache_per_token));
    json_object_set_new(object, "experts_min", integer(memory->shard_least));
    json_object_set_new(object, "experts_max", integer(memory->shard_most));
    return object;
}

static json_t *describe_load(const struct ce_inspect_load *load)
{
    json_t *object = json_object();

    json_object_set_new(object, "rows", json_real(load->mean.rows));
    json_object_set_new(object, "results", json_real(load->mean.results));
    json_object_set_new(object, "payload_bytes", json_real(load->mean.payload_bytes));
    json_object_set_new(object, "metadata_bytes", json_real(load->mean.metadata_bytes));
    json_object_set_new(object, "bytes", json_real(ce_traffic_bytes(&load->mean)));
    json_object_set_new(object, "bytes_min", json_real(load->least));
    json_object_set_new(object, "bytes_max", json_real(load->most));
    return object;
}

static json_t *fraction(double value)
{
    return isnan(value) ? json_null() : json_real(value);
}

static json_t *describe_scheme(const struct ce_inspection *inspection,
                               enum ce_traffic_scheme scheme)
{
    struct ce_inspect_saving saving = ce_inspect_saving_of(inspection, scheme);
    json_t *object = json_object();

    json_object_set_new(
        object,
        "uncompressed",
        describe_load(&inspection->traffic[CE_INSPECT_UNCOMPRESSED][scheme]));
    json_object_set_new(
        object,
        "compressed",
        describe_load(&inspection->traffic[CE_INSPECT_COMPRESSED][scheme]));
    json_object_set_new(object, "saved", fraction(saving.same));
    json_object_set_new(
        object, "saved_against_per_assignment", fraction(saving.per_assignment));
    return object;
}

static json_t *describe_traffic(const struct ce_inspection *inspection)
{
    static const char *const names[CE_TRAFFIC_SCHEMES] = {
        [CE_TRAFFIC_PER_ASSIGNMENT] = "per_assignment",
        [CE_TRAFFIC_ORDERED] = "ordered",
        [CE_TRAFFIC_PARTIAL] = "partial"};
    json_t *object = json_object();

    for (int s = 0; s < CE_TRAFFIC_SCHEMES; s++) {
        json_object_set_new(
            object, names[s], describe_scheme(inspection, (enum ce_traffic_scheme)s));
    }
    json_object_set_new(
        object, "fixed_bytes_per_message_pair", integer(ce_traffic_fixed_bytes()));
    return object;
}

json_t *ce_inspect_describe(const struct ce_inspection *inspection)
{
    json_t *object = json_object();

    json_object_set_new(
        object,
        "architecture",
        json_string(ce_architecture_name(inspection->config.architecture)));
    json_object_set_new(object, "config", describe_config(&inspection->config));
    json_object_set_new(object, "weights", describe_weights(inspection));
    json_object_set_new(
        object, "parameters", describe_parameters(&inspection->parameters));
    json_object_set_new(object, "ranks", integer(inspection->ranks));
    json_object_set_new(object, "compressed", integer(inspection->n_ce));
    json_object_set_new(object,
                        "compressed_kind",
                        json_string(ce_compressed_kind_name(inspection->kind)));
    json_object_set_new(object, "memory", describe_memory(&inspection->memory));
    json_object_set_new(object, "traffic", describe_traffic(inspection));
    return object;
}
