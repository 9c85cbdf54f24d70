/* engine_fixture.h - an engine of the shipped model, alone in its process */

#ifndef CE_TESTS_UNIT_ENGINE_FIXTURE_H
#define CE_TESTS_UNIT_ENGINE_FIXTURE_H

#include "base/log.h"
#include "base/random.h"
#include "engine/engine.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

#define FIXTURE_TABLES CE_MODEL_DIR "/ces-math.safetensors"
#define FIXTURE_AFFINE CE_TEST_SOURCE_DIR "/golden/affine/compressed.safetensors"

#define assert_ok(call, error)                                                         \
    do {                                                                               \
        if ((call) != CE_OK) {                                                         \
            fail_msg("%s: %s", #call, (error)->text);                                  \
        }                                                                              \
    } while (0)

/* The call fails with this status and a text that has the words in it. */
#define assert_fails(call, status, words, error)                                       \
    do {                                                                               \
        (error)->text[0] = '\0';                                                       \
        assert_int_equal((call), (status));                                            \
        if (strstr((error)->text, (words)) == NULL) {                                  \
            fail_msg("%s: \"%s\" does not say \"%s\"", #call, (error)->text, (words)); \
        }                                                                              \
    } while (0)

struct fixture {
    struct ce_transport *transport;
    struct ce_engine *engine;
};

/* Sizes of 0 are the defaults; with tables two experts of a token are compressed. */
struct fixture_size {
    size_t step_tokens;
    size_t step_logits; /* 0: step_tokens */
    size_t cache_tokens;
    const char *tables;
    const char *wire; /* NULL: "f32" */
    const char *kv;   /* NULL: "f32" */
};

static inline void fixture_open(struct fixture *fixture, struct fixture_size size)
{
    struct ce_engine_options options;
    struct ce_error err = {.text = ""};

    ce_log_init(CE_LOG_WARN, 0);
    ce_engine_options_init(&options);
    options.model = CE_MODEL_DIR;
    options.compressed_experts = size.tables;
    options.wire = size.wire;
    options.kv = size.kv;
    if (size.step_tokens > 0) {
        options.step_tokens = size.step_tokens;
        options.step_logits = size.step_tokens;
    }
    if (size.step_logits > 0) {
        options.step_logits = size.step_logits;
    }
    if (size.cache_tokens > 0) {
        options.cache_tokens = size.cache_tokens;
    }
    assert_ok(ce_transport_create(&fixture->transport, "self", 0, &err), &err);
    assert_ok(ce_engine_create(&fixture->engine, fixture->transport, &options, &err),
              &err);
}

/* Nothing that used the engine may have kept pages of its cache. */
static inline void fixture_close(struct fixture *fixture)
{
    assert_int_equal(fixture->engine->cache.free_pages, fixture->engine->cache.pages);
    ce_engine_destroy(fixture->engine);
    ce_transport_destroy(fixture->transport);
}

/* 0 .. bound - 1, the i-th of a series. */
static inline size_t fixture_random(uint64_t series, uint64_t i, size_t bound)
{
    return (size_t)(ce_random_unit(series, i, 0) * (double)bound);
}

/* Any ids but the ones that stop or pad. */
static inline void fixture_text(int32_t *ids, size_t count, uint64_t series)
{
    for (size_t i = 0; i < count; i++) {
        ids[i] = (int32_t)(2 + fixture_random(series, i, 2000));
    }
}

static inline struct ce_sequence *fixture_sequence(struct fixture *fixture)
{
    struct ce_sequence *sequence = NULL;
    struct ce_error err = {.text = ""};

    assert_ok(ce_sequence_create(&sequence, fixture->engine, &err), &err);
    return sequence;
}

/* `count` tokens of one sequence alone; their logits. */
static inline const float *fixture_feed(struct fixture *fixture,
                                        struct ce_sequence *sequence,
                                        const int32_t *ids,
                                        size_t count)
{
    struct ce_step_item item = {sequence, ids, count, CE_LOGITS_ALL};
    const float *logits = NULL;
    struct ce_error err = {.text = ""};

    assert_ok(ce_engine_step(fixture->engine, &item, 1, &logits, &err), &err);
    return logits;
}

#endif
