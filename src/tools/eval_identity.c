/* eval_identity.c - hashes and names of everything that results depend on */

#include "tools/eval_identity.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/version.h"
#include "engine/engine.h"
#include "moe/placement_file.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS 20 /* besides one a task */

#define TOKENIZER_LIMIT ((size_t)1 << 30)

/* Known when the weights have been read. */
#define FIELD_MODEL      "model (all bytes)"
#define FIELD_COMPRESSED "compressed experts"

/* ---- variants ---- */

/* n_ce where the command line does not say it: of the tables, else of the model. */
static enum ce_status default_compressed(int *compressed,
                                         const struct ce_eval_values *values,
                                         const struct ce_config *config,
                                         struct ce_error *err)
{
    const char *path = values->model.compressed_experts;
    struct ce_safetensors tables = {0};
    enum ce_status status = CE_OK;

    *compressed = config->use_ce ? (int)config->n_ce : 0;
    if (path == NULL) {
        return CE_OK;
    }
    status = ce_safetensors_open(&tables, path, err);
    if (status == CE_OK) {
        const char *text = ce_safetensors_metadata(&tables, "n_ce");

        *compressed = text != NULL ? (int)strtol(text, NULL, 10) : (int)config->n_ce;
    }
    ce_safetensors_close(&tables);
    return status;
}

static enum ce_status check_mains(const char *option,
                                  int n,
                                  const struct ce_config *config,
                                  struct ce_error *err)
{
    if (n < 0 || (size_t)n >= config->top_k) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "%s %d is out of range: 0 to %zu, one less than "
                       "num_experts_per_tok",
                       option,
                       n,
                       config->top_k - 1);
    }
    return CE_OK;
}

static enum ce_status choose_comparison(struct ce_eval_variants *variants,
                                        int compressed,
                                        int truncated,
                                        struct ce_error *err)
{
    if (compressed == 0) {
        return ce_fail(
            err,
            CE_ERR_ARG,
            "--compare needs a number of compressed experts: --compressed N, "
            "or --compressed-experts FILE that says it");
    }
    *variants = (struct ce_eval_variants){.count = CE_VARIANTS};
    for (size_t v = 0; v < CE_VARIANTS; v++) {
        variants->name[v] = ce_variant_name[v];
    }
    variants->mains[CE_VARIANT_TRUNCATED].truncated = truncated;
    variants->mains[CE_VARIANT_COMPRESSED].compressed = compressed;
    return CE_OK;
}

static const char *name_of(struct ce_eval_mains mains)
{
    if (mains.truncated > 0) {
        return ce_variant_name[CE_VARIANT_TRUNCATED];
    }
    return ce_variant_name[mains.compressed > 0 ? CE_VARIANT_COMPRESSED
                                                : CE_VARIANT_FULL];
}

enum ce_status ce_eval_choose_variants(struct ce_eval_variants *variants,
                                       const struct ce_eval_values *values,
                                       const struct ce_config *config,
                                       struct ce_error *err)
{
    struct ce_eval_mains mains = {values->model.compressed, values->model.truncated};
    enum ce_status status = CE_OK;

    if (mains.compressed < 0) {
        status = default_compressed(&mains.compressed, values, config, err);
    }
    if (status == CE_OK) {
        status = check_mains("--compressed", mains.compressed, config, err);
    }
    if (status == CE_OK) {
        status = check_mains("--truncated", mains.truncated, config, err);
    }
    if (status != CE_OK) {
        return status;
    }
    if (values->compare) {
        int truncated = mains.truncated > 0 ? mains.truncated : mains.compressed;

        return choose_comparison(variants, mains.compressed, truncated, err);
    }
    mains.compressed = mains.truncated > 0 ? 0 : mains.compressed;
    *variants = (struct ce_eval_variants){
        .count = 1, .name = {name_of(mains)}, .mains = {mains}};
    return CE_OK;
}

/* ---- hashes ---- */

static bool is_partial(const struct ce_eval_values *values)
{
    return strcmp(values->model.combine, "partial") == 0;
}

static enum ce_status hash_file(uint64_t *hash,
                                const char *dir,
                                const char *name,
                                bool required,
                                struct ce_error *err)
{
    char *path = ce_path_join(dir, name);
    char *text = NULL;
    size_t bytes = 0;
    enum ce_status status = CE_OK;

    if (path == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for a path");
    }
    if (required || ce_file_exists(path)) {
        status = ce_file_read(path, TOKENIZER_LIMIT, &text, &bytes, err);
    }
    if (status == CE_OK && text != NULL) {
        *hash = ce_hash_bytes(*hash, name, strlen(name) + 1);
        *hash = ce_hash_bytes(ce_hash_u64(*hash, bytes), text, bytes);
    }
    free(text);
    free(path);
    return status;
}

