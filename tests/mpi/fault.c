/* fault.c - one rank of a job in which the last rank misbehaves; see check_fault.py
 *
 * usage: fault FAULT TOKEN. The token only marks the process for the one who
 * looks whether any is left. CE_TEST_TRANSPORT names the transport.
 */

#include "base/clock.h"
#include "comm/transport.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEADLINE_MS      1000
#define ABORT_CODE       42
#define EXIT_AFTER_ERROR 3
#define LARGE_BYTES      (8 << 20)
#define TOO_LONG_SECONDS 100
#define WRONG_ROUND      6

static struct ce_bytes to_each[64];
static unsigned char large[LARGE_BYTES];

/* What the last rank does instead of taking part. */
static int misbehave(struct ce_transport *t, const char *fault)
{
    if (strcmp(fault, "killed") == 0 || strcmp(fault, "lost") == 0) {
        (void)raise(SIGKILL);
    }
    if (strncmp(fault, "malformed", strlen("malformed")) == 0) {
        t->slot[CE_SLOT_DISPATCH].round = WRONG_ROUND;
        (void)!ce_exchange_start(t, CE_SLOT_DISPATCH, to_each, NULL);
    }
    if (strcmp(fault, "leaves") != 0) {
        (void)sleep(TOO_LONG_SECONDS);
    }
    t->deadline_ms = TOO_LONG_SECONDS * UINT64_C(1000); /* the others shall find it */
    ce_transport_destroy(t);
    return EXIT_SUCCESS;
}

static int report(const struct ce_error *err, uint64_t begin_ns)
{
    const uint64_t waited_ms = (ce_clock_ns() - begin_ns) / 1000000;

    (void)fprintf(stderr, "fault: %s (waited %d ms)\n", err->text, (int)waited_ms);
    (void)fflush(stderr);
    return EXIT_AFTER_ERROR;
}

/* The last rank does not come to the end. */
static int leave(struct ce_transport *t)
{
    const struct ce_error left = {.text = "has left"};
    const uint64_t begin_ns = ce_clock_ns();

    t->deadline_ms = DEADLINE_MS;
    ce_transport_destroy(t);
    return report(&left, begin_ns);
}

static enum ce_status
meet_last_rank(struct ce_transport *t, const char *fault, struct ce_error *err)
{
    const struct ce_message_size sizes[CE_SLOT_COUNT] = {
        {1 << 10, 1 << 10}, {1 << 10, 1 << 10}, {1 << 10, 1 << 10}};

    if (strcmp(fault, "unprepared") == 0) {
        return ce_transport_prepare(t, sizes, err);
    }
    enum ce_status status = ce_exchange_start(t, CE_SLOT_DISPATCH, to_each, err);
    return status == CE_OK ? ce_exchange_finish(t, CE_SLOT_DISPATCH, err) : status;
}

static int take_part(struct ce_transport *t, const char *fault)
{
    const uint64_t deadline_ms =
        strcmp(fault, "killed") == 0 || strcmp(fault, "lost") == 0 ? 0 : DEADLINE_MS;
    const uint64_t begin_ns = ce_clock_ns();
    struct ce_error err = {.text = ""};

    t->deadline_ms = deadline_ms;
    if (strcmp(fault, "unsent") == 0) {
        to_each[t->ranks - 1] = (struct ce_bytes){large, sizeof(large)};
    }
    enum ce_status status = meet_last_rank(t, fault, &err);
    int code = status == CE_OK ? EXIT_SUCCESS : report(&err, begin_ns);
    if (strcmp(fault, "late-exit") != 0) {
        ce_transport_abort(t, ABORT_CODE);
    }
    ce_transport_destroy(t);
    return code;
}

int main(int argc, char **argv)
{
    struct ce_transport *t;
    struct ce_error err = {.text = ""};

    if (argc != 3) {
        return 2;
    }
    const char *name = getenv("CE_TEST_TRANSPORT");
    if (strcmp(argv[1], "self") == 0) {
        name = "self";
    }
    name = name != NULL ? name : "auto";
    if (ce_transport_create(&t, name, DEADLINE_MS, &err) != CE_OK) {
        return report(&err, ce_clock_ns());
    }
    if (t->rank == t->ranks - 1) {
        return misbehave(t, argv[1]);
    }
    return strcmp(argv[1], "stays") == 0 ? leave(t) : take_part(t, argv[1]);
}
