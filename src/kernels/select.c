/* select.c - the sets, which of them this machine supports, and the choice */

#include "kernels/avx2/avx2.h"
#include "kernels/cpu_x86.h"
#include "kernels/kernels.h"
#include "kernels/ref/ref.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define VARIABLE "CEMOE_ISA"

struct set {
    const char *name;
    bool (*supported)(void); /* NULL: not in this build */
    void (*fill)(struct ce_kernels *kernels);
};

static bool always(void)
{
    return true;
}

static const struct set sets[CE_ISA_COUNT] = {
    [CE_ISA_REF] = {"ref", always, ce_kernels_fill_ref},
#if defined(__x86_64__)
    [CE_ISA_AVX2] = {"avx2", ce_cpu_has_avx2, ce_kernels_fill_avx2},
#else
    [CE_ISA_AVX2] = {"avx2", NULL, NULL},
#endif
};

static bool is_supported(enum ce_isa isa)
{
    return sets[isa].supported != NULL && sets[isa].supported();
}

enum ce_isa ce_isa_detect(void)
{
    enum ce_isa isa = CE_ISA_REF;

    while (isa + 1 < CE_ISA_COUNT && is_supported(isa + 1)) {
        isa++;
    }
    return isa;
}

const char *ce_isa_name(enum ce_isa isa)
{
    return sets[isa].name;
}

enum ce_isa ce_isa_by_name(const char *name)
{
    enum ce_isa isa = CE_ISA_REF;

    while (isa < CE_ISA_COUNT && strcmp(name, sets[isa].name) != 0) {
        isa++;
    }
    return isa;
}

/* "ref, avx2": the sets up to `last`. */
static const char *list_names(char *text, size_t size, enum ce_isa last)
{
    text[0] = '\0';
    for (enum ce_isa isa = CE_ISA_REF; isa <= last; isa++) {
        strncat(text, isa == CE_ISA_REF ? "" : ", ", size - strlen(text) - 1);
        strncat(text, sets[isa].name, size - strlen(text) - 1);
    }
    return text;
}

enum ce_status ce_isa_choose(enum ce_isa *isa, struct ce_error *err)
{
    const char *name = getenv(VARIABLE);
    const enum ce_isa fastest = ce_isa_detect();
    char names[64];

    *isa = fastest;
    if (name == NULL || name[0] == '\0') {
        return CE_OK;
    }

    const enum ce_isa wanted = ce_isa_by_name(name);

    if (wanted == CE_ISA_COUNT) {
        list_names(names, sizeof(names), CE_ISA_COUNT - 1);
        return ce_fail(err,
                       CE_ERR_ARG,
                       VARIABLE "=%s: no such kernel set; there are %s",
                       name,
                       names);
    }
    if (wanted > fastest) {
        list_names(names, sizeof(names), fastest);
        return ce_fail(err,
                       CE_ERR_UNSUPPORTED,
                       VARIABLE "=%s: this machine cannot run it; it can run %s",
                       name,
                       names);
    }
    *isa = wanted;
    return CE_OK;
}

static struct ce_kernels tables[CE_ISA_COUNT];

static void fill_tables(void)
{
    for (enum ce_isa isa = CE_ISA_REF; isa < CE_ISA_COUNT && is_supported(isa); isa++) {
        ce_kernels_fill_ref(&tables[isa]);
        sets[isa].fill(&tables[isa]);
    }
}

const struct ce_kernels *ce_kernels_get(enum ce_isa isa)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, fill_tables);
    return &tables[isa];
}
