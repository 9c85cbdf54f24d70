/* inspect_text.c - an inspection as tables for people */

#include "base/streams.h"
#include "tools/inspect.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static void put_count(const char *label, uint64_t value, const char *note)
{
    ce_print("  %-22s %12" PRIu64 "%s%s\n", label, value, *note ? "   " : "", note);
}

static void put_text(const char *label, const char *text)
{
    ce_print("  %-22s %12s\n", label, text);
}

static void put_config(const struct ce_config *config)
{
    char heads[64];
    char width[64];
    char clip[32] = "no";

    (void)snprintf(heads,
                   sizeof(heads),
                   "of %zu, %zu for keys and values",
                   config->head_dim,
                   config->kv_heads);
    (void)snprintf(width, sizeof(width), "of width %zu", config->intermediate_size);
    if (config->clip_qkv > 0) {
        (void)snprintf(clip, sizeof(clip), "%g", (double)config->clip_qkv);
    }
    ce_print("%s\n", ce_architecture_name(config->architecture));
    put_count("layers", config->layers, "");
    put_count("hidden size", config->hidden_size, "");
    put_count("attention heads", config->heads, heads);
    put_count("experts of a layer", config->experts, width);
    put_count("experts per token",
              config->top_k,
              config->norm_topk_prob ? "weights divided by their sum" : "");
    put_count("compressed of them",
              config->n_ce,
              config->use_ce ? "by default (use_ce)" : "only when asked for");
    put_count("vocabulary", config->vocab_size, "");
    put_count("longest context", config->max_positions, "");
    ce_print("  %-22s %12g\n", "RoPE theta", config->rope_theta);
    ce_print("  %-22s %12g\n", "RMS norm epsilon", (double)config->rms_norm_eps);
    put_text("clipped q, k, v", clip);
    put_text("attention biases", config->attention_bias ? "yes" : "no");
    put_text("tied embeddings", config->tie_word_embeddings ? "yes" : "no");
    put_text("type in config.json", ce_dtype_name(config->dtype));
}

static void put_stored(const struct ce_inspection *inspection)
{
    if (!inspection->has_weights) {
        ce_print("\nNo weights here: all that follows is computed from "
                 "config.json\n");
        return;
    }
    ce_print("\nStored in %zu file%s\n",
             inspection->files,
             inspection->files == 1 ? "" : "s");
    for (int d = 0; d < CE_INSPECT_DTYPES; d++) {
        const struct ce_inspect_stored *stored = &inspection->stored[d];

        if (stored->tensors > 0) {
            ce_print("  %-22s %12" PRIu64 "   values in %" PRIu64
                     " tensors, %.2f MiB\n",
                     ce_dtype_name((enum ce_dtype)d),
                     stored->values,
                     stored->tensors,
                     (double)stored->bytes / 0x1p20);
        }
    }
    put_text("compressed experts",
             inspection->has_tables ? ce_compressed_kind_name(inspection->kind) : "no");
}

static void put_millions(const char *label, uint64_t value)
{
    ce_print("  %-22s %12.3f M\n", label, (double)value / 1e6);
}

static void put_parameters(const struct ce_inspection *inspection)
{
    const struct ce_inspect_parameters *p = &inspection->parameters;
    size_t mains = inspection->config.top_k - inspection->n_ce;
    char label[64];

    ce_print("\nParameters\n");
    put_millions("embedding", p->embedding);
    put_millions("attention", p->attention);
    put_millions("routers", p->router);
    put_millions("experts", p->experts);
    put_millions("output layer", p->output);
    put_millions("norms and biases", p->vectors);
    put_millions("compressed experts", p->tables);
    put_millions("total", p->total);
    (void)snprintf(
        label, sizeof(label), "active, %zu experts", inspection->config.top_k);
    put_millions(label, p->active);
    (void)snprintf(label, sizeof(label), "active, %zu experts", mains);
    ce_print("  %-22s %12.3f M (%+.1f %%) with %zu compressed, which add "
             "%.3f M\n",
             label,
             (double)p->active_compressed / 1e6,
             100 * ((double)p->active_compressed / (double)p->active - 1),
             inspection->n_ce,
             (double)p->compressed_vectors / 1e6);
}

