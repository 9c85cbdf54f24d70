/* doctor_report.c - hosts, then findings with what to change */

#include "tools/doctor_report.h"

#include "base/streams.h"
#include "tools/common.h"

#include <stdio.h>
#include <string.h>

#define WIDTH  88 /* of the advice */
#define INDENT 18

static void print_hosts(const struct ce_doctor_report *report)
{
    ce_print("%-20s %6s %8s %15s %12s %12s\n",
             "host",
             "ranks",
             "threads",
             "processors",
             "planned MiB",
             "free MiB");
    for (size_t r = 0; r < report->ranks; r++) {
        if (ce_facts_are_first(report->facts, r)) {
            struct ce_host_facts host = ce_facts_host(report->facts, report->ranks, r);

            ce_print("%-20s %6zu %8d %7d of %4d ",
                     host.name,
                     host.ranks,
                     host.threads,
                     host.processors,
                     host.online);
            if (host.planned > 0) {
                ce_print("%12.1f", (double)host.planned / 0x1p20);
            } else {
                ce_print("%12s", "-");
            }
            ce_print(" %12.1f\n", (double)host.available / 0x1p20);
        }
    }
}

/* Words of `text` in lines that begin at INDENT. */
static void print_filled(const char *text)
{
    size_t column = INDENT;

    ce_print("%*s", INDENT, "");
    while (*text != '\0') {
        size_t length = strcspn(text, " ");

        if (column > INDENT && column + 1 + length > WIDTH) {
            ce_print("\n%*s", INDENT, "");
            column = INDENT;
        } else if (column > INDENT) {
            ce_print(" ");
            column++;
        }
        ce_print("%.*s", (int)length, text);
        column += length;
        text += length;
        text += strspn(text, " ");
    }
    ce_print("\n");
}

/* Once for findings in a row that have the same. */
static bool has_own_advice(const struct ce_findings *findings, size_t i)
{
    const char *advice = findings->item[i].advice;

    return advice != NULL &&
           (i + 1 == findings->count || findings->item[i + 1].advice != advice);
}

void ce_doctor_report_print(const struct ce_doctor_report *report)
{
    print_hosts(report);
    ce_print("\n");
    for (size_t i = 0; i < report->findings->count; i++) {
        const struct ce_finding *finding = &report->findings->item[i];

        ce_print("%-8s %-8s %s\n",
                 ce_verdict_name(finding->verdict),
                 finding->check,
                 finding->text);
        if (has_own_advice(report->findings, i)) {
            print_filled(finding->advice);
        }
    }
    ce_print("\n%s\n", ce_verdict_name(ce_findings_worst(report->findings)));
}

static json_t *describe_host(const struct ce_host_facts *host)
{
    json_t *object = json_object();

    json_object_set_new(object, "host", json_string(host->name));
    ce_json_set_integer(object, "ranks", host->ranks);
    json_object_set_new(object, "threads", json_integer(host->threads));
    json_object_set_new(object, "processors", json_integer(host->processors));
    json_object_set_new(object, "online", json_integer(host->online));
    if (host->planned > 0) {
        ce_json_set_integer(object, "planned_bytes", host->planned);
    } else {
        json_object_set_new(object, "planned_bytes", json_null());
    }
    ce_json_set_integer(object, "available_bytes", host->available);
    return object;
}

static json_t *describe_finding(const struct ce_finding *finding)
{
    json_t *object = json_object();

    json_object_set_new(object, "check", json_string(finding->check));
    json_object_set_new(
        object, "verdict", json_string(ce_verdict_name(finding->verdict)));
    json_object_set_new(object, "text", json_string(finding->text));
    json_object_set_new(object,
                        "advice",
                        finding->advice != NULL ? json_string(finding->advice)
                                                : json_null());
    return object;
}

json_t *ce_doctor_report_describe(const struct ce_doctor_report *report)
{
    json_t *document = json_object();
    json_t *hosts = json_array();
    json_t *findings = json_array();

    for (size_t r = 0; r < report->ranks; r++) {
        if (ce_facts_are_first(report->facts, r)) {
            struct ce_host_facts host = ce_facts_host(report->facts, report->ranks, r);

            json_array_append_new(hosts, describe_host(&host));
        }
    }
    for (size_t i = 0; i < report->findings->count; i++) {
        json_array_append_new(findings, describe_finding(&report->findings->item[i]));
    }
    json_object_set_new(
        document,
        "verdict",
        json_string(ce_verdict_name(ce_findings_worst(report->findings))));
    ce_json_set_integer(document, "ranks", report->ranks);
    json_object_set_new(document,
                        "transport",
                        report->transport != NULL ? json_string(report->transport)
                                                  : json_null());
    json_object_set_new(document, "hosts", hosts);
    json_object_set_new(document, "findings", findings);
    return document;
}
