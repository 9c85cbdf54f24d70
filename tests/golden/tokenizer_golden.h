/* tokenizer_golden.h - replaying lines of text, ids and decoded text */

#ifndef CE_TESTS_GOLDEN_TOKENIZER_GOLDEN_H
#define CE_TESTS_GOLDEN_TOKENIZER_GOLDEN_H

#include "base/file.h"
#include "base/json.h"
#include "model/tokenizer/tokenizer.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN_LARGEST_FILE ((size_t)64 << 20)

static inline struct ce_tokenizer *golden_open(const char *path)
{
    struct ce_tokenizer *tokenizer = NULL;
    struct ce_error err = {.text = ""};
    char *json = NULL;
    size_t bytes = 0;

    if (ce_file_read(path, GOLDEN_LARGEST_FILE, &json, &bytes, &err) != CE_OK ||
        ce_tokenizer_parse(&tokenizer, json, bytes, path, &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
    free(json);
    return tokenizer;
}

/* The ids of a line; `known` leaves out those that the vocabulary does not have,
 * as the reference does in decoding. */
static inline struct ce_ids golden_ids(const json_t *line,
                                       const struct ce_tokenizer *known)
{
    const json_t *list = json_object_get(line, "ids");
    struct ce_ids ids = {.id = calloc(json_array_size(list) + 1, sizeof(int32_t))};

    assert_non_null(ids.id);
    assert_true(json_is_array(list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        int32_t id = (int32_t)json_integer_value(json_array_get(list, i));
        struct ce_text text = {.data = NULL};

        if (known == NULL ||
            ce_tokenizer_decode(known, &id, 1, false, &text, NULL) == CE_OK) {
            ids.id[ids.count++] = id;
        }
        ce_text_free(&text);
    }
    return ids;
}

static inline void
golden_compare_text(const char *where, const struct ce_text *text, const json_t *wanted)
{
    const char *data = text->data == NULL ? "" : text->data;

    if (text->bytes != json_string_length(wanted) ||
        memcmp(data, json_string_value(wanted), text->bytes) != 0) {
        fail_msg("%s: got \"%s\"", where, data);
    }
}

/* As a whole and as a stream. */
static inline void golden_decode(const char *where,
                                 const struct ce_tokenizer *tokenizer,
                                 const struct ce_ids *ids,
                                 const json_t *wanted)
{
    struct ce_text whole = {.data = NULL};
    struct ce_text pieces = {.data = NULL};
    struct ce_decode_stream stream;
    struct ce_error err = {.text = ""};

    if (ce_tokenizer_decode(tokenizer, ids->id, ids->count, false, &whole, &err) !=
        CE_OK) {
        fail_msg("%s: %s", where, err.text);
    }
    golden_compare_text(where, &whole, wanted);
    ce_decode_stream_init(&stream, tokenizer, false);
    for (size_t i = 0; i < ids->count; i++) {
        assert_int_equal(ce_decode_stream_push(&stream, ids->id[i], &pieces, &err),
                         CE_OK);
    }
    assert_int_equal(ce_decode_stream_finish(&stream, &pieces, &err), CE_OK);
    golden_compare_text(where, &pieces, wanted);
    ce_decode_stream_fini(&stream);
    ce_text_free(&whole);
    ce_text_free(&pieces);
}

static inline void golden_encode(const char *where,
                                 const struct ce_tokenizer *tokenizer,
                                 const json_t *text,
                                 const struct ce_ids *wanted)
{
    struct ce_ids ids = {.id = NULL};
    struct ce_error err = {.text = ""};

    if (ce_tokenizer_encode(tokenizer,
                            json_string_value(text),
                            json_string_length(text),
                            false,
                            &ids,
                            &err) != CE_OK) {
        fail_msg("%s: %s", where, err.text);
    }
    if (ids.count != wanted->count ||
        (ids.count > 0 &&
         memcmp(ids.id, wanted->id, ids.count * sizeof(*ids.id)) != 0)) {
        fail_msg("%s: other ids for \"%s\"", where, json_string_value(text));
    }
    ce_ids_free(&ids);
}

static inline void golden_replay_line(const char *where,
                                      const struct ce_tokenizer *tokenizer,
                                      const json_t *line)
{
    const json_t *text = json_object_get(line, "text");
    const json_t *decoded = json_object_get(line, "decoded");
    struct ce_ids ids = golden_ids(line, text == NULL ? tokenizer : NULL);

    if (text != NULL) {
        golden_encode(where, tokenizer, text, &ids);
    }
    if (decoded != NULL) {
        golden_decode(where, tokenizer, &ids, decoded);
    }
    ce_ids_free(&ids);
}

/* Every line of `path`, of which there must be `lines`. */
static inline void
golden_replay(const struct ce_tokenizer *tokenizer, const char *path, size_t lines)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t capacity = 0;
    size_t number = 0;
    ssize_t bytes;

    assert_non_null(file);
    while ((bytes = getline(&text, &capacity, file)) > 0) {
        char where[512];
        json_error_t why;
        json_t *line = json_loadb(text, (size_t)bytes, JSON_ALLOW_NUL, &why);

        (void)snprintf(where, sizeof(where), "%s:%zu", path, ++number);
        assert_non_null(line);
        golden_replay_line(where, tokenizer, line);
        json_decref(line);
    }
    free(text);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(number, lines);
}

#endif
