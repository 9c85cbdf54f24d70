/* fewshot.c - examples: read, chosen, rendered */

#include "eval/fewshot.h"

#include "eval/rendering.h"

#include <stdlib.h>
#include <string.h>

static enum ce_status fail_memory(struct ce_error *err)
{
    return ce_fail(err, CE_ERR_NOMEM, "no memory for few-shot examples");
}

static enum ce_status clean_up(struct ce_fewshot *fewshot, struct ce_error *err)
{
    ce_cleanup_function *function = fewshot->description->clean_up;
    struct ce_documents *documents = &fewshot->documents;
    enum ce_status status = CE_OK;

    for (size_t i = 0; function != NULL && status == CE_OK && i < documents->count;
         i++) {
        status = function(documents->object[i], err);
        if (status != CE_OK) {
            ce_error_prefix(err, "%s: line %zu", documents->path, documents->line[i]);
        }
    }
    return status;
}

enum ce_status ce_fewshot_open(struct ce_fewshot *fewshot,
                               const struct ce_description *description,
                               size_t count,
                               const char *path,
                               struct ce_error *err)
{
    const struct ce_document_selection all = {.id_field = NULL};
    struct ce_documents *documents = &fewshot->documents;
    enum ce_status status = CE_OK;

    *fewshot = (struct ce_fewshot){.description = description, .count = count};
    if (count == 0) {
        return CE_OK;
    }
    status = ce_documents_read(documents, path, &all, err);
    if (status != CE_OK) {
        return status;
    }
    if (count > documents->count) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "%s: %zu few-shot examples are wanted, the file has %zu",
                       path,
                       count,
                       documents->count);
    }
    fewshot->text = calloc(documents->count, sizeof(fewshot->text[0]));
    fewshot->pool = calloc(documents->count, sizeof(fewshot->pool[0]));
    fewshot->chosen = calloc(count + 1, sizeof(fewshot->chosen[0]));
    if (fewshot->text == NULL || fewshot->pool == NULL || fewshot->chosen == NULL) {
        return fail_memory(err);
    }
    ce_python_random_seed(&fewshot->random, description->fewshot.seed);
    return clean_up(fewshot, err);
}

void ce_fewshot_close(struct ce_fewshot *fewshot)
{
    for (size_t i = 0; fewshot->text != NULL && i < fewshot->documents.count; i++) {
        free(fewshot->text[i]);
    }
    free(fewshot->text);
    free(fewshot->pool);
    free(fewshot->chosen);
    ce_documents_free(&fewshot->documents);
    *fewshot = (struct ce_fewshot){.count = 0};
}

/* False for what may not be an example of the document. */
static bool
is_allowed(const struct ce_fewshot *fewshot, size_t index, const json_t *document)
{
    const json_t *example = fewshot->documents.object[index];
    const char *part = fewshot->description->part_field;

    if (part != NULL &&
        !json_equal(json_object_get(example, part), json_object_get(document, part))) {
        return false;
    }
    return !fewshot->description->fewshot.exclude || !json_equal(example, document);
}

static size_t fill_pool(struct ce_fewshot *fewshot, const json_t *document)
{
    size_t count = 0;

    for (size_t i = 0; i < fewshot->documents.count; i++) {
        if (is_allowed(fewshot, i, document)) {
            fewshot->pool[count++] = i;
        }
    }
    return count;
}

static enum ce_status
fail_few(const struct ce_fewshot *fewshot, size_t there, struct ce_error *err)
{
    return ce_fail(err,
                   CE_ERR_FORMAT,
                   "%zu few-shot examples are wanted, %s has %zu for this document",
                   fewshot->count,
                   fewshot->documents.path,
                   there);
}

static enum ce_status
choose_first(struct ce_fewshot *fewshot, const json_t *document, struct ce_error *err)
{
    size_t count = fill_pool(fewshot, document);

    if (count < fewshot->count) {
        return fail_few(fewshot, count, err);
    }
    memcpy(fewshot->chosen, fewshot->pool, fewshot->count * sizeof(fewshot->pool[0]));
    return CE_OK;
}

