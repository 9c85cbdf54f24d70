/* tokenizer_fixture.h - small tokenizers, written in the tests that use them */

#ifndef CE_TESTS_UNIT_TOKENIZER_FIXTURE_H
#define CE_TESTS_UNIT_TOKENIZER_FIXTURE_H

#include "model/tokenizer/tokenizer.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The fields of a tokenizer.json; what is NULL is as below. */
struct fixture {
    const char *added_tokens;
    const char *normalizer;
    const char *pre_tokenizer;
    const char *post_processor;
    const char *decoder;
    const char *model;
    const char *more; /* further fields: "\"x\": 1, " */
};

/* One letter a token, and some words of them; U+0120 is the space, U+010A the
 * newline. */
#define FIXTURE_MODEL                                                                  \
    "{\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"\\u0120\": 3, "   \
    "\"ab\": 4, \"abc\": 5, \"\\u0120a\": 6, \"bc\": 7, \"1\": 8, \"\\u010a\": 9, "    \
    "\"\\u00c3\": 10, \"\\u00a9\": 11, \"\\u00c3\\u00a9\": 12, \"x\": 13}, "           \
    "\"merges\": [\"a b\", [\"ab\", \"c\"], \"\\u0120 a\", \"b c\", "                  \
    "\"\\u00c3 \\u00a9\"]}"

#define FIXTURE_BYTE_LEVEL "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}"

static inline const char *fixture_or(const char *text, const char *otherwise)
{
    return text == NULL ? otherwise : text;
}

static inline enum ce_status fixture_parse(struct ce_tokenizer **tokenizer,
                                           const struct fixture *fixture,
                                           struct ce_error *err)
{
    char *json = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&json, &bytes);

    assert_non_null(out);
    (void)fprintf(out,
                  "{%s\"added_tokens\": %s, \"normalizer\": %s, "
                  "\"pre_tokenizer\": %s, \"post_processor\": %s, "
                  "\"decoder\": %s, \"model\": %s}",
                  fixture_or(fixture->more, ""),
                  fixture_or(fixture->added_tokens, "[]"),
                  fixture_or(fixture->normalizer, "null"),
                  fixture_or(fixture->pre_tokenizer, FIXTURE_BYTE_LEVEL),
                  fixture_or(fixture->post_processor, "null"),
                  fixture_or(fixture->decoder, FIXTURE_BYTE_LEVEL),
                  fixture_or(fixture->model, FIXTURE_MODEL));
    assert_int_equal(fclose(out), 0);
    enum ce_status status = ce_tokenizer_parse(tokenizer, json, bytes, "t.json", err);

    free(json);
    return status;
}

static inline struct ce_tokenizer *fixture_create(const struct fixture *fixture)
{
    struct ce_tokenizer *tokenizer = NULL;
    struct ce_error err = {.text = ""};

    if (fixture_parse(&tokenizer, fixture, &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
    return tokenizer;
}

/* The failure of a file: code and whole text. */
static inline void
fixture_refused(const struct fixture *fixture, enum ce_status code, const char *text)
{
    struct ce_tokenizer *tokenizer = NULL;
    struct ce_error err = {.text = ""};

    assert_int_equal(fixture_parse(&tokenizer, fixture, &err), code);
    assert_string_equal(err.text, text);
    assert_null(tokenizer);
}

/* `ids` as "4 7 1". */
static inline void assert_ids(const struct ce_ids *ids, const char *wanted)
{
    char text[512] = "";
    size_t used = 0;

    for (size_t i = 0; i < ids->count; i++) {
        int length = snprintf(
            text + used, sizeof(text) - used, i == 0 ? "%d" : " %d", (int)ids->id[i]);

        assert_true(length > 0 && (size_t)length < sizeof(text) - used);
        used += (size_t)length;
    }
    assert_string_equal(text, wanted);
}

static inline void assert_encodes_as(const struct ce_tokenizer *tokenizer,
                                     const char *text,
                                     bool plain_specials,
                                     const char *wanted)
{
    struct ce_ids ids = {.id = NULL};
    struct ce_error err = {.text = ""};

    if (ce_tokenizer_encode(
            tokenizer, text, strlen(text), plain_specials, &ids, &err) != CE_OK) {
        fail_msg("%s: %s", text, err.text);
    }
    assert_ids(&ids, wanted);
    ce_ids_free(&ids);
}

static inline void assert_encodes(const struct ce_tokenizer *tokenizer,
                                  const char *text,
                                  const char *wanted)
{
    assert_encodes_as(tokenizer, text, false, wanted);
}

/* One encoding with a tokenizer that only it needs. */
static inline void assert_fixture_encodes(const struct fixture *fixture,
                                          const char *text,
                                          const char *wanted)
{
    struct ce_tokenizer *tokenizer = fixture_create(fixture);

    assert_encodes(tokenizer, text, wanted);
    ce_tokenizer_close(tokenizer);
}

static inline void assert_decodes(const struct ce_tokenizer *tokenizer,
                                  const int32_t *ids,
                                  size_t count,
                                  const char *wanted)
{
    struct ce_text text = {.data = NULL};
    struct ce_error err = {.text = ""};

    if (ce_tokenizer_decode(tokenizer, ids, count, false, &text, &err) != CE_OK) {
        fail_msg("%s", err.text);
    }
    assert_string_equal(text.data == NULL ? "" : text.data, wanted);
    ce_text_free(&text);
}

#endif
