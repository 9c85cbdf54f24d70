/* bpe_read.c - the model of tokenizer.json */

#include "base/json.h"
#include "model/tokenizer/bpe.h"

#include <stdio.h>
#include <string.h>

static enum ce_status refuse(const char *file, const char *field, struct ce_error *err)
{
    return ce_fail(
        err, CE_ERR_UNSUPPORTED, "%s: model.%s: is not supported", file, field);
}

static enum ce_status
check_type(const json_t *model, const char *file, struct ce_error *err)
{
    struct ce_json_source source = {.file = file, .prefix = "model."};
    const char *type = "BPE";
    char name[64];
    enum ce_status status = ce_json_read_string(&source, model, "type", &type, err);

    if (status == CE_OK && strcmp(type, "BPE") != 0) {
        struct ce_span span = {.data = type, .bytes = strlen(type)};

        return ce_fail(err,
                       CE_ERR_UNSUPPORTED,
                       "%s: model: type \"%s\" is not supported",
                       file,
                       ce_text_quote(name, sizeof(name), span));
    }
    return status;
}

/* What known models leave empty. */
static enum ce_status
check_unused(const json_t *model, const char *file, struct ce_error *err)
{
    struct ce_json_source source = {.file = file, .prefix = "model."};
    const char *prefix = "";
    const char *suffix = "";
    double dropout = 0;
    enum ce_status status =
        ce_json_read_string(&source, model, "continuing_subword_prefix", &prefix, err);

    if (status == CE_OK) {
        status =
            ce_json_read_string(&source, model, "end_of_word_suffix", &suffix, err);
    }
    if (status == CE_OK) {
        status = ce_json_read_double(&source, model, "dropout", &dropout, err);
    }
    if (status != CE_OK) {
        return status;
    }
    if (*prefix != '\0') {
        return refuse(file, "continuing_subword_prefix", err);
    }
    if (*suffix != '\0') {
        return refuse(file, "end_of_word_suffix", err);
    }
    return dropout != 0 ? refuse(file, "dropout", err) : CE_OK;
}

static enum ce_status read_switches(struct ce_bpe *bpe,
                                    const json_t *model,
                                    const char *file,
                                    struct ce_error *err)
{
    struct ce_json_source source = {.file = file, .prefix = "model."};
    enum ce_status status =
        ce_json_read_bool(&source, model, "ignore_merges", &bpe->ignore_merges, err);

    if (status == CE_OK) {
        status = ce_json_read_bool(
            &source, model, "byte_fallback", &bpe->byte_fallback, err);
    }
    if (status == CE_OK) {
        status = ce_json_read_bool(&source, model, "fuse_unk", &bpe->fuse_unknown, err);
    }
    return status;
}

static enum ce_status read_tables(struct ce_bpe *bpe,
                                  const json_t *model,
                                  const char *file,
                                  struct ce_error *err)
{
    json_t *vocab = json_object_get(model, "vocab");
    const json_t *merges = json_object_get(model, "merges");

    if (!json_is_object(vocab)) {
        return ce_fail(err, CE_ERR_FORMAT, "%s: model.vocab: is not an object", file);
    }
    if (!json_is_array(merges)) {
        return ce_fail(err, CE_ERR_FORMAT, "%s: model.merges: is not a list", file);
    }
    enum ce_status status =
        ce_vocabulary_read(&bpe->vocabulary, vocab, bpe->byte_level, file, err);

    if (status == CE_OK) {
        status = ce_merges_read(&bpe->merges, merges, vocab, file, err);
    }
    return status;
}

/* The tokens of single bytes; true when all 256 bytes have one. */
static bool find_byte_ids(struct ce_bpe *bpe)
{
    bool complete = true;

    for (unsigned byte = 0; byte < 256; byte++) {
        char text[1] = {(char)byte};
        char code[8];

        (void)snprintf(code, sizeof(code), "<0x%02X>", byte);
        bpe->byte_id[byte] = ce_vocabulary_find(
            &bpe->vocabulary, (struct ce_span){.data = text, .bytes = 1});
        bpe->fallback_id[byte] = ce_vocabulary_find(
            &bpe->vocabulary, (struct ce_span){.data = code, .bytes = strlen(code)});
        complete = complete && bpe->byte_id[byte] >= 0;
    }
    return complete;
}

/* What a character becomes that has no token. */
static enum ce_status read_unknown(struct ce_bpe *bpe,
                                   const json_t *model,
                                   const char *file,
                                   struct ce_error *err)
{
    const json_t *vocab = json_object_get(model, "vocab");
    struct ce_json_source source = {.file = file, .prefix = "model."};
    const char *token = NULL;
    enum ce_status status =
        ce_json_read_string(&source, model, "unk_token", &token, err);

    bpe->unknown = -1;
    if (status != CE_OK || (find_byte_ids(bpe) && bpe->byte_level)) {
        return status;
    }
    if (bpe->byte_level && bpe->byte_fallback) {
        return refuse(
            file, "byte_fallback of an incomplete byte-level vocabulary", err);
    }
    if (token == NULL) {
        return CE_OK;
    }
    const json_t *id = json_object_get(vocab, token);

    if (id == NULL) {
        return ce_fail(
            err, CE_ERR_FORMAT, "%s: model.unk_token: is not in model.vocab", file);
    }
    bpe->unknown = (int32_t)json_integer_value(id);
    return CE_OK;
}

enum ce_status ce_bpe_read(struct ce_bpe *bpe,
                           const json_t *model,
                           bool byte_level,
                           const char *file,
                           struct ce_error *err)
{
    if (!json_is_object(model)) {
        return ce_fail(err, CE_ERR_FORMAT, "%s: model: is not an object", file);
    }
    enum ce_status status = check_type(model, file, err);

    bpe->byte_level = byte_level;
    if (status == CE_OK) {
        status = check_unused(model, file, err);
    }
    if (status == CE_OK) {
        status = read_switches(bpe, model, file, err);
    }
    if (status == CE_OK) {
        status = read_tables(bpe, model, file, err);
    }
    if (status == CE_OK) {
        status = read_unknown(bpe, model, file, err);
    }
    return status;
}

void ce_bpe_fini(struct ce_bpe *bpe)
{
    ce_vocabulary_fini(&bpe->vocabulary);
    ce_merges_fini(&bpe->merges);
}
