/* exchange_verdict.c - where a transport is behind the first one of the list */

#include "exchange.h"

#include <string.h>

static const json_t *find_lane(const json_t *cell, const char *name)
{
    const json_t *lanes = json_object_get(cell, "lanes");

    for (size_t i = 0; i < json_array_size(lanes); i++) {
        const json_t *lane = json_array_get(lanes, i);

        if (strcmp(json_string_value(json_object_get(lane, "name")), name) == 0) {
            return lane;
        }
    }
    return NULL;
}

static double median_of(const json_t *lane, const char *phase)
{
    return json_real_value(json_object_get(json_object_get(lane, phase), "median_us"));
}

static void print_behind(const struct exchange_job *job,
                         const json_t *cell,
                         const char *phase,
                         double median,
                         double first)
{
    exchange_print(job,
                   "  %-8s  %s, %s, %d in full, %d tokens: %.1f us, not %.1f\n",
                   phase,
                   json_string_value(json_object_get(cell, "shape")),
                   json_string_value(json_object_get(cell, "routing")),
                   (int)json_integer_value(json_object_get(cell, "mains")),
                   (int)json_integer_value(json_object_get(cell, "tokens_per_rank")),
                   median,
                   first);
}

static void judge_transport(const struct exchange_job *job, const char *name)
{
    static const char *const phases[] = {"dispatch", "combine"};
    size_t compared = 0;
    size_t behind = 0;

    exchange_print(
        job, "\n%s behind %s, by the median:\n", name, job->transport_name[0]);
    for (size_t i = 0; i < json_array_size(job->cells); i++) {
        const json_t *cell = json_array_get(job->cells, i);
        const json_t *lane = find_lane(cell, name);
        const json_t *first = find_lane(cell, job->transport_name[0]);

        for (size_t phase = 0; lane != NULL && phase < EXCHANGE_PHASES; phase++) {
            const double mine = median_of(lane, phases[phase]);
            const double other = median_of(first, phases[phase]);

            compared++;
            if (mine > other) {
                behind++;
                print_behind(job, cell, phases[phase], mine, other);
            }
        }
    }
    exchange_print(job, "  in %zu of %zu\n", behind, compared);
}

void exchange_print_verdict(const struct exchange_job *job)
{
    for (size_t i = 1; i < job->transports; i++) {
        judge_transport(job, job->transport_name[i]);
    }
}
