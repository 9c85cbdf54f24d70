/* facts.h - what each rank knows of itself and its host, before anything is loaded
 *
 * Ranks of one build send these as they are; the checks read them on rank 0.
 */

#ifndef CE_DOCTOR_FACTS_H
#define CE_DOCTOR_FACTS_H

#include "base/host.h"
#include "comm/ways.h"
#include "doctor/leftovers.h"
#include "doctor/ucx_settings.h"

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ce_rank_facts {
    struct ce_host host;
    int threads;                /* OpenMP's */
    int online;                 /* processors of the host */
    cpu_set_t allowed;          /* those the rank may run on */
    uint64_t available;         /* bytes of memory that are free on the host */
    uint64_t machine_available; /* and on its machine, where it is a container */
    uint64_t planned;           /* bytes this rank will take; 0: not known */
    uint64_t config_hash;       /* of the model's config.json; 0: not known */
    char model_error[480];      /* why the model cannot be planned for; "": it can */
    char difference[480];       /* between models or options of ranks; "": none */
    struct ce_ucx_settings ucx;
    struct ce_leftovers leftovers;
};

/* Host, threads, processors, free memory, leftovers and UCX's settings; the rest
 * is zero. */
void ce_rank_facts_observe(struct ce_rank_facts *facts);

/* The ranks of one host together. */
struct ce_host_facts {
    const char *name;
    size_t ranks;
    int threads;      /* of all ranks */
    int processors;   /* that at least one rank may run on */
    int online;       /* as its first rank sees it, also below */
    uint64_t planned; /* of all ranks, UINT64_MAX if that overflows */
    uint64_t available;
};

/* True for the first rank of each host. */
bool ce_facts_are_first(const struct ce_rank_facts *facts, size_t rank);
/* The host of `rank`; of the ranks before it none is looked at. */
struct ce_host_facts
ce_facts_host(const struct ce_rank_facts *facts, size_t ranks, size_t rank);

#endif
