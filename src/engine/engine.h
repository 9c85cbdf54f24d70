/* engine.h - the parts of an engine, for the files of this folder and the tools
 *
 * The calls are those of cemoe/cemoe.h.
 */

#ifndef CE_ENGINE_ENGINE_H
#define CE_ENGINE_ENGINE_H

#include "base/arena.h"
#include "base/file_stamp.h"
#include "cemoe/cemoe.h"
#include "comm/transport.h"
#include "engine/dense.h"
#include "engine/kv_cache.h"
#include "kernels/kernels.h"
#include "model/compressed_experts.h"
#include "model/config.h"
#include "model/weights.h"
#include "moe/moe.h"
#include "moe/placement.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ce_stage {
    CE_STAGE_EMBED = 0,
    CE_STAGE_ATTENTION,
    CE_STAGE_MOE, /* all of it; its parts are in moe.counters */
    CE_STAGE_LOGITS,
    CE_STAGE_AGREE,
    CE_STAGES
};

/* Totals since creation, of this rank. */
struct ce_engine_counters {
    uint64_t steps;
    uint64_t tokens;
    uint64_t logits;
    uint64_t dense_steps;  /* that multiplied with attention's matrices */
    uint64_t logits_steps; /* with the output matrix */
    uint64_t stage_ns[CE_STAGES];
};

/* Bytes this rank needs, known before anything is loaded. */
struct ce_memory_plan {
    size_t dense;
    size_t experts;
    size_t compressed;
    size_t cache;
    size_t scratch;
    size_t receive; /* the transport's buffers for what peers send, and the window */
    size_t extra;   /* the caller's, as it said */
    size_t total;
};

/* Consecutive tokens of one sequence: what a task of attention works on. */
struct ce_span {
    uint32_t first;
    uint32_t tokens;
};

/* A rank, for messages. */
struct ce_engine_peer {
    char host[64];
    char model[160]; /* its --model, cut */
};

/* What tells the model from others, the same on all ranks however many there are and
 * whatever each of them has read. */
struct ce_engine_identity {
    uint64_t model;   /* weights as the checkpoint has them, whatever format they have
                         here; 0: a packed model that does not say */
    uint64_t weights; /* the same, but of a packed model also what it made of them */
    uint64_t tables;  /* its own compressed experts, where they are loaded */
};

/* The tokens of one step, flattened: token t is new in item[t] at position[t]. */
struct ce_batch {
    size_t tokens;
    const struct ce_sequence **sequence; /* [step_tokens] */
    uint32_t *position;                  /* [step_tokens] */
    int32_t *id;                         /* [step_tokens] */
    size_t spans;
    struct ce_span *span; /* [step_tokens] */
    size_t rows;
    uint32_t *logits_token; /* [step_logits] the token of each row of logits */
};

/* Sees values as a step computes them; for golden tests and debugging. `name` is
 * "embed", "attn_out" (before the residual), "moe_in", "moe_out" or "out" (the
 * residual stream after a layer); values are [tokens][hidden], valid during the
 * call; the routing is in engine->moe.routing at "moe_out". */
struct ce_observer {
    void (*see)(void *context,
                const char *name,
                size_t layer,
                const float *values,
                size_t tokens,
                size_t hidden);
    void *context;
};

struct ce_engine {
    struct ce_transport *transport;
    struct ce_config config;
    struct ce_engine_options options; /* strings are not kept: NULL */
    size_t compressed; /* n_ce in use: auxiliary experts that are compressed */
    size_t mains;      /* experts of a token that run in full */
    struct ce_message_size message_size[CE_SLOT_COUNT]; /* the largest there are */
    struct ce_weight_formats formats;
    enum ce_wire_format wire;
    enum ce_combine combine;
    enum ce_overlap overlap;
    enum ce_expert_split split;
    enum ce_dtype kv; /* of the cache */
    enum ce_isa isa;
    const struct ce_kernels *kernels;
    struct ce_placement placement; /* split: of what nobody owns alone; see whole */
    struct ce_placement whole;     /* split: all experts on the host, as one rank */
    struct ce_window *window;      /* split: NULL before it is made */
    struct ce_weights weights;
    /* Compressed experts out of a file of their own, used instead of the weights'; of
     * kind NONE where there are none. Until they are loaded: their plan. */
    struct ce_compressed_experts separate;
    struct ce_memory_plan plan;
    struct ce_arena arena;
    size_t sequence_positions; /* longest possible sequence */
    float *cosine;             /* [sequence_positions][head_dim / 2] */
    float *sine;
    struct ce_kv_cache cache;
    struct ce_moe moe;
    struct ce_batch batch;
    struct ce_activations act;
    struct ce_dense dense;
    int threads;
    uint32_t step;
    struct ce_observer observer; /* see is NULL: nobody */
    struct ce_engine_counters counters;
    char hosts[256];              /* ranks, hosts and threads, for the log */
    struct ce_engine_peer *peers; /* [ranks] */
    struct ce_engine_identity identity;
    struct ce_file_watch files; /* that were read or are mapped */
};