static enum ce_status
hash_tokenizer(uint64_t *hash, const char *dir, struct ce_error *err)
{
    enum ce_status status = CE_OK;

    static const char *const optional[] = {
        "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"};

    *hash = CE_HASH_START;
    status = hash_file(hash, dir, "tokenizer.json", true, err);
    for (size_t i = 0; status == CE_OK && i < sizeof(optional) / sizeof(optional[0]);
         i++) {
        status = hash_file(hash, dir, optional[i], false, err);
    }
    return status;
}

static enum ce_status
hash_tables(uint64_t *hash, const char *path, struct ce_error *err)
{
    struct ce_safetensors tables = {0};
    enum ce_status status = CE_OK;

    *hash = 0;
    if (path != NULL) {
        status = ce_safetensors_open(&tables, path, err);
    }
    if (status == CE_OK && path != NULL) {
        *hash = ce_safetensors_checksum(&tables, ce_kernels_get(CE_ISA_REF));
    }
    ce_safetensors_close(&tables);
    return status;
}

/* 0 where results do not depend on it. */
static enum ce_status hash_placement(uint64_t *hash,
                                     const struct ce_eval_values *values,
                                     const struct ce_eval_facts *facts,
                                     const struct ce_config *config,
                                     struct ce_error *err)
{
    struct ce_placement placement = {0};
    enum ce_status status = CE_OK;

    *hash = 0;
    if (!is_partial(values)) {
        return CE_OK;
    }
    status = ce_placement_open(&placement,
                               values->run.placement,
                               config->layers,
                               config->experts,
                               facts->ranks,
                               err);
    if (status == CE_OK) {
        *hash = ce_placement_hash(&placement);
    }
    ce_placement_destroy(&placement);
    return status;
}

/* Formats of the weights of an engine that is not made yet, and its placement. */
static enum ce_status find_formats(struct ce_weight_formats *formats,
                                   uint64_t *placement,
                                   const struct ce_eval_values *values,
                                   const struct ce_eval_facts *facts,
                                   struct ce_error *err)
{
    struct ce_engine engine = {.isa = facts->isa};
    struct ce_engine_options options;
    struct ce_checkpoint checkpoint = {0};
    struct ce_packed_file packed = {0};
    enum ce_status status = ce_config_load(&engine.config, values->model.model, err);

    ce_engine_options_init(&options);
    options.model = values->model.model;
    options.weights = values->model.weights;
    options.dense_weights = values->model.dense_weights;
    if (status == CE_OK) {
        status = ce_engine_open_weights(&engine, &options, &checkpoint, &packed, err);
    }
    *formats = engine.formats;
    if (status == CE_OK) {
        status = hash_placement(placement, values, facts, &engine.config, err);
    }
    ce_checkpoint_close(&checkpoint);
    ce_packed_file_close(&packed);
    return status;
}

/* ---- fields ---- */

__attribute__((format(printf, 3, 4))) static void
add(struct ce_eval_identity *identity, const char *name, const char *format, ...)
{
    struct ce_journal_field *field = &identity->field[identity->header.fields];
    char *value = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&value, format, args) < 0) {
        value = NULL;
    }
    va_end(args);
    char *copy = strdup(name);
    if (value == NULL || copy == NULL) {
        identity->failed = true;
        free(value);
        free(copy);
        return;
    }
    *field = (struct ce_journal_field){copy, value};
    identity->header.fields++;
}

static void add_later(struct ce_eval_identity *identity, const char *name)
{
    add(identity, name, "%s", "");
    if (!identity->failed) {
        struct ce_journal_field *field = &identity->field[identity->header.fields - 1];

        free((void *)(uintptr_t)field->value);
        field->value = NULL;
    }
}

static void add_options(struct ce_eval_identity *identity,
                        const struct ce_eval_values *values,
                        const struct ce_eval_facts *facts,
                        const struct ce_weight_formats *formats,
                        uint64_t placement)
{
    const struct ce_model_values *model = &values->model;

    add(identity, "version of cemoe", "%s", CE_VERSION);
    add(identity, "kernels (CEMOE_ISA)", "%s", ce_isa_name(facts->isa));
    add(identity, "weights", "%s", ce_weight_format_name(formats->experts));
    add(identity, "dense weights", "%s", ce_weight_format_name(formats->dense));
    add(identity, "wire", "%s", model->wire);
    add(identity, "kv", "%s", model->kv);
    add(identity, "combine", "%s", model->combine);
    if (is_partial(values)) {
        add(identity, "ranks (--combine partial)", "%d", facts->ranks);
        add(identity, "placement (--combine partial)", "%016" PRIx64, placement);
    }
    add(identity, "maximal length", "%zu", facts->max_length);
    add(identity, "prefix token", "%d", (int)facts->prefix);
    add(identity, "limit", "%zu", values->limit);
    if (values->fewshot >= 0) {
        add(identity, "fewshot", "%d", values->fewshot);
    } else {
        add(identity, "fewshot", "of the task");
    }
}

