/* bench_step_print.c - a result of `cemoe bench step` as a table and as JSON */

#include "base/streams.h"
#include "tools/bench_samples.h"
#include "tools/bench_step.h"
#include "tools/report.h"

#include <stdio.h>

static const char *const phase_name[CE_STEP_PHASES] = {"prompt", "decode"};

/* What is said of one phase at one batch. */
struct rates {
    double tokens; /* of a repetition */
    struct ce_spread seconds;
    double bytes_a_token;
    double flops_a_token;
    double experts_a_layer; /* distinct experts with rows in a step, of all ranks */
    double bytes_a_second;
    double flops_a_second;
    double of_read; /* of the limits; 0 where they were not measured */
    double of_sgemm;
};

static struct rates rates_of(struct ce_step_result *result,
                             struct ce_step_phase *phase,
                             const struct ce_session *session)
{
    const struct ce_config *config = &session->engine->config;
    const struct ce_limit_rates limit = ce_limits_best(&result->limits);
    const double all = (double)phase->work.tokens;
    /* A slice that every rank has read is one expert. */
    const double shares = session->engine->split == CE_EXPERT_SPLIT_NODE
                              ? (double)session->transport->ranks
                              : 1.0;
    struct rates r = {
        .tokens = all / (double)result->repeat,
        .seconds = ce_spread_of(phase->seconds, result->repeat),
        .bytes_a_token = ce_ratio((double)phase->work.bytes, all),
        .flops_a_token = ce_ratio(ce_work_flops(&phase->work, config), all),
        .experts_a_layer =
            ce_ratio((double)phase->work.experts_read,
                     (double)phase->work.steps * (double)config->layers * shares),
    };

    r.bytes_a_second = r.bytes_a_token * r.tokens / r.seconds.median;
    r.flops_a_second = r.flops_a_token * r.tokens / r.seconds.median;
    r.of_read = ce_ratio(r.bytes_a_second, limit.read);
    r.of_sgemm = ce_ratio(r.flops_a_second, limit.sgemm);
    return r;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static json_t *describe_phase(struct ce_step_result *result,
                              struct ce_step_phase *phase,
                              const struct ce_session *session)
{
    const struct rates r = rates_of(result, phase, session);
    json_t *object = json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}",
                               "tokens",
                               r.tokens,
                               "median_seconds",
                               r.seconds.median,
                               "min_seconds",
                               r.seconds.min,
                               "max_seconds",
                               r.seconds.max,
                               "tokens_per_second",
                               r.tokens / r.seconds.median,
                               "bytes_per_token",
                               r.bytes_a_token,
                               "flops_per_token",
                               r.flops_a_token,
                               "experts_per_layer",
                               r.experts_a_layer,
                               "bytes_per_second",
                               r.bytes_a_second,
                               "flops_per_second",
                               r.flops_a_second);

    if (result->limits.samples > 0) {
        json_object_set_new(object, "of_read", json_real(r.of_read));
        json_object_set_new(object, "of_sgemm", json_real(r.of_sgemm));
        json_object_set_new(
            object, "of_limit", json_real(larger(r.of_read, r.of_sgemm)));
    }
    json_object_set_new(object,
                        "stage_seconds",
                        ce_report_times(phase->work.stage_ns, phase->work.moe_ns));
    return object;
}

static json_t *describe_batches(struct ce_step_result *result,
                                const struct ce_session *session)
{
    json_t *batches = json_array();

    for (size_t i = 0; i < result->batches; i++) {
        struct ce_step_batch *batch = &result->batch[i];
        json_t *object = json_object();

        ce_json_set_integer(object, "batch", batch->size);
        for (int phase = 0; phase < CE_STEP_PHASES; phase++) {
            json_object_set_new(object,
                                phase_name[phase],
                                describe_phase(result, &batch->phase[phase], session));
        }
        json_array_append_new(batches, object);
    }
    return batches;
}

