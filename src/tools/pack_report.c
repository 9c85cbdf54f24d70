/* pack_report.c - bytes and errors of packed tensors, summed by role */

#include "tools/pack_report.h"

#include "base/log.h"
#include "tools/common.h"

enum { ROLES = CE_TENSOR_TABLE + 1 };

static const struct {
    const char *key;
    const char *label;
} roles[ROLES] = {
    [CE_TENSOR_EXPERT] = {"experts", "experts"},
    [CE_TENSOR_MATRIX] = {"dense", "dense matrices"},
    [CE_TENSOR_EXACT] = {"exact", "embedding, routers"},
    [CE_TENSOR_VECTOR] = {"vectors", "norms, biases"},
    [CE_TENSOR_TABLE] = {"tables", "compressed experts"},
};

struct summary {
    size_t tensors;
    size_t stored_bytes;
    size_t packed_bytes;
    double least;
    double most;
    double sum;
};

static void add(struct summary *summary, const struct ce_packed_entry *entry)
{
    if (summary->tensors == 0 || entry->error < summary->least) {
        summary->least = entry->error;
    }
    if (entry->error > summary->most) {
        summary->most = entry->error;
    }
    summary->tensors++;
    summary->stored_bytes += entry->stored_bytes;
    summary->packed_bytes += entry->packed_bytes;
    summary->sum += entry->error;
}

static struct summary sum_up(const struct ce_pack_report *report, struct summary *of)
{
    struct summary all = {.tensors = 0};

    for (size_t i = 0; i < report->count; i++) {
        add(&of[report->entry[i].role], &report->entry[i]);
        add(&all, &report->entry[i]);
    }
    return all;
}

static double mean(const struct summary *summary)
{
    return summary->tensors > 0 ? summary->sum / (double)summary->tensors : 0;
}

static void log_row(const char *label, const struct summary *summary)
{
    ce_log(CE_LOG_INFO,
           "%-20s %8zu %12.2f %12.2f %10.2e %10.2e %10.2e",
           label,
           summary->tensors,
           (double)summary->stored_bytes / 0x1p20,
           (double)summary->packed_bytes / 0x1p20,
           summary->least,
           mean(summary),
           summary->most);
}

void ce_pack_report_log(const struct ce_pack_report *report, double seconds)
{
    struct summary of[ROLES] = {{0}};
    const struct summary all = sum_up(report, of);

    ce_log(CE_LOG_INFO,
           "%-20s %8s %12s %12s %10s %10s %10s",
           "",
           "tensors",
           "MiB stored",
           "MiB packed",
           "error, min",
           "mean",
           "max");
    for (int r = 0; r < ROLES; r++) {
        if (of[r].tensors > 0) {
            log_row(roles[r].label, &of[r]);
        }
    }
    log_row("all", &all);
    ce_log(CE_LOG_INFO, "packed in %.1f s", seconds);
}

static void set_bytes(json_t *object, size_t stored, size_t packed)
{
    ce_json_set_integer(object, "stored_bytes", stored);
    ce_json_set_integer(object, "packed_bytes", packed);
}

static json_t *describe_summary(const struct summary *summary)
{
    json_t *object = json_object();

    ce_json_set_integer(object, "tensors", summary->tensors);
    set_bytes(object, summary->stored_bytes, summary->packed_bytes);
    json_object_set_new(object, "error_min", json_real(summary->least));
    json_object_set_new(object, "error_mean", json_real(mean(summary)));
    json_object_set_new(object, "error_max", json_real(summary->most));
    return object;
}

static json_t *describe_entry(const struct ce_packed_entry *entry)
{
    json_t *object = json_object();

    json_object_set_new(object, "name", json_string(entry->name));
    json_object_set_new(object, "role", json_string(roles[entry->role].key));
    json_object_set_new(object, "stored", json_string(ce_dtype_name(entry->stored)));
    json_object_set_new(object, "packed", json_string(ce_dtype_name(entry->packed)));
    set_bytes(object, entry->stored_bytes, entry->packed_bytes);
    json_object_set_new(object, "error", json_real(entry->error));
    return object;
}

json_t *ce_pack_report_describe(const struct ce_pack_report *report,
                                struct ce_weight_formats formats)
{
    struct summary of[ROLES] = {{0}};
    const struct summary all = sum_up(report, of);
    json_t *object = json_object();
    json_t *by_role = json_object();
    json_t *tensors = json_array();

    for (int r = 0; r < ROLES; r++) {
        json_object_set_new(by_role, roles[r].key, describe_summary(&of[r]));
    }
    for (size_t i = 0; i < report->count; i++) {
        json_array_append_new(tensors, describe_entry(&report->entry[i]));
    }
    json_object_set_new(
        object, "weights", json_string(ce_weight_format_name(formats.experts)));
    json_object_set_new(
        object, "dense_weights", json_string(ce_weight_format_name(formats.dense)));
    set_bytes(object, all.stored_bytes, all.packed_bytes);
    json_object_set_new(object, "roles", by_role);
    json_object_set_new(object, "tensors", tensors);
    return object;
}
