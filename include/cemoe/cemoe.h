/* cemoe.h - run a Mixture-of-Experts language model on the ranks of an MPI job
 *
 *   transport   who the ranks are and how bytes move between them
 *   engine      one model, its shard of experts on this rank, the KV cache
 *   sequence    one text on this rank: its tokens in the cache
 *   step        a ragged batch of new tokens through the whole model
 *
 *   struct ce_transport *transport;
 *   struct ce_engine *engine;
 *   struct ce_engine_options options;
 *   ce_transport_create(&transport, "auto", 60000, &err);
 *   ce_engine_options_init(&options);
 *   options.model = "deploy/model";
 *   ce_engine_create(&engine, transport, &options, &err);
 *   ... ce_sequence_create, ce_engine_step, sample, ce_engine_step ...
 *   ce_engine_destroy(engine);
 *   ce_transport_destroy(transport);
 *
 * "Collective" means that every rank of the job calls the function, in the same
 * order; a collective call that fails on one rank fails on all of them with the
 * same status and text. Each rank has its own sequences and may have none.
 *
 * Results do not depend on the number of ranks or threads, on the batch a
 * sequence is in, nor on how its prompt is cut into chunks: the same bits.
 *
 * Calls that take a struct ce_error need one: it is where a failure says what
 * happened. It must not be NULL.
 *
 * Threads: one thread at a time calls into an engine; inside, OpenMP threads
 * work (OMP_NUM_THREADS).
 *
 * Streams: the library prints nothing, but UCX prints its warnings on standard output
 * unless UCX_LOG_FILE says otherwise. Descriptors 0 to 2 must be open, or what is
 * printed goes into files that are opened later: both is the program's to see to.
 */

#ifndef CEMOE_CEMOE_H
#define CEMOE_CEMOE_H

#include "cemoe/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ce_transport;
struct ce_engine;
struct ce_sequence;

/* name: "auto", "self" (one process), "mpi" or "ucx". auto takes ucx when a launcher
 * started the process, mpi where UCX finds no way between the ranks. deadline_ms bounds
 * every wait for another rank but those inside MPI_Init and MPI_Finalize, which know no
 * deadline; 0 waits for ever. All ranks must be given the same. Collective. */
CE_MUST_CHECK enum ce_status ce_transport_create(struct ce_transport **transport,
                                                 const char *name,
                                                 uint64_t deadline_ms,
                                                 struct ce_error *err);
void ce_transport_destroy(
    struct ce_transport *transport); /* collective; accepts NULL */
int ce_transport_rank(const struct ce_transport *transport);
int ce_transport_ranks(const struct ce_transport *transport);

#define CE_COMPRESSED_DEFAULT (-1)

struct ce_engine_options {
    const char *model;              /* checkpoint or packed directory */
    const char *compressed_experts; /* separate file of them, either kind, or NULL */
    int compressed;                 /* n_ce, or CE_COMPRESSED_DEFAULT */
    int truncated;                  /* drop the last N experts, no compensation */
    /* Of experts, and of attention and output layer: "stored", "bf16", "q8", "q4";
     * NULL: as in the files, also of a packed model, which has no others. */
    const char *weights;
    const char *dense_weights;
    /* Use a packed model in its mapped file instead of copying it to memory of the
     * rank's own. Does not change results. */
    bool map_weights;
    const char *wire;    /* rows between ranks: "f32" (or NULL), "bf16", "int8" */
    const char *kv;      /* keys and values in the cache: "f32" (or NULL), "bf16" */
    const char *combine; /* results summed by token: "ordered" (or NULL), "partial" */
    const char *overlap; /* of experts and exchange: "auto" (or NULL), "on", "off" */
    /* Experts on ranks: "contiguous" (or NULL), "strided", or a file of `cemoe plan`.
     * Does not change results. */
    const char *placement;
    /* "none" (or NULL): an expert is run by its owner. "node": every rank has a slice
     * of every expert, of attention's matrices and of the output matrix, and rows are
     * in memory that the ranks share, so all must be on one host and want the same
     * step_logits. Does not change results. */
    const char *expert_split;
    size_t step_tokens;  /* most tokens of this rank in one step */
    size_t step_logits;  /* most rows of logits of one step */
    size_t cache_tokens; /* KV cache: tokens of all sequences */
    const char *job;     /* what else all ranks must want alike, for the
                            comparison at start: "name=value" lines, or NULL */
    size_t extra_bytes;  /* memory the caller will take, for the check */
    bool switchable;     /* room for any number of main experts, and tables if there are
                            some: for engines that change it while they run */
    bool dummy_weights;  /* random weights, config.json alone */
    uint64_t dummy_seed;
};

/* Defaults: compressed by the checkpoint, 512 tokens a step, as many logits, a
 * cache of 4096 tokens. */
void ce_engine_options_init(struct ce_engine_options *options);

/* Loads the model: the dense weights and this rank's experts. Checks first that
 * it fits into memory. Collective. The options' strings are not kept. */
CE_MUST_CHECK enum ce_status ce_engine_create(struct ce_engine **engine,
                                              struct ce_transport *transport,
                                              const struct ce_engine_options *options,
                                              struct ce_error *err);
void ce_engine_destroy(struct ce_engine *engine); /* not collective; accepts NULL */

size_t ce_engine_vocab_size(const struct ce_engine *engine);
size_t ce_engine_max_positions(const struct ce_engine *engine);
size_t ce_engine_compressed(const struct ce_engine *engine); /* n_ce in use */

/* An empty sequence of this rank. Not collective. Its pages of the KV cache are
 * given back when it is destroyed. */
CE_MUST_CHECK enum ce_status ce_sequence_create(struct ce_sequence **sequence,
                                                struct ce_engine *engine,
                                                struct ce_error *err);
void ce_sequence_destroy(struct ce_sequence *sequence); /* accepts NULL */
size_t ce_sequence_length(const struct ce_sequence *sequence);

/* Of how many of an item's last tokens logits are wanted; any number is allowed. */
#define CE_LOGITS_NONE ((size_t)0) /* a chunk in the middle of a prompt */
#define CE_LOGITS_LAST ((size_t)1)
#define CE_LOGITS_ALL  SIZE_MAX

/* New tokens of one sequence, in order: a prompt, a part of it or one token. */
struct ce_step_item {
    struct ce_sequence *sequence;
    const int32_t *tokens;
    size_t count; /* >= 1 */
    size_t logits;
};

/* Runs the model over the new tokens of this rank's items; a sequence occurs at
 * most once. *logits gets the rows asked for, item by item, [rows][vocab_size],
 * valid until the next step. Collective: a rank without items passes count 0.
 * Errors: too many tokens or rows, a sequence longer than the context, no free
 * cache, a token outside the vocabulary; CE_ERR_NUMERIC with layer and stage
 * when a value is not finite. After an error the sequences of the step may only
 * be destroyed. */
CE_MUST_CHECK enum ce_status ce_engine_step(struct ce_engine *engine,
                                            const struct ce_step_item *items,
                                            size_t count,
                                            const float **logits,
                                            struct ce_error *err);

#ifdef __cplusplus
}
#endif

#endif
