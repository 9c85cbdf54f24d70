/* weights_leftovers.c - tensors in the files that the model does not call for
 *
 * What could be a weight means that the files are another model and is refused.
 */

#include "model/weights.h"
#include "model/weights_internal.h"

#include <stdlib.h>
#include <string.h>

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Buffers that other programs compute and now and then store, by the last part of their
 * names: rotary embedding, positions, caches of cosines, masks, state of a training. */
static bool is_buffer_name(const char *last)
{
    static const char *const names[] = {"inv_freq",
                                        "original_inv_freq",
                                        "freqs",
                                        "freqs_cis",
                                        "cos_cached",
                                        "sin_cached",
                                        "cos_cache",
                                        "sin_cache",
                                        "cos_sin_cache",
                                        "position_ids",
                                        "causal_mask",
                                        "attention_mask",
                                        "attn_mask",
                                        "masked_bias",
                                        "_extra_state"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(last, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* GPT-2 and its descendants call their causal mask [1, 1, n, n] "attn.bias". */
static bool is_mask(const char *name, const struct ce_tensor *tensor)
{
    const size_t length = strlen(name);
    static const char *const endings[] = {"attn.bias", "attention.bias"};
    bool named = false;

    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        const size_t end = strlen(endings[i]);

        named =
            named || (length >= end && strcmp(name + length - end, endings[i]) == 0);
    }
    return named && tensor->dims == 4 && tensor->shape[0] == 1 &&
           tensor->shape[1] == 1 && tensor->shape[2] == tensor->shape[3];
}

static bool is_buffer(const struct ce_checkpoint_entry *entry)
{
    const char *dot = strrchr(entry->name, '.');

    return is_buffer_name(dot == NULL ? entry->name : dot + 1) ||
           is_mask(entry->name, entry->tensor);
}

static bool is_known(const struct ce_weights_finder *finder, const char *name)
{
    return bsearch(&name, finder->name, finder->names, sizeof(name), compare_names) !=
           NULL;
}

static enum ce_status
fail_leftover(const char *path, const char *name, struct ce_error *err)
{
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: tensor %s is not part of the model config.json describes",
                   path,
                   name);
}

/* Where embeddings are tied, a stored output matrix must be the embedding: transformers
 * 5 uses both where they differ, earlier ones the embedding alone. */
static enum ce_status check_tied(const struct ce_checkpoint *checkpoint,
                                 const struct ce_checkpoint_entry *output,
                                 struct ce_error *err)
{
    const struct ce_tensor *embedding =
        ce_checkpoint_find(checkpoint, "model.embed_tokens.weight", NULL);

    if (embedding->dtype == output->tensor->dtype &&
        embedding->bytes == output->tensor->bytes &&
        memcmp(embedding->data, output->tensor->data, embedding->bytes) == 0) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%s: tensor %s is not that of the embedding, but config.json has "
                   "tie_word_embeddings: true; with false both are used",
                   output->file->path,
                   output->name);
}

static enum ce_status check_stored_leftovers(const struct ce_weights_finder *finder,
                                             struct ce_error *err)
{
    const struct ce_checkpoint *checkpoint = finder->request->checkpoint;

    for (size_t i = 0; i < checkpoint->count; i++) {
        const struct ce_checkpoint_entry *entry = &checkpoint->entries[i];

        if (is_known(finder, entry->name) || is_buffer(entry)) {
            continue;
        }
        if (!finder->request->config->tie_word_embeddings ||
            strcmp(entry->name, "lm_head.weight") != 0) {
            return fail_leftover(entry->file->path, entry->name, err);
        }
        if (check_tied(checkpoint, entry, err) != CE_OK) {
            return CE_ERR_FORMAT;
        }
    }
    return CE_OK;
}

static enum ce_status check_packed_leftovers(const struct ce_weights_finder *finder,
                                             struct ce_error *err)
{
    const struct ce_packed_file *file = finder->request->packed;

    for (size_t i = 0; i < file->count; i++) {
        if (!is_known(finder, file->tensors[i].name)) {
            return fail_leftover(file->path, file->tensors[i].name, err);
        }
    }
    return CE_OK;
}

enum ce_status ce_weights_check_leftovers(const struct ce_weights_finder *finder,
                                          struct ce_error *err)
{
    qsort(finder->name, finder->names, sizeof(finder->name[0]), compare_names);
    return finder->request->packed != NULL ? check_packed_leftovers(finder, err)
                                           : check_stored_leftovers(finder, err);
}
