/* tokenize.c - `cemoe tokenize`: text to token ids and back */

#include "base/log.h"
#include "base/streams.h"
#include "base/text_file.h"
#include "model/tokenizer/tokenizer.h"
#include "tools/commands.h"
#include "tools/common.h"
#include "tools/id_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_LIMIT ((size_t)1 << 30)

struct values {
    const char *model;
    const char *text;
    const char *file;
    const char *decode;
    bool plain_specials;
    bool pieces;
    bool json;
};

static const struct ce_option options[] = {
    {.name = "model",
     .short_name = 'm',
     .kind = CE_OPTION_STRING,
     .argument = "DIR",
     .field = offsetof(struct values, model),
     .required = true,
     .env = "CEMOE_MODEL",
     .help = "Directory with tokenizer.json; nothing else of a checkpoint is needed."},
    {.name = "text",
     .short_name = 't',
     .kind = CE_OPTION_STRING,
     .argument = "TEXT",
     .field = offsetof(struct values, text),
     .help = "Encode TEXT."},
    {.name = "file",
     .short_name = 'f',
     .kind = CE_OPTION_STRING,
     .argument = "FILE",
     .field = offsetof(struct values, file),
     .help = "Encode the whole of FILE, UTF-8; - is standard input."},
    {.name = "decode",
     .short_name = 'd',
     .kind = CE_OPTION_STRING,
     .argument = "LIST",
     .field = offsetof(struct values, decode),
     .help = "Decode token ids separated by commas, e.g. 1,2,3; special tokens are "
             "shown."},
    {.name = "plain-specials",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct values, plain_specials),
     .help = "Special tokens written in the text are ordinary text, as is wanted for "
             "texts that are not trusted."},
    {.name = "pieces",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct values, pieces),
     .help = "Also show what each id decodes to on its own, quoted as in JSON; part of "
             "a character shows as U+FFFD."},
    {.name = "json",
     .kind = CE_OPTION_FLAG,
     .field = offsetof(struct values, json),
     .help = "Print {\"ids\"}, with --pieces also \"pieces\"; of --decode {\"text\"}, "
             "or with --pieces {\"text\", \"ids\", \"pieces\"}."},
    {0}};

/* Ids and text, whichever was given and whichever came of it. */
struct result {
    struct ce_ids ids;
    struct ce_text text; /* of --decode */
    json_t *pieces;      /* with --pieces: one string an id */
};

static enum ce_status encode_file(const struct values *values,
                                  const struct ce_tokenizer *tokenizer,
                                  struct ce_ids *ids,
                                  struct ce_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    enum ce_status status =
        ce_text_file_read(values->file, TEXT_LIMIT, &text, &bytes, err);

    if (status == CE_OK) {
        status = ce_tokenizer_encode(
            tokenizer, text, bytes, values->plain_specials, ids, err);
        if (status != CE_OK) {
            ce_error_prefix(err, "%s", values->file);
        }
    }
    free(text);
    return status;
}

static enum ce_status encode_text(const struct values *values,
                                  const struct ce_tokenizer *tokenizer,
                                  struct ce_ids *ids,
                                  struct ce_error *err)
{
    enum ce_status status = ce_tokenizer_encode(tokenizer,
                                                values->text,
                                                strlen(values->text),
                                                values->plain_specials,
                                                ids,
                                                err);

    if (status != CE_OK) {
        ce_error_prefix(err, "--text");
    }
    return status;
}

static enum ce_status decode(const struct ce_tokenizer *tokenizer,
                             struct result *result,
                             struct ce_error *err)
{
    const struct ce_ids *ids = &result->ids;
    enum ce_status status =
        ce_tokenizer_decode(tokenizer, ids->id, ids->count, false, &result->text, err);

    if (status != CE_OK) {
        ce_error_prefix(err, "--decode");
    }
    return status;
}

static enum ce_status add_pieces(const struct ce_tokenizer *tokenizer,
                                 struct result *result,
                                 struct ce_error *err)
{
    enum ce_status status = CE_OK;

    result->pieces = json_array();
    for (size_t i = 0; status == CE_OK && i < result->ids.count; i++) {
        struct ce_text piece = {0};

        status =
            ce_tokenizer_decode(tokenizer, &result->ids.id[i], 1, false, &piece, err);
        if (status == CE_OK &&
            json_array_append_new(
                result->pieces,
                json_stringn(piece.bytes > 0 ? piece.data : "", piece.bytes)) != 0) {
            status = ce_fail(err, CE_ERR_NOMEM, "no memory for the pieces");
        }
        ce_text_free(&piece);
    }
    return status;
}