/* The identity of the engine that ce_engine_create would make, by reading all of its
 * weights once, a share on each rank, into no memory. Errors as there. Collective.
 * (engine.c) */
CE_MUST_CHECK enum ce_status
ce_engine_find_identity(struct ce_engine_identity *identity,
                        struct ce_transport *transport,
                        const struct ce_engine_options *options,
                        struct ce_error *err);

/* All that ce_engine_create compares before it loads: do the ranks want the same, of
 * one model? Of weights in other files samples are read. Errors as there. Collective.
 * (engine.c) */
CE_MUST_CHECK enum ce_status ce_engine_compare(struct ce_transport *transport,
                                               const struct ce_engine_options *options,
                                               struct ce_error *err);

/* CE_ERR_IO naming the first file of the model that has changed since the engine began
 * to read it: with map_weights results may be wrong. Not collective.
 * (engine_identity.c) */
CE_MUST_CHECK enum ce_status ce_engine_check_files(const struct ce_engine *engine,
                                                   struct ce_error *err);

/* Remembers the small files of a model directory as they are now: tokenizer and
 * configuration, which a command reads before there is an engine. Errors: CE_ERR_IO,
 * CE_ERR_NOMEM. Not collective. (engine_identity.c) */
CE_MUST_CHECK enum ce_status ce_engine_watch_small_files(struct ce_file_watch *watch,
                                                         const char *dir,
                                                         struct ce_error *err);

/* Counters and stage times from zero; those of the transport go on. */
void ce_engine_reset_counters(struct ce_engine *engine);

/* How many of a token's experts are compressed, or dropped (`truncated`), from now on:
 * as an engine created with these two (0 or more), of which one is 0, would have it.
 * The engine was created with options.switchable; no sequence may have tokens; pages
 * that the cache keeps are dropped. Errors: CE_ERR_ARG, also for compressed experts
 * without tables. Collective. (engine_mains.c) */
CE_MUST_CHECK enum ce_status ce_engine_choose_mains(struct ce_engine *engine,
                                                    int compressed,
                                                    int truncated,
                                                    struct ce_error *err);

/* Replaces the compressed experts by those of another file, of either kind, or with
 * NULL by the checkpoint's own, if it has any; until ce_engine_choose_mains none are
 * used. The engine was created with options.switchable; no sequence may have tokens;
 * pages that the cache keeps are dropped. A failure leaves the engine without
 * compressed experts but otherwise usable. Errors: as for the file at creation.
 * Collective. (engine_mains.c) */
CE_MUST_CHECK enum ce_status ce_engine_use_compressed(struct ce_engine *engine,
                                                      const char *path,
                                                      struct ce_error *err);

/* One layer's attention for the batch: adds to act.hidden. `status` is this rank's
 * failure so far, which is returned. Collective where experts are split. (attention.c)
 */
CE_MUST_CHECK enum ce_status ce_attention_run(struct ce_engine *engine,
                                              size_t layer,
                                              enum ce_status status,
                                              struct ce_error *err);

/* The whole model over engine->batch, from ids to act.logits, each rank its own
 * tokens. `status` is this rank's failure so far. Collective. (forward.c) */
CE_MUST_CHECK enum ce_status
ce_forward(struct ce_engine *engine, enum ce_status status, struct ce_error *err);

/* One layer of it: from the residual stream `before` [tokens][d] of the batch, or for
 * layer 0 from the ids, to the stream `after` it, with the bits it has in ce_forward.
 * `after` may be `before`, or NULL where nobody wants it; it is as it was after a
 * failure. Collective. (forward.c) */
CE_MUST_CHECK enum ce_status ce_forward_layer(struct ce_engine *engine,
                                              size_t layer,
                                              const float *before,
                                              float *after,
                                              enum ce_status status,
                                              struct ce_error *err);

/* A step of one layer, for a walk that takes many texts through a layer before any goes
 * to the next. The sequences are empty, each item is all of its sequence, and they are
 * empty again afterwards. `before` and `after` as in ce_forward_layer, item by item.
 * Errors as those of ce_engine_step. Collective. (step.c) */
CE_MUST_CHECK enum ce_status ce_engine_step_layer(struct ce_engine *engine,
                                                  const struct ce_step_item *items,
                                                  size_t count,
                                                  size_t layer,
                                                  const float *before,
                                                  float *after,
                                                  struct ce_error *err);

/* Opens the packed model of options->model or else the checkpoint there, none with
 * dummy weights, and chooses the formats. The caller closes both. (engine_weights.c) */
