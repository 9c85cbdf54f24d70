/* facts.c - what a process can learn of itself, and sums over the ranks of a host */

#include "doctor/facts.h"

#include "base/memory.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INFINIBAND "/sys/class/infiniband"

/* Of all threads: with OMP_PROC_BIND each of them may have a place of its own. */
static void observe_binding(struct ce_rank_facts *facts)
{
    facts->threads = omp_get_max_threads();
    facts->online = (int)sysconf(_SC_NPROCESSORS_ONLN);
    CPU_ZERO(&facts->allowed);
#pragma omp parallel
    {
        cpu_set_t mine;

        if (sched_getaffinity(0, sizeof(mine), &mine) == 0) {
#pragma omp critical
            CPU_OR(&facts->allowed, &facts->allowed, &mine);
        }
    }
}

static void observe_ucx(struct ce_rank_facts *facts)
{
    struct ce_way *ways = NULL;
    size_t count = 0;
    struct ce_error err = {.text = ""};

    if (ce_ways_find(&ways, &count, &err) == CE_OK) {
        ce_ucx_settings_judge(&facts->ucx,
                              getenv("UCX_TLS"),
                              getenv("UCX_NET_DEVICES"),
                              ways,
                              count,
                              INFINIBAND);
    }
    free(ways);
}

void ce_rank_facts_observe(struct ce_rank_facts *facts)
{
    memset(facts, 0, sizeof(*facts));
    ce_host_self(&facts->host);
    facts->available = ce_memory_available();
    facts->machine_available = ce_memory_available_to_machine();
    observe_binding(facts);
    observe_ucx(facts);
    ce_leftovers_find(&facts->leftovers, CE_LEFTOVERS_FOLDER);
}

static bool on_same_host(const struct ce_rank_facts *a, const struct ce_rank_facts *b)
{
    return ce_host_is_same(&a->host, &b->host);
}

static uint64_t add_bytes(uint64_t a, uint64_t b)
{
    return a <= UINT64_MAX - b ? a + b : UINT64_MAX;
}

static uint64_t
plan_of_machine(const struct ce_rank_facts *facts, size_t ranks, size_t rank)
{
    uint64_t planned = 0;

    for (size_t r = 0; r < ranks; r++) {
        if (facts[r].host.machine == facts[rank].host.machine) {
            planned = add_bytes(planned, facts[r].planned);
        }
    }
    return planned;
}

bool ce_facts_are_first(const struct ce_rank_facts *facts, size_t rank)
{
    for (size_t r = 0; r < rank; r++) {
        if (on_same_host(&facts[r], &facts[rank])) {
            return false;
        }
    }
    return true;
}

struct ce_host_facts
ce_facts_host(const struct ce_rank_facts *facts, size_t ranks, size_t rank)
{
    struct ce_host_facts host = {.name = facts[rank].host.name,
                                 .online = facts[rank].online};
    cpu_set_t processors;

    CPU_ZERO(&processors);
    for (size_t r = rank; r < ranks; r++) {
        if (on_same_host(&facts[r], &facts[rank])) {
            host.ranks++;
            host.threads += facts[r].threads;
            host.planned = add_bytes(host.planned, facts[r].planned);
            CPU_OR(&processors, &processors, &facts[r].allowed);
        }
    }
    host.processors = CPU_COUNT(&processors);
    host.available = ce_host_memory_left(facts[rank].available,
                                         facts[rank].machine_available,
                                         plan_of_machine(facts, ranks, rank),
                                         host.planned);
    return host;
}
