/* patience.c - adds up the time between polls */

#include "base/patience.h"

#include "base/clock.h"

#define MS_NS      UINT64_C(1000000)
#define LONGEST_MS UINT64_C(1000)
#define GAPS       UINT64_C(8) /* that make up a deadline */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void ce_patience_begin_at(struct ce_patience *patience,
                          uint64_t deadline_ms,
                          uint64_t now_ns)
{
    *patience = (struct ce_patience){.deadline_ms = deadline_ms, .polled_ns = now_ns};
}

bool ce_patience_is_over_at(struct ce_patience *patience, uint64_t now_ns)
{
    const uint64_t deadline_ms = patience->deadline_ms;
    const uint64_t longest_ns = least(deadline_ms, LONGEST_MS * GAPS) * MS_NS / GAPS;

    patience->waited_ns += least(now_ns - patience->polled_ns, longest_ns);
    patience->polled_ns = now_ns;
    return deadline_ms > 0 && patience->waited_ns / MS_NS >= deadline_ms;
}

void ce_patience_begin(struct ce_patience *patience, uint64_t deadline_ms)
{
    ce_patience_begin_at(patience, deadline_ms, ce_clock_ns());
}

bool ce_patience_is_over(struct ce_patience *patience)
{
    return ce_patience_is_over_at(patience, ce_clock_ns());
}
