/* doctor_fixture.h - facts made by hand, and what the checks say of them */

#ifndef CE_TESTS_UNIT_DOCTOR_FIXTURE_H
#define CE_TESTS_UNIT_DOCTOR_FIXTURE_H

#include "base/hash.h"
#include "doctor/check.h"
#include "test.h"

#include <stdio.h>
#include <string.h>

#define MIB ((uint64_t)1 << 20)

/* A rank without faults: one thread on processor `processor` of 4, 10 of 100 MiB. */
static inline struct ce_rank_facts sound_rank(const char *host, int processor)
{
    struct ce_rank_facts facts = {.threads = 1,
                                  .online = 4,
                                  .available = 100 * MIB,
                                  .machine_available = 100 * MIB,
                                  .planned = 10 * MIB,
                                  .config_hash = 7,
                                  .ucx = {.known = true,
                                          .has_device = true,
                                          .reaches_hosts = true,
                                          .reaches_ranks = true,
                                          .devices = "eth0"}};

    (void)snprintf(facts.host.name, sizeof(facts.host.name), "%s", host);
    facts.host.machine = ce_hash_bytes(CE_HASH_START, host, strlen(host));
    facts.host.id = facts.host.machine;
    CPU_ZERO(&facts.allowed);
    CPU_SET((size_t)processor, &facts.allowed);
    return facts;
}

/* The finding number `i` has this verdict, and its text all parts; NULL ends them. */
#define assert_finding(findings, i, expected, ...)                                     \
    assert_finding_parts(                                                              \
        (findings), (i), (expected), (const char *const[]){__VA_ARGS__, NULL})

static inline void assert_finding_parts(const struct ce_findings *findings,
                                        size_t i,
                                        enum ce_verdict verdict,
                                        const char *const *parts)
{
    assert_true(i < findings->count);
    assert_string_equal(ce_verdict_name(findings->item[i].verdict),
                        ce_verdict_name(verdict));
    for (; *parts != NULL; parts++) {
        if (strstr(findings->item[i].text, *parts) == NULL) {
            fail_msg("\"%s\" is not in: %s", *parts, findings->item[i].text);
        }
    }
}

static inline void assert_all_well(const struct ce_findings *findings)
{
    assert_int_equal(findings->count, 1);
    assert_finding(findings, 0, CE_VERDICT_OK, "");
}

#endif
