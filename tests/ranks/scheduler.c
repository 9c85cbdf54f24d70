/* scheduler.c - a list of requests over all ranks: the same results on any number
 *
 * Every rank requires that it has heard what the others have, and that its pages are
 * back.
 */

#include "ranks/scheduler.h"

#include "base/hash.h"
#include "base/random.h"
#include "comm/collective.h"
#include "ranks/require.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    QUESTIONS = 14,
    CHOICES = 4,
    GENERATIONS = 12,
    TEXT = 90,
    PACE_CALL = 5,
    WORDS = 1024, /* bytes of a setting */
};

_Static_assert(SCHEDULER_REQUESTS == QUESTIONS * CHOICES + GENERATIONS,
               "all are in the list");

struct setting {
    enum ce_pace pace; /* that the last rank answers */
    size_t step_tokens;
    bool unshared;
    int truncated;
    const char *tables, *other;
};

struct run {
    struct ce_transport *transport;
    struct ce_engine *engine;
    int32_t text[SCHEDULER_REQUESTS][TEXT];
    struct ce_schedule_request request[SCHEDULER_REQUESTS];
    struct scheduler_results *results;
    struct setting setting;
    size_t calls;
    struct ce_error err;
};

static const struct ce_sampling drawn = {
    .temperature = 1, .top_k = 200, .top_p = 0.95, .seed = 11};

static void write_text(int32_t *ids, size_t count, uint64_t series)
{
    for (size_t i = 0; i < count; i++) {
        ids[i] = (int32_t)(2 + ce_random_unit(series, i, 0) * 2000);
    }
}

/* Questions whose choices share a beginning, and now and then a generation. */
static void write_requests(struct run *run)
{
    size_t n = 0;

    for (uint64_t q = 0; q < QUESTIONS; q++) {
        size_t context = 20 + q * 5 % 50;

        for (uint64_t c = 0; c < CHOICES; c++, n++) {
            size_t choice = 1 + (q + 3 * c) % 11;

            write_text(run->text[n], context, q);
            write_text(run->text[n] + context, choice, 100 + n);
            run->request[n] = (struct ce_schedule_request){.tokens = run->text[n],
                                                           .count = context + choice,
                                                           .scored = choice,
                                                           .group = (uint32_t)q};
        }
        if (q < GENERATIONS) {
            write_text(run->text[n], 3 + 7 * q, 200 + q);
            run->request[n] =
                (struct ce_schedule_request){.tokens = run->text[n],
                                             .count = 3 + 7 * q,
                                             .max_new_tokens = 1 + 5 * q % 23,
                                             .key = q,
                                             .group = (uint32_t)(1000 + q),
                                             .sampling = q % 2 > 0 ? &drawn : NULL};
            n++;
        }
    }
    REQUIRE(n == SCHEDULER_REQUESTS, "%zu requests", n);
}

static void on_tokens(void *context,
                      size_t request,
                      const struct ce_new_token *tokens,
                      size_t count,
                      enum ce_finish finish)
{
    struct run *run = context;
    struct scheduler_outcome *outcome = &run->results->outcome[request];

    REQUIRE(outcome->finish == CE_FINISH_NONE, "results after the end");
    for (size_t i = 0; i < count; i++) {
        outcome->hash = ce_hash_bytes(outcome->hash, &tokens[i], sizeof(tokens[i]));
    }
    outcome->results += (uint32_t)count;
    outcome->finish = finish;
}

static enum ce_pace pace(void *context)
{
    struct run *run = context;
    bool is_last = run->transport->rank == run->transport->ranks - 1;

    return ++run->calls == PACE_CALL && is_last ? run->setting.pace : CE_PACE_GO_ON;
}

/* The text after `name=`, or NULL for another word. */
static const char *value_of(const char *word, const char *name)
{
    size_t length = strlen(name);

    return strncmp(word, name, length) == 0 && word[length] == '=' ? word + length + 1
                                                                   : NULL;
}

