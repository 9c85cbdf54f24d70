/* bench_kernels_print.c - results of `cemoe bench kernels` as a table and as JSON */

#include "base/streams.h"
#include "tools/bench_kernels.h"
#include "tools/common.h"

#include <stdio.h>

static json_t *describe(const struct ce_bench_result *result,
                        struct ce_limit_rates limit)
{
    const double read = result->bytes / result->seconds.median;
    const double flops = result->flops / result->seconds.median;
    json_t *object = json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:o, s:f, s:f}",
                               "name",
                               result->name,
                               "format",
                               result->format,
                               "outputs",
                               (json_int_t)result->outputs,
                               "inputs",
                               (json_int_t)result->inputs,
                               "rows",
                               (json_int_t)result->rows,
                               "bytes",
                               result->bytes,
                               "flops",
                               result->flops,
                               "seconds",
                               ce_spread_json(result->seconds),
                               "bytes_per_second",
                               read,
                               "flops_per_second",
                               flops);

    if (limit.read > 0) {
        json_object_set_new(object, "of_read", json_real(read / limit.read));
        json_object_set_new(object, "of_sgemm", json_real(flops / limit.sgemm));
    }
    return object;
}

int ce_bench_kernels_print_json(struct ce_bench_results *results)
{
    const struct ce_limit_rates limit = ce_limits_best(&results->limits);
    json_t *list = json_array();

    for (size_t i = 0; i < results->count; i++) {
        json_array_append_new(list, describe(&results->result[i], limit));
    }
    return ce_print_json(json_pack("{s:s, s:i, s:I, s:o, s:o}",
                                   "kernels",
                                   results->kernels,
                                   "threads",
                                   results->threads,
                                   "cold_bytes",
                                   (json_int_t)results->cold_bytes,
                                   "limits",
                                   ce_limits_json(&results->limits),
                                   "results",
                                   list));
}

static void put_result(const struct ce_bench_result *result,
                       struct ce_limit_rates limit)
{
    const double read = result->bytes / result->seconds.median;
    const double flops = result->flops / result->seconds.median;

    ce_print("%-14s %6zu x %-5zu %5zu  %-8s %10.1f %8.2f",
             result->name,
             result->outputs,
             result->inputs,
             result->rows,
             result->format,
             1e6 * result->seconds.median,
             read / 1e9);
    if (limit.read > 0) {
        ce_print(" %3.0f%%", 100 * read / limit.read);
    }
    ce_print(" %8.2f", flops / 1e9);
    if (limit.sgemm > 0) {
        ce_print(" %3.0f%%", 100 * flops / limit.sgemm);
    }
    ce_print("\n");
}

int ce_bench_kernels_print_table(struct ce_bench_results *results)
{
    const struct ce_limit_rates limit = ce_limits_best(&results->limits);
    const char *of = limit.read > 0 ? "  of" : "";

    ce_print("kernels %s, %d thread(s); what is read is not in a cache (%zu MiB in "
             "turn); medians\n\n%-14s %6s x %-5s %5s  %-8s %10s %8s%s %8s%s\n",
             results->kernels,
             results->threads,
             results->cold_bytes >> 20,
             "",
             "out",
             "in",
             "rows",
             "format",
             "us",
             "GB/s",
             of,
             "GFLOP/s",
             of);
    for (size_t i = 0; i < results->count; i++) {
        put_result(&results->result[i], limit);
    }
    ce_limits_print(&results->limits);
    return ce_finish_output();
}
