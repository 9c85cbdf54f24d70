/* requests_alone.h - what the results of a request must be: those of steps of its own
 */

#ifndef CE_TEST_REQUESTS_ALONE_H
#define CE_TEST_REQUESTS_ALONE_H

#include "engine/likelihood.h"
#include "engine/scheduler.h"
#include "engine_fixture.h"

enum { MOST_TOKENS = 120 }; /* of a request in these tests */

/* What has been heard of a request, or what must be. */
struct results {
    size_t count;
    enum ce_finish finish;
    struct ce_new_token token[MOST_TOKENS];
};

/* All tokens but the last, which nothing follows. */
static void score_alone(struct fixture *fixture,
                        const struct ce_schedule_request *request,
                        struct results *results)
{
    struct ce_sequence *sequence = fixture_sequence(fixture);
    size_t vocab = ce_engine_vocab_size(fixture->engine);
    size_t first = request->count - 1 - request->scored;

    (void)fixture_feed(fixture, sequence, request->tokens, request->count - 1);
    for (size_t i = 0; i < request->scored; i++) {
        float *row = fixture->engine->act.logits + (first + i) * vocab;
        int32_t id = request->tokens[first + 1 + i];
        int32_t most_likely = ce_sample_greedy(row, vocab);

        results->token[i] = (struct ce_new_token){
            id,
            most_likely,
            ce_log_probability(fixture->engine->kernels, row, vocab, id)};
    }
    results->count = request->scored;
    results->finish = CE_FINISH_SCORED;
    ce_sequence_destroy(sequence);
}

static void generate_alone(struct fixture *fixture,
                           const struct ce_schedule_request *request,
                           size_t vocab,
                           struct results *results)
{
    static const struct ce_sampling greedy = {.temperature = 0};
    const struct ce_sampling *sampling =
        request->sampling != NULL ? request->sampling : &greedy;
    struct ce_sequence *sequence = fixture_sequence(fixture);
    struct ce_sampler sampler = {0};
    size_t width = ce_engine_vocab_size(fixture->engine);
    const float *logits =
        fixture_feed(fixture, sequence, request->tokens, request->count) +
        (request->count - 1) * width;

    assert_int_equal(ce_sampler_create(&sampler, width, NULL), CE_OK);
    for (size_t i = 0; i < request->max_new_tokens; i++) {
        int32_t id = ce_sample(&sampler, sampling, logits, vocab, request->key, i);

        results->token[i] = (struct ce_new_token){.id = id, .most_likely = id};
        logits = fixture_feed(fixture, sequence, &id, 1);
    }
    results->count = request->max_new_tokens;
    results->finish = CE_FINISH_LENGTH;
    ce_sampler_destroy(&sampler);
    ce_sequence_destroy(sequence);
}

/* Samples are of the first `vocab` ids. */
static void run_alone(struct fixture *fixture,
                      const struct ce_schedule_request *request,
                      size_t vocab,
                      struct results *results)
{
    if (request->scored > 0) {
        score_alone(fixture, request, results);
    } else {
        generate_alone(fixture, request, vocab, results);
    }
}

#endif