static void add_mains(struct ce_eval_identity *identity,
                      const struct ce_eval_variants *variants,
                      uint64_t tables)
{
    int compressed = 0;
    int truncated = 0;

    for (size_t v = 0; v < variants->count; v++) {
        compressed += variants->mains[v].compressed;
        truncated += variants->mains[v].truncated;
    }
    add(identity, "compressed", "%d", compressed);
    add(identity, "truncated", "%d", truncated);
    if (compressed > 0 && tables == 0) {
        add_later(identity, FIELD_COMPRESSED);
    } else {
        add(identity, FIELD_COMPRESSED, "%016" PRIx64, compressed > 0 ? tables : 0);
    }
}

static void add_tasks(struct ce_eval_identity *identity, const struct ce_inputs *inputs)
{
    for (size_t i = 0; i < inputs->count; i++) {
        const struct ce_task *task = ce_input_task(&inputs->input[i]);
        char name[256];

        (void)snprintf(name, sizeof(name), "task %.200s", task->name);
        add(identity, name, "%016" PRIx64, task->hash);
        identity->task[i] = (struct ce_journal_task){task->name, task->queries};
    }
}

static void fill_header(struct ce_eval_identity *identity,
                        const struct ce_eval_values *values,
                        const struct ce_eval_facts *facts)
{
    struct ce_journal_header *header = &identity->header;

    identity->note = (struct ce_journal_field){"model", values->model.model};
    header->field = identity->field;
    header->task = identity->task;
    header->tasks = facts->inputs->count;
    header->variant = facts->variants->name;
    header->variants = facts->variants->count;
    header->note = &identity->note;
    header->notes = 1;
    header->program = "cemoe " CE_VERSION;
    header->start_ns = facts->now_ns;
}

enum ce_status ce_eval_identify(struct ce_eval_identity *identity,
                                const struct ce_eval_values *values,
                                const struct ce_eval_facts *facts,
                                struct ce_error *err)
{
    struct ce_weight_formats formats = {CE_WEIGHTS_STORED, CE_WEIGHTS_STORED};
    uint64_t tokenizer = 0;
    uint64_t tables = 0;
    uint64_t placement = 0;
    enum ce_status status = find_formats(&formats, &placement, values, facts, err);

    *identity = (struct ce_eval_identity){.failed = false};
    identity->field = calloc(FIELDS + facts->inputs->count, sizeof(identity->field[0]));
    identity->task = calloc(facts->inputs->count + 1, sizeof(identity->task[0]));
    if (status == CE_OK) {
        status = hash_tokenizer(&tokenizer, values->model.model, err);
    }
    if (status == CE_OK) {
        status = hash_tables(&tables, values->model.compressed_experts, err);
    }
    if (status != CE_OK) {
        return status;
    }
    identity->failed = identity->field == NULL || identity->task == NULL;
    if (!identity->failed) {
        add_later(identity, FIELD_MODEL);
        add(identity, "tokenizer", "%016" PRIx64, tokenizer);
        add_options(identity, values, facts, &formats, placement);
        add_mains(identity, facts->variants, tables);
        add_tasks(identity, facts->inputs);
        fill_header(identity, values, facts);
    }
    return identity->failed
               ? ce_fail(err, CE_ERR_NOMEM, "no memory to describe the job")
               : CE_OK;
}

static enum ce_status set_later(struct ce_eval_identity *identity,
                                const char *name,
                                uint64_t hash,
                                struct ce_error *err)
{
    for (size_t i = 0; i < identity->header.fields; i++) {
        struct ce_journal_field *field = &identity->field[i];
        char *value = NULL;

        if (strcmp(field->name, name) != 0 || field->value != NULL) {
            continue;
        }
        if (asprintf(&value, "%016" PRIx64, hash) < 0) {
            return ce_fail(err, CE_ERR_NOMEM, "no memory to describe the job");
        }
        field->value = value;
    }
    return CE_OK;
}

enum ce_status ce_eval_identity_complete(struct ce_eval_identity *identity,
                                         const struct ce_config *config,
                                         const struct ce_engine_identity *model,
                                         struct ce_error *err)
{
    enum ce_status status =
        set_later(identity,
                  FIELD_MODEL,
                  ce_hash_u64(ce_config_hash(config), model->weights),
                  err);

    return status == CE_OK ? set_later(identity, FIELD_COMPRESSED, model->tables, err)
                           : status;
}

void ce_eval_identity_free(struct ce_eval_identity *identity)
{
    for (size_t i = 0; i < identity->header.fields; i++) {
        free((void *)(uintptr_t)identity->field[i].name);
        free((void *)(uintptr_t)identity->field[i].value);
    }
    free(identity->field);
    free(identity->task);
    *identity = (struct ce_eval_identity){.field = NULL};
}
