/* finding.c - a short list of findings */

#include "doctor/finding.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const names[] = {"skipped", "ok", "warning", "failed"};

void ce_findings_add(struct ce_findings *findings,
                     const char *check,
                     enum ce_verdict verdict,
                     const char *advice,
                     const char *format,
                     ...)
{
    struct ce_finding *finding = &findings->item[findings->count];
    va_list arguments;

    if (findings->count == CE_MOST_FINDINGS) {
        return;
    }
    findings->count++;
    *finding =
        (struct ce_finding){.check = check, .verdict = verdict, .advice = advice};
    va_start(arguments, format);
    (void)vsnprintf(finding->text, sizeof(finding->text), format, arguments);
    va_end(arguments);
}

enum ce_verdict ce_findings_worst(const struct ce_findings *findings)
{
    enum ce_verdict worst = CE_VERDICT_OK;

    for (size_t i = 0; i < findings->count; i++) {
        if (findings->item[i].verdict > worst) {
            worst = findings->item[i].verdict;
        }
    }
    return worst;
}

const char *ce_verdict_name(enum ce_verdict verdict)
{
    return names[verdict];
}