static void put_mebibytes(const char *label, uint64_t bytes)
{
    ce_print("  %-22s %12.2f MiB\n", label, (double)bytes / 0x1p20);
}

static void put_memory(const struct ce_inspection *inspection)
{
    const struct ce_inspect_memory *m = &inspection->memory;

    ce_print("\nMemory of each of %zu rank%s\n",
             inspection->ranks,
             inspection->ranks == 1 ? "" : "s");
    put_mebibytes("dense weights", m->dense);
    put_mebibytes("compressed experts", m->tables);
    if (m->shard_least == m->shard_most) {
        put_mebibytes("its experts", m->experts_most);
    } else {
        put_mebibytes("its experts, least", m->experts_least);
        put_mebibytes("its experts, most", m->experts_most);
    }
    ce_print("  %-22s %12" PRIu64 " bytes\n", "KV cache per token", m->cache_per_token);
}

/* Both savings stand in every row: neither may be quoted as the other. */
static void put_scheme(const struct ce_inspection *inspection,
                       enum ce_traffic_scheme scheme,
                       const char *label)
{
    const struct ce_inspect_load *before =
        &inspection->traffic[CE_INSPECT_UNCOMPRESSED][scheme];
    const struct ce_inspect_load *after =
        &inspection->traffic[CE_INSPECT_COMPRESSED][scheme];
    struct ce_inspect_saving saving = ce_inspect_saving_of(inspection, scheme);

    ce_print("  %-22s %12.1f %12.1f %8.1f %% %18.1f %%\n",
             label,
             ce_traffic_bytes(&before->mean),
             ce_traffic_bytes(&after->mean),
             100 * saving.same,
             100 * saving.per_assignment);
}

static void put_spread(const struct ce_inspection *inspection)
{
    const struct ce_inspect_load *load =
        &inspection->traffic[CE_INSPECT_COMPRESSED][CE_TRAFFIC_ORDERED];

    if (inspection->memory.shard_least != inspection->memory.shard_most) {
        ce_print("  Shards are uneven: a rank's tokens cost %.1f to %.1f bytes, "
                 "ordered and compressed.\n",
                 load->least,
                 load->most);
    }
}

static void put_traffic(const struct ce_inspection *inspection)
{
    size_t top_k = inspection->config.top_k;
    char before[32];
    char after[32];

    if (inspection->ranks == 1) {
        ce_print("\nNothing travels on one rank; --ranks N shows what would\n");
        return;
    }
    (void)snprintf(before, sizeof(before), "%zu full", top_k);
    (void)snprintf(after, sizeof(after), "%zu full", top_k - inspection->n_ce);
    ce_print("\nBytes per token to be sent and received in a layer, uniform "
             "routing, %zu ranks\n"
             "  %-22s %12s %12s   saved against\n"
             "  %-22s %12s %12s %10s %20s\n",
             inspection->ranks,
             "",
             "",
             "",
             "",
             before,
             after,
             "the same",
             "row per assignment");
    put_scheme(inspection, CE_TRAFFIC_PER_ASSIGNMENT, "row per assignment");
    put_scheme(inspection, CE_TRAFFIC_ORDERED, "ordered combine");
    put_scheme(inspection, CE_TRAFFIC_PARTIAL, "partial combine");
    ce_print("  A step adds %zu bytes for each pair of ranks and layer, and less than "
             "%d of padding.\n",
             ce_traffic_fixed_bytes(),
             CE_TRAFFIC_PADDING_BYTES);
    put_spread(inspection);
}

void ce_inspect_print(const struct ce_inspection *inspection)
{
    put_config(&inspection->config);
    put_stored(inspection);
    put_parameters(inspection);
    put_memory(inspection);
    put_traffic(inspection);
}