static json_t *describe_load(const struct ce_session *session)
{
    const struct ce_weights *weights = &session->engine->weights;
    json_t *object = json_object();

    ce_json_set_seconds(object, "seconds", session->load_ns);
    ce_json_set_integer(object,
                        "weight_bytes",
                        weights->dense_bytes + weights->expert_bytes +
                            ce_engine_compressed_bytes(session->engine));
    return object;
}

int ce_step_print_json(struct ce_step_result *result, const struct ce_session *session)
{
    json_t *object = ce_report_head(session);

    ce_json_set_integer(object, "ranks", (uint64_t)session->transport->ranks);
    ce_json_set_integer(object, "threads", (uint64_t)session->engine->threads);
    ce_json_set_integer(object, "prompt_tokens", result->prompt_tokens);
    ce_json_set_integer(object, "decode_steps", result->decode_steps);
    ce_json_set_integer(object, "repeat", result->repeat);
    json_object_set_new(object, "load", describe_load(session));
    json_object_set_new(object, "limits", ce_limits_json(&result->limits));
    json_object_set_new(object, "batches", describe_batches(result, session));
    return ce_print_json(object);
}

static void put_fraction(const char *unit, double rate, double fraction)
{
    ce_print(" %8.2f %s", rate / 1e9, unit);
    if (fraction > 0) {
        ce_print(" %4.0f%%", 100 * fraction);
    }
}

static void put_phase(const char *name, size_t batch, const struct rates *r)
{
    ce_print("%s %5zu %10.1f (%.1f .. %.1f) tokens/s %9.2f MB %8.3f GFLOP per token",
             name,
             batch,
             r->tokens / r->seconds.median,
             r->tokens / r->seconds.max,
             r->tokens / r->seconds.min,
             r->bytes_a_token / 1e6,
             r->flops_a_token / 1e9);
    put_fraction("GB/s", r->bytes_a_second, r->of_read);
    put_fraction("GFLOP/s", r->flops_a_second, r->of_sgemm);
    ce_print("\n");
}

/* "attention 22%  router 1%  experts 71% ...", in the order of a step. */
static void put_stages(const char *name, size_t batch, const struct ce_work *work)
{
    json_t *times = ce_report_times(work->stage_ns, work->moe_ns);
    const char *stage = NULL;
    json_t *seconds = NULL;
    double all = 0;

    json_object_foreach(times, stage, seconds)
    {
        all += json_real_value(seconds);
    }
    ce_print("%s %5zu", name, batch);
    json_object_foreach(times, stage, seconds)
    {
        ce_print("  %s %.1f%%", stage, 100 * ce_ratio(json_real_value(seconds), all));
    }
    ce_print("\n");
    json_decref(times);
}

int ce_step_print_table(struct ce_step_result *result, const struct ce_session *session)
{
    const struct ce_engine *engine = session->engine;

    ce_print("kernels %s, %d rank(s) of %d thread(s), %s; %zu of %zu experts in "
             "full, %zu compressed\nprompts of %zu tokens, then %zu steps; medians "
             "of %zu\n\nphase  batch\n",
             engine->kernels->name,
             session->transport->ranks,
             engine->threads,
             session->transport->ops->name,
             engine->mains,
             engine->config.top_k,
             engine->compressed,
             result->prompt_tokens,
             result->decode_steps,
             result->repeat);
    for (int phase = 0; phase < CE_STEP_PHASES; phase++) {
        for (size_t i = 0; i < result->batches; i++) {
            struct rates r = rates_of(result, &result->batch[i].phase[phase], session);

            put_phase(phase_name[phase], result->batch[i].size, &r);
        }
    }
    ce_limits_print(&result->limits);
    ce_print("\nshare of time, rank 0\n");
    for (int phase = 0; phase < CE_STEP_PHASES; phase++) {
        for (size_t i = 0; i < result->batches; i++) {
            put_stages(phase_name[phase],
                       result->batch[i].size,
                       &result->batch[i].phase[phase].work);
        }
    }
    return ce_finish_output();
}