CE_MUST_CHECK enum ce_status
ce_engine_open_weights(struct ce_engine *engine,
                       const struct ce_engine_options *options,
                       struct ce_checkpoint *checkpoint,
                       struct ce_packed_file *packed,
                       struct ce_error *err);

/* ---- options (engine_options.c) ---- */

/* CE_ERR_ARG for numbers that no engine has. */
CE_MUST_CHECK enum ce_status
ce_engine_check_options(const struct ce_engine_options *options, struct ce_error *err);
/* CE_ERR_ARG for a placement with replicas where experts' results are summed by rank:
 * the sum would depend on which of several owners was chosen. */
CE_MUST_CHECK enum ce_status ce_engine_check_combine(const struct ce_engine *engine,
                                                     struct ce_error *err);
/* Hosts, formats and memory, by the rank that speaks. */
void ce_engine_log(const struct ce_engine *engine);

/* ---- compressed experts (engine_compressed.c) ---- */

/* Opens and checks a file of them; `separate` is its plan. The caller closes it. */
CE_MUST_CHECK enum ce_status ce_engine_open_compressed(struct ce_engine *engine,
                                                       struct ce_safetensors *file,
                                                       const char *path,
                                                       struct ce_error *err);
/* How many of a token's experts run in full and how many are compressed, after it. */
CE_MUST_CHECK enum ce_status
ce_engine_choose_experts(struct ce_engine *engine,
                         const struct ce_engine_options *options,
                         struct ce_error *err);
/* Loads what is planned; after the weights. */
CE_MUST_CHECK enum ce_status ce_engine_load_compressed(
    struct ce_engine *engine, const struct ce_safetensors *file, struct ce_error *err);
/* CE_ERR_FORMAT for a file that says it was made for another model than the engine's.
 */
CE_MUST_CHECK enum ce_status
ce_engine_check_compressed_model(const struct ce_engine *engine,
                                 const struct ce_compressed_experts *experts,
                                 const char *path,
                                 struct ce_error *err);
/* The weights have their own tables again, or none. */
void ce_engine_drop_compressed(struct ce_engine *engine);
/* Of those in use. */
enum ce_compressed_kind ce_engine_compressed_kind(const struct ce_engine *engine);
/* False: there are none to be chosen. */
bool ce_engine_has_compressed(const struct ce_engine *engine);
size_t ce_engine_compressed_bytes(const struct ce_engine *engine);
/* Of what users may not have meant; `missing` layers have no table in the checkpoint.
 */
void ce_engine_warn_compressed(const struct ce_engine *engine, size_t missing);

/* ---- experts and dense matrices that are split (engine_split.c) ---- */

/* Sets split, and whole if they are. Errors: CE_ERR_ARG for what does not go with it.
 */
CE_MUST_CHECK enum ce_status
ce_engine_choose_split(struct ce_engine *engine,
                       const struct ce_engine_options *options,
                       struct ce_error *err);
/* The slices that are here; zeroed where nothing is split. */
struct ce_weights_split ce_engine_share(const struct ce_engine *engine);
/* What this rank adds to the window; after ce_engine_take, also with a measuring arena.
 */
size_t ce_engine_window_bytes(const struct ce_engine *engine);
/* Makes the window if there is to be one, before anything is loaded: several hosts are
 * a mistake to be seen soon. Collective. */
CE_MUST_CHECK enum ce_status ce_engine_open_window(struct ce_engine *engine,
                                                   struct ce_error *err);

/* What this rank would need, without loading anything: the plan of ce_engine_create.
 * Reads config.json and the headers of the weights. Not collective, so that a rank that
 * cannot read them learns it alone. (engine.c) */
CE_MUST_CHECK enum ce_status ce_engine_foresee(struct ce_memory_plan *plan,
                                               struct ce_transport *transport,
                                               const struct ce_engine_options *options,
                                               struct ce_error *err);

/* Takes what lives as long as the engine from its arena. (engine_memory.c) */
void ce_engine_take(struct ce_engine *engine, struct ce_arena *arena);
/* Fills plan, by a measuring arena; window is NULL. (engine_memory.c) */
void ce_engine_measure(struct ce_engine *engine, const struct ce_weights *weights_plan);
/* Measures; compares the sum over the ranks of each host with what is free there.
 * Collective. */
CE_MUST_CHECK enum ce_status
ce_engine_check_memory(struct ce_engine *engine,
                       const struct ce_weights *weights_plan,
                       struct ce_error *err);
/* The same for what is taken anew with the compressed experts that `separate` plans:
 * them and the arena, which has been given back. Collective. */
CE_MUST_CHECK enum ce_status ce_engine_check_compressed_memory(struct ce_engine *engine,
                                                               struct ce_error *err);

#endif
