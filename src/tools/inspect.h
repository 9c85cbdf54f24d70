/* inspect.h - what `cemoe inspect` finds out about a model, and who prints it
 *
 * inspect_model.c and inspect_traffic.c fill the parts, inspect_text.c shows
 * them to people, inspect_json.c to programs.
 */

#ifndef CE_TOOLS_INSPECT_H
#define CE_TOOLS_INSPECT_H

#include "base/status.h"
#include "base/tensor.h"
#include "model/compressed_experts.h"
#include "model/config.h"
#include "moe/traffic.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CE_INSPECT_DTYPES (CE_DTYPE_Q4 + 1)

struct ce_inspect_stored {
    uint64_t tensors;
    uint64_t values;
    uint64_t bytes;
};

/* Numbers of parameters. Active is what a token passes through: all matrices,
 * the embedding table and the output layer counted whole, but of the experts
 * only those that run. Norms and biases count in the total only. */
struct ce_inspect_parameters {
    uint64_t embedding;
    uint64_t attention;
    uint64_t router;
    uint64_t experts;
    uint64_t output;  /* 0 where it is the embedding */
    uint64_t vectors; /* norms and biases */
    uint64_t tables;  /* compressed experts */
    uint64_t total;
    uint64_t active;             /* top_k experts */
    uint64_t active_compressed;  /* top_k - n_ce experts */
    uint64_t compressed_vectors; /* what n_ce compressed experts of the mean size add */
};

/* Resident bytes of a rank's weights, and of a token in its KV cache. */
struct ce_inspect_memory {
    uint64_t dense;
    uint64_t experts_least; /* over the ranks */
    uint64_t experts_most;
    uint64_t tables; /* on every rank, where n_ce > 0 */
    uint64_t cache_per_token;
    size_t shard_least; /* experts of a layer */
    size_t shard_most;
};

/* Bytes one token is expected to cost in one layer, in one scheme. */
struct ce_inspect_load {
    struct ce_traffic_estimate mean;
    double least; /* of the ranks: the one with the largest shard */
    double most;
};

enum ce_inspect_choice {
    CE_INSPECT_UNCOMPRESSED = 0,
    CE_INSPECT_COMPRESSED,
    CE_INSPECT_CHOICES
};

struct ce_inspection {
    const char *model;
    const char *compressed_experts; /* a separate file of them, or NULL */
    enum ce_compressed_kind kind;   /* of that, else of the model's own */
    struct ce_config config;
    size_t ranks;
    size_t n_ce;      /* compressed experts of a token */
    bool has_weights; /* else all is computed from config.json */
    size_t files;     /* of weights */
    bool has_tables;  /* of compressed experts, in all layers */
    struct ce_inspect_stored stored[CE_INSPECT_DTYPES];
    struct ce_inspect_parameters parameters;
    struct ce_inspect_memory memory;
    struct ce_inspect_load traffic[CE_INSPECT_CHOICES][CE_TRAFFIC_SCHEMES];
};

/* Stands for the config's n_ce or, where it has none, half of top_k. */
#define CE_INSPECT_DEFAULT_N_CE SIZE_MAX

/* Reads config.json and the headers of the weights, checks every tensor, and
 * fills all but the traffic. model, ranks and n_ce must be set, compressed_experts
 * may be. */
CE_MUST_CHECK enum ce_status ce_inspect_model(struct ce_inspection *inspection,
                                              struct ce_error *err);

/* The full experts of a model: how many, and the bytes of each. */
struct ce_inspect_experts {
    size_t layers;
    size_t experts;  /* of a layer */
    uint64_t *bytes; /* [layers][experts], malloc'ed */
};
/* Checks the tensors as ce_inspect_model does. */
CE_MUST_CHECK enum ce_status ce_inspect_experts(struct ce_inspect_experts *experts,
                                                const char *model,
                                                struct ce_error *err);

CE_MUST_CHECK enum ce_status ce_inspect_traffic(struct ce_inspection *inspection,
                                                struct ce_error *err);

/* Both baselines of a saving. NAN where nothing travels. */
struct ce_inspect_saving {
    double same;           /* against the same scheme uncompressed */
    double per_assignment; /* against a row per assignment uncompressed */
};
struct ce_inspect_saving ce_inspect_saving_of(const struct ce_inspection *inspection,
                                              enum ce_traffic_scheme scheme);

void ce_inspect_print(const struct ce_inspection *inspection);
json_t *ce_inspect_describe(const struct ce_inspection *inspection);

#endif
