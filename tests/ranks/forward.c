/* forward.c - the model over all ranks: same bits, counted bytes, resident shard
 *
 * Four sequences, on rank i mod ranks, fed in pieces that depend on the number of
 * ranks. On the way every rank requires that what the transport moved is what the plans
 * said, and that the experts in memory are its shard and no more.
 */

#include "ranks/forward.h"

#include "comm/collective.h"
#include "engine/engine.h"
#include "ranks/require.h"

#include <inttypes.h>
#include <omp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEQUENCES 4
#define TOKENS    40
#define TEXT      1024 /* bytes of a setting */

struct run {
    struct ce_transport *transport;
    struct ce_engine *engine;
    float *logits; /* [SEQUENCES][TOKENS][vocab], this rank's filled */
    struct ce_error err;
};

/* Bytes to other ranks. */
static uint64_t moved(const struct ce_transport *transport, enum ce_slot slot)
{
    uint64_t sum = 0;

    for (int r = 0; r < transport->ranks; r++) {
        if (r != transport->rank) {
            sum += transport->slot[slot].link[r].sent_bytes;
        }
    }
    return sum;
}

static void add_over_ranks(struct run *run, uint64_t *values, size_t count)
{
    struct ce_bytes mine = {values, count * sizeof(values[0])};
    const struct ce_bytes *all = NULL;
    uint64_t sum[4] = {0};

    REQUIRE(ce_allgather(run->transport, mine, &all, &run->err) == CE_OK,
            "%s",
            run->err.text);
    for (int r = 0; r < run->transport->ranks; r++) {
        uint64_t theirs[4] = {0};

        memcpy(theirs, all[r].data, mine.bytes);
        for (size_t i = 0; i < count; i++) {
            sum[i] += theirs[i];
        }
    }
    memcpy(values, sum, mine.bytes);
}

static int32_t token(size_t sequence, size_t i)
{
    return (int32_t)((sequence * 7919 + i * 104729 + i * i * 31) % 2000);
}

/* What a setting may say; an option that it does not name stays as the engine has it.
 */
struct setting {
    const char *tables, *combine, *wire, *overlap, *placement, *split, *weights, *dense;
    const char *kv;
    const char *compressed; /* experts replaced, instead of what the model says */
    const char *threads;    /* as OMP_NUM_THREADS */
    const char *latency_us; /* as CEMOE_LATENCY_US */
};

static const struct {
    const char *name;
    size_t offset;
} setting_words[] = {
    {"tables", offsetof(struct setting, tables)},
    {"combine", offsetof(struct setting, combine)},
    {"wire", offsetof(struct setting, wire)},
    {"overlap", offsetof(struct setting, overlap)},
    {"placement", offsetof(struct setting, placement)},
    {"split", offsetof(struct setting, split)},
    {"weights", offsetof(struct setting, weights)},
    {"dense", offsetof(struct setting, dense)},
    {"kv", offsetof(struct setting, kv)},
    {"compressed", offsetof(struct setting, compressed)},
    {"threads", offsetof(struct setting, threads)},
    {"latency-us", offsetof(struct setting, latency_us)},
};

/* `text` is cut into words, which the setting points to. */
static struct setting read_setting(char *text)
{
    struct setting setting = {0};
    char *rest = NULL;

