/* bench_schedule_print.c - a result of `cemoe bench schedule` as a table and as JSON */

#include "base/streams.h"
#include "tools/bench_samples.h"
#include "tools/bench_schedule.h"
#include "tools/report.h"

#include <stdio.h>

static double rate(const struct ce_step_totals *totals)
{
    return ce_ratio((double)totals->tokens, (double)totals->ns / 1e9);
}

static double efficiency(const struct ce_schedule_result *result)
{
    return ce_ratio(rate(&result->job), rate(&result->plain));
}

static double occupancy(const struct ce_schedule_result *result)
{
    return ce_ratio((double)result->summary.tokens, (double)result->summary.room);
}

/* Of the cache that the list may use, in the mean. */
static double mean_pages(const struct ce_schedule_result *result)
{
    return ce_ratio((double)result->pages, (double)result->job.steps);
}

static json_t *describe(const struct ce_step_totals *totals)
{
    json_t *object = json_object();

    ce_json_set_integer(object, "steps", totals->steps);
    ce_json_set_integer(object, "tokens", totals->tokens);
    ce_json_set_integer(object, "logits", totals->rows);
    ce_json_set_integer(object, "decode_tokens", totals->decodes);
    ce_json_set_seconds(object, "seconds", totals->ns);
    json_object_set_new(object, "tokens_per_second", json_real(rate(totals)));
    return object;
}

static json_t *describe_cache(const struct ce_schedule_result *result)
{
    json_t *object = json_object();

    ce_json_set_integer(object, "pages", result->all_pages);
    ce_json_set_integer(object, "most_used", result->most_pages);
    json_object_set_new(object, "mean_used", json_real(mean_pages(result)));
    ce_json_set_integer(object, "reused_tokens", result->summary.reused);
    return object;
}

int ce_schedule_print_json(const struct ce_schedule_result *result,
                           const struct ce_session *session)
{
    json_t *object = ce_report_head(session);

    ce_json_set_integer(object, "ranks", (uint64_t)session->transport->ranks);
    ce_json_set_integer(object, "threads", (uint64_t)session->engine->threads);
    ce_json_set_integer(object, "step_tokens", session->engine->options.step_tokens);
    ce_json_set_integer(object, "items", result->items);
    ce_json_set_integer(object, "requests", result->requests);
    ce_json_set_integer(object, "seed", result->seed);
    json_object_set_new(object, "list", describe(&result->job));
    json_object_set_new(object, "plain", describe(&result->plain));
    json_object_set_new(object, "cache", describe_cache(result));
    json_object_set_new(object, "occupancy", json_real(occupancy(result)));
    json_object_set_new(object, "efficiency", json_real(efficiency(result)));
    return ce_print_json(object);
}

static void put(const char *name, const struct ce_step_totals *totals)
{
    const double steps = (double)totals->steps;

    ce_print("%s %8llu tokens in %6llu steps %9.3f s %10.1f tokens/s; a step %.1f "
             "tokens, %.1f of them single, %.1f rows of logits\n",
             name,
             (unsigned long long)totals->tokens,
             (unsigned long long)totals->steps,
             (double)totals->ns / 1e9,
             rate(totals),
             ce_ratio((double)totals->tokens, steps),
             ce_ratio((double)totals->decodes, steps),
             ce_ratio((double)totals->rows, steps));
}

int ce_schedule_print_table(const struct ce_schedule_result *result,
                            const struct ce_session *session)
{
    const struct ce_engine *engine = session->engine;
    const double pages = (double)result->all_pages;

    ce_print("kernels %s, %d rank(s) of %d thread(s), %s; at most %zu tokens of a "
             "rank in a step\n%zu items of seed %llu: %zu requests\n\n",
             engine->kernels->name,
             session->transport->ranks,
             engine->threads,
             session->transport->ops->name,
             engine->options.step_tokens,
             result->items,
             (unsigned long long)result->seed,
             result->requests);
    put("list ", &result->job);
    put("plain", &result->plain);
    ce_print("\nefficiency %.1f%%  occupancy %.1f%%  %llu tokens found in the cache, "
             "of which %.0f%% were used, at most %.0f%%\n",
             100 * efficiency(result),
             100 * occupancy(result),
             (unsigned long long)result->summary.reused,
             100 * ce_ratio(mean_pages(result), pages),
             100 * ce_ratio((double)result->most_pages, pages));
    return ce_finish_output();
}