static void read_word(struct setting *setting, const char *word)
{
    if (strcmp(word, "drain") == 0) {
        setting->pace = CE_PACE_DRAIN;
    } else if (strcmp(word, "quit") == 0) {
        setting->pace = CE_PACE_QUIT;
    } else if (strcmp(word, "unshared") == 0) {
        setting->unshared = true;
    } else if (strcmp(word, "truncated") == 0) {
        setting->truncated = 2;
    } else if (value_of(word, "step-tokens") != NULL) {
        setting->step_tokens = strtoul(value_of(word, "step-tokens"), NULL, 10);
    } else if (value_of(word, "tables") != NULL) {
        setting->tables = value_of(word, "tables");
    } else if (value_of(word, "other") != NULL) {
        setting->other = value_of(word, "other");
    } else {
        REQUIRE(strcmp(word, "all") == 0, "a setting has no '%s'", word);
    }
}

/* `text` is cut into words, which the setting points to. */
static struct setting read_setting(char *text)
{
    struct setting setting = {.pace = CE_PACE_GO_ON, .step_tokens = 64};
    char *rest = NULL;

    for (char *word = strtok_r(text, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        read_word(&setting, word);
    }
    return setting;
}

static void open_engine(struct run *run, const char *model)
{
    struct ce_engine_options options;

    ce_engine_options_init(&options);
    options.model = model;
    options.step_tokens = run->setting.step_tokens;
    options.step_logits = options.step_tokens;
    options.cache_tokens = 1024;
    options.compressed_experts = run->setting.tables;
    options.switchable = options.compressed_experts != NULL;
    options.truncated = run->setting.truncated;
    REQUIRE(ce_engine_create(&run->engine, run->transport, &options, &run->err) ==
                CE_OK,
            "%s",
            run->err.text);
}

/* After taking those of another file. */
static void drop_experts(struct run *run)
{
    REQUIRE(ce_engine_use_compressed(run->engine, run->setting.other, &run->err) ==
                CE_OK,
            "%s",
            run->err.text);
    REQUIRE(ce_engine_choose_mains(run->engine, 0, 2, &run->err) == CE_OK,
            "%s",
            run->err.text);
}

/* Every rank hears everything, and in the same order. */
static void check_ranks(struct run *run)
{
    const struct scheduler_outcome *outcome = run->results->outcome;
    const struct ce_bytes *all = NULL;

    REQUIRE(ce_allgather(run->transport,
                         (struct ce_bytes){outcome, sizeof(run->results->outcome)},
                         &all,
                         &run->err) == CE_OK,
            "%s",
            run->err.text);
    for (int r = 0; r < run->transport->ranks; r++) {
        REQUIRE(memcmp(all[r].data, outcome, sizeof(run->results->outcome)) == 0,
                "rank %d has heard other results",
                r);
    }
    REQUIRE(run->engine->cache.free_pages == run->engine->cache.pages,
            "%zu of %zu pages are back",
            run->engine->cache.free_pages,
            run->engine->cache.pages);
}

static void check_count(const struct run *run)
{
    size_t done = 0;

    for (size_t i = 0; i < SCHEDULER_REQUESTS; i++) {
        done += run->results->outcome[i].finish != CE_FINISH_NONE;
    }
    REQUIRE(done == run->results->summary.done,
            "%zu requests are done, not %zu",
            run->results->summary.done,
            done);
}

static void schedule(struct run *run)
{
    const struct ce_schedule schedule = {.requests = run->request,
                                         .count = SCHEDULER_REQUESTS,
                                         .vocab = 2000,
                                         .ignore_stop = true,
                                         .unshared = run->setting.unshared,
                                         .on_tokens = on_tokens,
                                         .pace = pace,
                                         .context = run};

    REQUIRE(ce_schedule_run(
                run->engine, &schedule, &run->results->summary, &run->err) == CE_OK,
            "%s",
            run->err.text);
    check_ranks(run);
    check_count(run);
}

void scheduler_run(struct ce_transport *transport,
                   const char *model,
                   const char *words,
                   struct scheduler_results *results)
{
    struct run *run = calloc(1, sizeof(*run));
    char text[WORDS];

    REQUIRE(run != NULL, "no memory");
    REQUIRE(strlen(words) < sizeof(text), "a setting of %zu bytes", strlen(words));
    require_doing = words;
    (void)snprintf(text, sizeof(text), "%s", words);
    memset(results, 0, sizeof(*results));
    run->transport = transport;
    run->results = results;
    run->setting = read_setting(text);
    write_requests(run);
    open_engine(run, model);
    if (run->engine->options.switchable) {
        drop_experts(run);
    }
    schedule(run);
    ce_engine_destroy(run->engine);
    free(run);
}