    for (char *word = strtok_r(text, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(word, '=');
        bool known = false;

        REQUIRE(value != NULL, "'%s' is not NAME=VALUE", word);
        *value++ = '\0';
        for (size_t i = 0; i < sizeof(setting_words) / sizeof(setting_words[0]); i++) {
            if (strcmp(word, setting_words[i].name) == 0) {
                memcpy(
                    (char *)&setting + setting_words[i].offset, &value, sizeof(value));
                known = true;
            }
        }
        REQUIRE(known, "a setting has no '%s'", word);
    }
    return setting;
}

static void
open_engine(struct run *run, const char *model, const struct setting *setting)
{
    struct ce_engine_options options;

    ce_engine_options_init(&options);
    options.model = model;
    options.compressed_experts = setting->tables;
    options.combine = setting->combine;
    options.wire = setting->wire;
    options.overlap = setting->overlap;
    options.placement = setting->placement;
    options.expert_split = setting->split;
    options.weights = setting->weights;
    options.dense_weights = setting->dense;
    options.kv = setting->kv;
    if (setting->compressed != NULL) {
        options.compressed = (int)strtol(setting->compressed, NULL, 10);
    }
    options.step_tokens = SEQUENCES * TOKENS;
    options.step_logits = SEQUENCES * TOKENS;
    options.cache_tokens = SEQUENCES * (TOKENS + CE_PAGE_TOKENS);
    omp_set_num_threads(
        setting->threads != NULL ? (int)strtol(setting->threads, NULL, 10) : 1);
    run->transport->latency_ns = setting->latency_us != NULL
                                     ? strtoull(setting->latency_us, NULL, 10) * 1000
                                     : 0;
    REQUIRE(ce_engine_create(&run->engine, run->transport, &options, &run->err) ==
                CE_OK,
            "%s",
            run->err.text);
    run->logits = calloc(SEQUENCES * TOKENS,
                         run->engine->config.vocab_size * sizeof(run->logits[0]));
    REQUIRE(run->logits != NULL, "no memory");
}

/* A step that feeds `count` tokens of each of this rank's sequences. */
static void
feed(struct run *run, struct ce_sequence **sequence, size_t at, size_t count)
{
    struct ce_step_item item[SEQUENCES];
    int32_t ids[SEQUENCES][TOKENS];
    size_t vocab = run->engine->config.vocab_size;
    size_t items = 0;
    const float *rows = NULL;

    for (size_t s = (size_t)run->transport->rank; s < SEQUENCES;
         s += (size_t)run->transport->ranks) {
        for (size_t i = 0; i < count; i++) {
            ids[s][i] = token(s, at + i);
        }
        item[items++] =
            (struct ce_step_item){sequence[s], ids[s], count, CE_LOGITS_ALL};
    }
    REQUIRE(ce_engine_step(run->engine, item, items, &rows, &run->err) == CE_OK,
            "%s",
            run->err.text);
    for (size_t s = (size_t)run->transport->rank; s < SEQUENCES;
         s += (size_t)run->transport->ranks) {
        memcpy(run->logits + (s * TOKENS + at) * vocab,
               rows,
               count * vocab * sizeof(rows[0]));
        rows += count * vocab;
    }
}

/* Prompt pieces whose sizes depend on the number of ranks, then single tokens. */
static void run_sequences(struct run *run)
{
    struct ce_sequence *sequence[SEQUENCES] = {NULL};
    size_t piece = 7 + (size_t)run->transport->ranks;

    for (size_t s = (size_t)run->transport->rank; s < SEQUENCES;
         s += (size_t)run->transport->ranks) {
        REQUIRE(ce_sequence_create(&sequence[s], run->engine, &run->err) == CE_OK,
                "%s",
                run->err.text);
    }
    for (size_t at = 0; at < TOKENS;) {
        size_t count = at + piece <= TOKENS - 5 ? piece : 1;

        feed(run, sequence, at, count);
        at += count;
    }
    for (size_t s = 0; s < SEQUENCES; s++) {
        ce_sequence_destroy(sequence[s]);
    }
}

/* What the plans of this rank's tokens say it sends and gets: bytes of rows. */
static void planned(const struct run *run, uint64_t *rows, uint64_t *results)
{
    const struct ce_moe *moe = &run->engine->moe;

    *rows = *results = 0;
    for (int r = 0; r < run->transport->ranks; r++) {
        if (r != run->transport->rank) {
            *rows += moe->peer[r].rows_sent;
            *results += moe->peer[r].results_received;
        }
    }
}

/* Experts that are split: nothing is sent, and every rank shares its rows and slices.
 */
static void check_no_traffic(const struct run *run)
{
    const struct ce_moe *moe = &run->engine->moe;
    uint64_t rows = 0;
    uint64_t results = 0;

    planned(run, &rows, &results);
    REQUIRE(rows == 0 && results == 0, "rows are planned to be sent");
    REQUIRE(moved(run->transport, CE_SLOT_DISPATCH) == 0 &&
                moved(run->transport, CE_SLOT_COMBINE) == 0,
            "messages were sent");
    REQUIRE(moe->counters.shared_bytes > 0, "nothing was shared");
}

/* Of a whole run: bytes handed to the transport against rows in the plans. Beyond those
 * come headers and pairs, which are counted where they are written. */
static void check_traffic(struct run *run)
{
    const struct ce_moe *moe = &run->engine->moe;
    const struct ce_transport *t = run->transport;
    uint64_t values[4] = {0};
    uint64_t peers = (uint64_t)t->ranks - 1;

    ce_transport_reset_counters(run->transport);
    ce_engine_reset_counters(run->engine);
    run_sequences(run);
    if (moe->split == CE_EXPERT_SPLIT_NODE) {
        check_no_traffic(run);
        return;
    }
    planned(run, &values[0], &values[1]);
    values[2] = moved(t, CE_SLOT_DISPATCH);
    values[3] = moved(t, CE_SLOT_COMBINE);
    add_over_ranks(run, values, 4);
    REQUIRE((values[0] > 0) == (t->ranks > 1), "no rows between ranks");
    const uint64_t messages = run->engine->counters.steps * run->engine->config.layers *
                              peers * (uint64_t)t->ranks;
    const uint64_t result_bytes =
        values[1] * moe->wire.row_bytes + messages * ce_message_combine_bytes(0, 0);
    const uint64_t pair_bytes =
        (values[1] + values[0] * moe->auxiliary) * sizeof(struct ce_pair);
    const uint64_t row_bytes = values[0] * (moe->wire.row_bytes + sizeof(uint16_t)) +
                               messages * ce_message_metadata_bytes(0, 0);
    REQUIRE(values[3] == result_bytes,
            "results: moved %" PRIu64 " bytes, the plans say %" PRIu64,
            values[3],
            result_bytes);
    /* A message's tables are padded to a multiple of 64 bytes, those of rows to 8. */
    REQUIRE(moe->combine == CE_COMBINE_PARTIAL ||
                (values[2] >= row_bytes + pair_bytes &&
                 values[2] <= row_bytes + pair_bytes + messages * (63 + 6)),
            "rows: moved %" PRIu64 " bytes, the plans say %" PRIu64 " and padding",
            values[2],
            row_bytes + pair_bytes);
}

/* Overlap is what it says: with it, and messages that come late, a rank with tokens
 * runs its own rows before those of others; without it a layer is one batch. */
static void check_batches(struct run *run)
{
    const struct ce_engine *engine = run->engine;
    uint64_t values[4] = {engine->moe.counters.batches,
                          engine->counters.steps * engine->config.layers};

    add_over_ranks(run, values, 2);
    REQUIRE(engine->overlap != CE_OVERLAP_OFF || values[0] <= values[1],
            "%" PRIu64 " batches in %" PRIu64 " layers without overlap",
            values[0],
            values[1]);
    REQUIRE(engine->overlap != CE_OVERLAP_ON || run->transport->latency_ns == 0 ||
                run->transport->ranks == 1 || values[0] > values[1],
            "%" PRIu64 " batches in %" PRIu64 " layers with overlap",
            values[0],
            values[1]);
}

static void check_slice(const struct run *run,
                        const char *name,
                        const struct ce_matrix *matrix,
                        size_t outputs)
{
    const struct ce_weights_split share = {(size_t)run->transport->rank,
                                           (size_t)run->transport->ranks};

    REQUIRE(matrix->outputs == ce_weights_slice(share, outputs).count,
            "%s: %zu of %zu outputs are here",
            name,
            matrix->outputs,
            outputs);
}

/* A slice of each dense matrix is here; embedding, router and vectors are whole. */
static void check_dense_slices(const struct run *run)
{
    const struct ce_config *config = &run->engine->config;
    const struct ce_weights *weights = &run->engine->weights;
    size_t d = config->hidden_size;
    size_t kv = config->kv_heads * config->head_dim;

    for (size_t l = 0; l < config->layers; l++) {
        check_slice(run, "q", &weights->layers[l].q, config->heads * config->head_dim);
        check_slice(run, "k", &weights->layers[l].k, kv);
        check_slice(run, "v", &weights->layers[l].v, kv);
        check_slice(run, "o", &weights->layers[l].o, d);
        REQUIRE(weights->layers[l].router.outputs == config->experts,
                "a router is cut");
    }
    check_slice(run, "output", &weights->output, config->vocab_size);
    REQUIRE(weights->embedding.outputs == config->vocab_size, "the embedding is cut");
}

/* A slice of each expert is here, and no more. */
static void check_slices(const struct run *run)
{
    const struct ce_engine *engine = run->engine;
    const struct ce_config *config = &engine->config;
    const struct ce_weights_split share = {(size_t)run->transport->rank,
                                           (size_t)run->transport->ranks};
    size_t d = config->hidden_size;
    size_t f = config->intermediate_size;
    size_t values =
        2 * ce_weights_slice(share, f).count * d + ce_weights_slice(share, d).count * f;
    size_t bytes = 0;

    for (size_t i = 0; i < config->layers * config->experts; i++) {
        const struct ce_expert_weights *expert = &engine->weights.experts[i];

        REQUIRE(expert->down.data != NULL, "expert %zu is not here", i);
        bytes += ce_weights_matrix_bytes(expert->gate.dtype, expert->gate.outputs, d) +
                 ce_weights_matrix_bytes(expert->up.dtype, expert->up.outputs, d) +
                 ce_weights_matrix_bytes(expert->down.dtype, expert->down.outputs, f);
    }
    REQUIRE(engine->weights.expert_bytes == bytes, "resident bytes are miscounted");
    REQUIRE(engine->formats.experts != CE_WEIGHTS_STORED ||
                bytes == values * 2 * config->layers * config->experts, /* BF16 */
            "%zu bytes of experts are resident",
            bytes);
}

/* Each expert is here exactly if the placement says so. */
static void check_residence(struct run *run)
{
    const struct ce_config *config = &run->engine->config;
    const struct ce_placement *placement = &run->engine->placement;
    size_t expert = 3 * config->hidden_size * config->intermediate_size * 2; /* BF16 */
    size_t resident = 0;

    if (run->engine->formats.experts != CE_WEIGHTS_STORED) {
        return;
    }

    for (size_t i = 0; i < config->layers * config->experts; i++) {
        size_t layer = i / config->experts;
        size_t e = i % config->experts;
        bool here = run->engine->weights.experts[i].down.data != NULL;

        REQUIRE(here == ce_owners_include(ce_placement_owners(placement, layer, e),
                                          (size_t)run->transport->rank),
                "layer %zu, expert %zu: resident is %d",
                layer,
                e,
                here);
        resident += here;
    }
    REQUIRE(run->engine->weights.expert_bytes == resident * expert,
            "%zu bytes of experts are resident, expected %zu",
            run->engine->weights.expert_bytes,
            resident * expert);
}

/* FNV-1a of every sequence's logits, from the rank that has them. */
static uint64_t hash_logits(struct run *run)
{
    size_t row = TOKENS * run->engine->config.vocab_size;
    struct ce_bytes mine = {run->logits, SEQUENCES * row * sizeof(float)};
    const struct ce_bytes *all = NULL;
    uint64_t hash = 14695981039346656037U;

    REQUIRE(
        ce_gather(run->transport, mine, &all, &run->err) == CE_OK, "%s", run->err.text);
    if (all == NULL) {
        return 0;
    }
    for (size_t s = 0; s < SEQUENCES; s++) {
        const unsigned char *data = all[s % (size_t)run->transport->ranks].data;

        for (size_t i = 0; i < row * sizeof(float); i++) {
            hash = (hash ^ data[s * row * sizeof(float) + i]) * 1099511628211U;
        }
    }
    return hash;
}

uint64_t
forward_run(struct ce_transport *transport, const char *model, const char *words)
{
    struct run run = {.transport = transport};
    char text[TEXT];
    struct setting setting;

    REQUIRE(strlen(words) < sizeof(text), "a setting of %zu bytes", strlen(words));
    require_doing = words;
    (void)snprintf(text, sizeof(text), "%s", words);
    setting = read_setting(text);
    open_engine(&run, model, &setting);
    if (run.engine->split == CE_EXPERT_SPLIT_NODE) {
        check_slices(&run);
        check_dense_slices(&run);
    } else {
        check_residence(&run);
    }
    check_traffic(&run);
    check_batches(&run);
    const uint64_t hash = hash_logits(&run);
    free(run.logits);
    ce_engine_destroy(run.engine);
    return hash;
}
