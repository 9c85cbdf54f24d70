/* test_fault.c - parses CEMOE_TEST_FAULT and misbehaves as it says */

#include "tools/test_fault.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VARIABLE "CEMOE_TEST_FAULT"

static const char *const kinds[] = {"fail", "stop", "kill", "hang", NULL};
static const char *const stages[] = {"start",
                                     "input",
                                     "load",
                                     "embed",
                                     "attention",
                                     "router",
                                     "plan",
                                     "dispatch",
                                     "affine",
                                     "experts",
                                     "combine",
                                     "logits",
                                     "agree",
                                     "fit",
                                     "end",
                                     NULL};

/* The one fault of this process; kind is NULL when there is none. */
static struct {
    const char *kind;
    const char *stage;
    uint64_t rank;
    uint64_t step;
    uint64_t layer;
} fault;

/* The word before the next ':' or the end, if it is in the list; NULL if not. */
static const char *read_word(const char **text, const char *const *list)
{
    size_t length = strcspn(*text, ":");

    for (size_t i = 0; list[i] != NULL; i++) {
        if (strlen(list[i]) == length && strncmp(*text, list[i], length) == 0) {
            *text += length;
            return list[i];
        }
    }
    return NULL;
}

/* ":" and a number. */
static bool read_number(const char **text, uint64_t *number)
{
    char *end = NULL;

    if ((*text)[0] != ':' || (*text)[1] < '0' || (*text)[1] > '9') {
        return false;
    }
    errno = 0;
    *number = strtoull(*text + 1, &end, 10);
    *text = end;
    return errno == 0;
}

enum ce_status ce_test_fault_read(struct ce_error *err)
{
    const char *value = getenv(VARIABLE);
    const char *text = value;

    if (value == NULL) {
        return CE_OK;
    }
    const char *kind = read_word(&text, kinds);
    if (kind != NULL && read_number(&text, &fault.rank) &&
        read_number(&text, &fault.step) && read_number(&text, &fault.layer) &&
        *text++ == ':') {
        fault.stage = read_word(&text, stages);
    }
    if (fault.stage == NULL || *text != '\0') {
        return ce_fail(err,
                       CE_ERR_ARG,
                       VARIABLE "=%s is not KIND:RANK:STEP:LAYER:STAGE with a kind of "
                                "fail, stop, kill, hang and the name of a stage",
                       value);
    }
    fault.kind = kind;
    return CE_OK;
}

static bool is_now(int rank, const struct ce_activity *now)
{
    return fault.kind != NULL && (uint64_t)rank == fault.rank &&
           now->step == fault.step && now->layer == fault.layer &&
           strcmp(now->stage, fault.stage) == 0;
}

enum ce_status
ce_test_fault_meet(int rank, const struct ce_activity *now, struct ce_error *err)
{
    if (!is_now(rank, now)) {
        return CE_OK;
    }
    if (strcmp(fault.kind, "fail") == 0) {
        return ce_fail(err,
                       CE_ERR_NUMERIC,
                       "rank %d: step %" PRIu64 ", layer %zu, stage %s: failed because "
                       "of " VARIABLE,
                       rank,
                       now->step,
                       now->layer,
                       now->stage);
    }
    if (strcmp(fault.kind, "stop") == 0) {
        (void)raise(SIGSTOP);
    } else if (strcmp(fault.kind, "kill") == 0) {
        (void)raise(SIGKILL);
    } else {
        for (;;) {
            (void)pause();
        }
    }
    return CE_OK;
}

static enum ce_status
on_enter(void *context, const struct ce_activity *now, struct ce_error *err)
{
    const struct ce_transport *transport = context;

    return ce_test_fault_meet(transport->rank, now, err);
}

void ce_test_fault_install(struct ce_transport *transport)
{
    if (fault.kind != NULL) {
        transport->activity.on_enter = on_enter;
        transport->activity.context = transport;
    }
}
