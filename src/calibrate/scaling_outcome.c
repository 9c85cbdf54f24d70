/* scaling_outcome.c - parts to tables, and these to the file */

#include "calibrate/scaling_outcome.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t width_of(const struct ce_scaling_outcome *outcome)
{
    return outcome->hidden > outcome->intermediate ? outcome->hidden
                                                   : outcome->intermediate;
}

static size_t table_values(const struct ce_scaling_outcome *outcome)
{
    return outcome->experts * 3 * width_of(outcome);
}

size_t ce_scaling_outcome_bytes(const struct ce_scaling_outcome *outcome)
{
    return outcome->layers * table_values(outcome) * sizeof(float);
}

static enum ce_status no_memory(struct ce_error *err)
{
    return ce_fail(err, CE_ERR_NOMEM, "no memory for the scaling vectors");
}

static bool facts_are_good(const struct ce_scaling_facts *facts)
{
    bool good = isfinite(facts->lambda) && facts->steps <= CE_SCALING_STEPS;

    for (int set = 0; set < CE_TEXT_SETS; set++) {
        good = good && isfinite(facts->full[set]) && isfinite(facts->truncated[set]) &&
               isfinite(facts->fitted[set]);
    }
    return good;
}

/* theta2 of all experts [experts][intermediate] into a table of ones. */
static enum ce_status fill_table(struct ce_scaling_outcome *outcome,
                                 size_t layer,
                                 const unsigned char *theta,
                                 struct ce_error *err)
{
    const size_t f = outcome->intermediate;
    const size_t width = width_of(outcome);
    float *table = calloc(table_values(outcome), sizeof(*table));

    outcome->table[layer] = table;
    if (table == NULL) {
        return no_memory(err);
    }
    for (size_t i = 0; i < table_values(outcome); i++) {
        table[i] = 1.0F;
    }
    for (size_t e = 0; e < outcome->experts; e++) {
        float *row = table + (e * 3 + 1) * width;

        memcpy(row, theta + e * f * sizeof(*row), f * sizeof(*row));
        for (size_t i = 0; i < f; i++) {
            if (!isfinite(row[i])) {
                return ce_fail(
                    err,
                    CE_ERR_FORMAT,
                    "layer %zu: a scaling vector of expert %zu is not finite",
                    layer,
                    e);
            }
        }
    }
    return CE_OK;
}

static enum ce_status read_layer(struct ce_scaling_outcome *outcome,
                                 const struct ce_parts *parts,
                                 size_t layer,
                                 struct ce_error *err)
{
    struct ce_scaling_facts *facts = &outcome->facts[layer];
    struct ce_part part = {.image = NULL};
    enum ce_status status = ce_parts_read(parts, layer, &part, err);

    if (status == CE_OK) {
        memcpy(facts, part.records, sizeof(*facts));
        status = facts_are_good(facts)
                     ? fill_table(outcome, layer, part.records + sizeof(*facts), err)
                     : ce_fail(err,
                               CE_ERR_FORMAT,
                               "%s: layer %zu: errors that cannot be",
                               parts->dir,
                               layer);
    }
    ce_part_free(&part);
    return status;
}

enum ce_status ce_scaling_outcome_read(struct ce_scaling_outcome *outcome,
                                       const struct ce_parts *parts,
                                       struct ce_error *err)
{
    enum ce_status status = CE_OK;

    outcome->facts = calloc(outcome->layers, sizeof(outcome->facts[0]));
    outcome->table = calloc(outcome->layers, sizeof(outcome->table[0]));
    if (outcome->facts == NULL || outcome->table == NULL) {
        return no_memory(err);
    }
    for (size_t l = 0; status == CE_OK && l < outcome->layers; l++) {
        status = read_layer(outcome, parts, l, err);
    }
    return status;
}

void ce_scaling_outcome_free(struct ce_scaling_outcome *outcome)
{
    for (size_t l = 0; outcome->table != NULL && l < outcome->layers; l++) {
        free(outcome->table[l]);
    }
    free(outcome->table);
    free(outcome->facts);
    *outcome = (struct ce_scaling_outcome){0};
}

enum ce_status ce_scaling_outcome_write(const struct ce_scaling_outcome *outcome,
                                        const char *path,
                                        const struct ce_compressed_file_facts *facts,
                                        struct ce_error *err)
{
    struct ce_safetensors_entry *entries = calloc(outcome->layers, sizeof(*entries));
    enum ce_status status = entries == NULL ? no_memory(err) : CE_OK;

    for (size_t l = 0; status == CE_OK && l < outcome->layers; l++) {
        entries[l].tensor =
            (struct ce_tensor){.dtype = CE_DTYPE_F32,
                               .dims = 3,
                               .shape = {outcome->experts, 3, width_of(outcome)},
                               .data = outcome->table[l],
                               .bytes = table_values(outcome) * sizeof(float)};
        if (asprintf(&entries[l].name, "model.layers.%zu.mlp.ces", l) < 0) {
            entries[l].name = NULL;
            status = no_memory(err);
        }
    }
    if (status == CE_OK) {
        status = ce_compressed_file_write_entries(
            path, CE_COMPRESSED_SCALING, entries, outcome->layers, facts, err);
    }
    for (size_t l = 0; entries != NULL && l < outcome->layers; l++) {
        free(entries[l].name);
    }
    free(entries);
    return status;
}