static enum ce_status
work(const struct values *values, struct result *result, struct ce_error *err)
{
    struct ce_tokenizer *tokenizer = NULL;
    enum ce_status status = ce_tokenizer_open(&tokenizer, values->model, err);

    if (status == CE_OK && values->decode != NULL) {
        status = decode(tokenizer, result, err);
    } else if (status == CE_OK && values->file != NULL) {
        status = encode_file(values, tokenizer, &result->ids, err);
    } else if (status == CE_OK) {
        status = encode_text(values, tokenizer, &result->ids, err);
    }
    if (status == CE_OK && values->pieces) {
        status = add_pieces(tokenizer, result, err);
    }
    ce_tokenizer_close(tokenizer);
    return status;
}

static json_t *id_array(const struct ce_ids *ids)
{
    json_t *array = json_array();

    for (size_t i = 0; i < ids->count; i++) {
        json_array_append_new(array, json_integer(ids->id[i]));
    }
    return array;
}

static int print_json(const struct values *values, const struct result *result)
{
    json_t *object = json_object();

    if (values->decode != NULL) {
        json_object_set_new(
            object,
            "text",
            json_stringn(result->text.bytes > 0 ? result->text.data : "",
                         result->text.bytes));
    }
    if (values->decode == NULL || values->pieces) {
        json_object_set_new(object, "ids", id_array(&result->ids));
    }
    if (values->pieces) {
        json_object_set(object, "pieces", result->pieces);
    }
    return ce_print_json(object);
}

/* One id and its piece a line. */
static int print_pieces(const struct result *result)
{
    for (size_t i = 0; i < result->ids.count; i++) {
        char *piece = json_dumps(json_array_get(result->pieces, i), JSON_ENCODE_ANY);

        ce_print("%8d  %s\n", result->ids.id[i], piece != NULL ? piece : "");
        free(piece);
    }
    return ce_finish_output();
}

static int print_ids(const struct ce_ids *ids)
{
    for (size_t i = 0; i < ids->count; i++) {
        ce_print("%s%d", i > 0 ? " " : "", ids->id[i]);
    }
    ce_print("\n");
    return ce_finish_output();
}

static int print_text(const struct ce_text *text)
{
    (void)fwrite(text->bytes > 0 ? text->data : "", 1, text->bytes, ce_results());
    ce_print("\n");
    return ce_finish_output();
}

static int print_result(const struct values *values, const struct result *result)
{
    if (values->json) {
        return print_json(values, result);
    }
    if (values->pieces) {
        return print_pieces(result);
    }
    return values->decode != NULL ? print_text(&result->text) : print_ids(&result->ids);
}

/* What the option tables cannot check: one source, and a list that is one. */
static enum ce_status
check_usage(const struct values *values, struct ce_ids *ids, struct ce_error *err)
{
    int given =
        (values->text != NULL) + (values->file != NULL) + (values->decode != NULL);

    if (given != 1) {
        return ce_fail(err, CE_ERR_ARG, "give one of --text, --file and --decode");
    }
    if (values->decode != NULL) {
        return ce_id_list_parse(values->decode, "--decode", &ids->id, &ids->count, err);
    }
    return CE_OK;
}

static int run(const void *untyped)
{
    const struct values *values = untyped;
    struct result result = {.pieces = NULL};
    struct ce_error err = {.text = ""};
    int code = CE_EXIT_DONE;

    if (!ce_log_is_speaker()) {
        return CE_EXIT_DONE; /* under a launcher one process does it */
    }
    if (check_usage(values, &result.ids, &err) != CE_OK) {
        (void)ce_report_failure("tokenize", &err);
        code = CE_EXIT_USAGE;
    } else if (work(values, &result, &err) != CE_OK) {
        code = ce_report_failure("tokenize", &err);
    } else {
        code = print_result(values, &result);
    }
    ce_ids_free(&result.ids);
    ce_text_free(&result.text);
    json_decref(result.pieces);
    return code;
}

static const struct ce_option_group groups[] = {
    {.title = "Options", .options = options}, {0}};

static const struct ce_example examples[] = {
    {"Ids of a text",
     "cemoe tokenize --model deploy/model --text \"Two experts\" --json"},
    {"How a file is cut into tokens",
     "cemoe tokenize --model deploy/model --file README.md --pieces"},
    {"The text of some ids",
     "cemoe tokenize --model deploy/model --decode 418,27,1963"},
    {0}};

static const char *const usage[] = {"--model DIR --text TEXT [options]",
                                    "--model DIR --file FILE [options]",
                                    "--model DIR --decode LIST [options]",
                                    NULL};

const struct ce_command ce_command_tokenize = {
    .name = "tokenize",
    .summary = "Turn text into token ids, or ids into text",
    .usage = usage,
    .description =
        "Encodes one text exactly as generate and score do, or decodes ids, with the "
        "tokenizer.json of a checkpoint. Prints the ids on one line, or the text.",
    .examples = examples,
    .groups = groups,
    .values_size = sizeof(struct values),
    .run = run};