/* Removes the document from what was drawn; how many are left. */
static size_t
drop_document(struct ce_fewshot *fewshot, size_t drawn, const json_t *document)
{
    size_t kept = 0;

    for (size_t i = 0; i < drawn; i++) {
        if (is_allowed(fewshot, fewshot->chosen[i], document)) {
            fewshot->chosen[kept++] = fewshot->chosen[i];
        }
    }
    return kept;
}

/* Draws from the documents without the one that is asked, which is there several times.
 */
static enum ce_status
draw_again(struct ce_fewshot *fewshot, const json_t *document, struct ce_error *err)
{
    size_t count = fill_pool(fewshot, document);

    if (count < fewshot->count) {
        return fail_few(fewshot, count, err);
    }
    if (!ce_python_random_sample(
            &fewshot->random, count, fewshot->count, fewshot->chosen)) {
        return fail_memory(err);
    }
    for (size_t i = 0; i < fewshot->count; i++) {
        fewshot->chosen[i] = fewshot->pool[fewshot->chosen[i]];
    }
    return CE_OK;
}

/* Where the document itself may be drawn, one more is, so that it can be left out. */
static enum ce_status
choose_sample(struct ce_fewshot *fewshot, const json_t *document, struct ce_error *err)
{
    size_t there = fewshot->documents.count;
    size_t drawn = fewshot->count + (fewshot->description->fewshot.exclude ? 1 : 0);

    if (there < drawn) {
        return fail_few(fewshot, there - 1, err);
    }
    if (!ce_python_random_sample(&fewshot->random, there, drawn, fewshot->chosen)) {
        return fail_memory(err);
    }
    return drop_document(fewshot, drawn, document) < fewshot->count
               ? draw_again(fewshot, document, err)
               : CE_OK;
}

/* lm-eval's turn of an example: no delimiters around an answer that is empty. */
static void add_turn(const struct ce_description *description,
                     const struct ce_rendering *rendering,
                     struct ce_string *text)
{
    bool swapped = description->prompt == NULL;
    const char *question = rendering->prompt[swapped ? rendering->gold : 0];
    const char *answer = rendering->target != NULL ? rendering->target
                                                   : rendering->choice[rendering->gold];

    ce_string_append(text, question);
    if (*answer != '\0') {
        ce_string_append(text, description->target_delimiter);
        ce_string_append(text, answer);
        ce_string_append(text, description->fewshot.delimiter);
    }
}

static enum ce_status
render_example(struct ce_fewshot *fewshot, size_t index, struct ce_error *err)
{
    const struct ce_documents *documents = &fewshot->documents;
    struct ce_string text = {.data = NULL};
    struct ce_rendering rendering;
    enum ce_status status = ce_rendering_make(
        &rendering, fewshot->description, documents->object[index], err);

    if (status == CE_OK) {
        add_turn(fewshot->description, &rendering, &text);
        fewshot->text[index] = ce_string_take(&text);
        status = fewshot->text[index] == NULL ? fail_memory(err) : CE_OK;
    } else {
        ce_error_prefix(err, "%s: line %zu", documents->path, documents->line[index]);
    }
    ce_rendering_free(&rendering);
    ce_string_free(&text);
    return status;
}

enum ce_status ce_fewshot_add(struct ce_fewshot *fewshot,
                              const json_t *document,
                              struct ce_string *text,
                              struct ce_error *err)
{
    enum ce_status status = CE_OK;

    if (fewshot->count == 0) {
        return CE_OK;
    }
    status = fewshot->description->fewshot.first_n
                 ? choose_first(fewshot, document, err)
                 : choose_sample(fewshot, document, err);
    for (size_t i = 0; status == CE_OK && i < fewshot->count; i++) {
        size_t index = fewshot->chosen[i];

        if (fewshot->text[index] == NULL) {
            status = render_example(fewshot, index, err);
        }
        if (status == CE_OK) {
            ce_string_append(text, fewshot->text[index]);
        }
    }
    return status;
}
