/* scheduler_handout.c - which rank gets which requests
 *
 * A pure function of the list and of the reports that all ranks have heard: every rank
 * computes it alone, and the reports are changed by what is given so that the next
 * choice sees it. A rank gets the next group as long as it has tokens to compute for
 * less than LOOK_AHEAD steps, a free place and free pages; of several the one with the
 * least work. So none is idle while there is work, and at the end of the list none has
 * more than a few steps and a group in its queue.
 */

#include "engine/scheduler_parts.h"

/* One step that is full, although requests wait in it for the beginning of others, and
 * one more for the choices those are followed by. */
#define LOOK_AHEAD 2

/* Tokens at the beginning that both requests have, in whole pages. */
static size_t common_tokens(const struct ce_schedule_request *a,
                            const struct ce_schedule_request *b)
{
    size_t end = a->count < b->count ? a->count : b->count;
    size_t same = 0;

    while (same < end && a->tokens[same] == b->tokens[same]) {
        same++;
    }
    return same / CE_PAGE_TOKENS * CE_PAGE_TOKENS;
}

static struct ce_schedule_cost estimate(const struct ce_scheduler *s, size_t index)
{
    const struct ce_schedule_request *request = &s->schedule->requests[index];
    size_t positions = s->engine->config.max_positions;
    struct ce_schedule_cost cost = {.tokens = ce_schedule_end(request),
                                    .pages = ce_schedule_pages(request, positions),
                                    .new_most =
                                        ce_schedule_new_most(request, positions)};

    if (index > 0 && !s->schedule->unshared) {
        size_t same = common_tokens(request - 1, request);

        if (same >= cost.tokens) { /* its last token is always computed */
            same = (cost.tokens - 1) / CE_PAGE_TOKENS * CE_PAGE_TOKENS;
        }
        cost.tokens -= same;
        cost.pages -= same / CE_PAGE_TOKENS;
    }
    return cost;
}

/* The rank with the least work of those with room; -1: none has. */
static int choose_rank(const struct ce_scheduler *s,
                       const struct ce_schedule_cost *cost)
{
    int best = -1;

    for (int r = 0; r < s->engine->transport->ranks; r++) {
        const struct ce_report *report = &s->report[r];

        if (report->backlog < (int64_t)LOOK_AHEAD * report->room &&
            report->free_places > 0 && report->free_pages >= (int64_t)cost->pages &&
            (best < 0 || report->work < s->report[best].work)) {
            best = r;
        }
    }
    return best;
}

static void give(struct ce_scheduler *s,
                 int rank,
                 size_t index,
                 const struct ce_schedule_cost *cost)
{
    struct ce_report *report = &s->report[rank];

    report->backlog += (int64_t)cost->tokens;
    report->work += (int64_t)(cost->tokens + cost->new_most);
    report->free_places--;
    report->free_pages -= (int64_t)cost->pages;
    s->progress[index].rank = rank;
    s->given[rank]++;
    if (rank == s->engine->transport->rank) {
        ce_schedule_enqueue(s, index, cost);
    }
}

/* Gives the group that begins with the next request. */
static void
give_group(struct ce_scheduler *s, int rank, struct ce_schedule_cost first_cost)
{
    const struct ce_schedule *schedule = s->schedule;
    uint32_t group = schedule->requests[s->next].group;

    give(s, rank, s->next++, &first_cost);
    while (s->next < schedule->count && schedule->requests[s->next].group == group) {
        struct ce_schedule_cost cost = estimate(s, s->next);

        give(s, rank, s->next++, &cost);
    }
}

size_t ce_schedule_hand_out(struct ce_scheduler *s)
{
    size_t before = s->next;
    int rank = 0;

    while (rank >= 0 && s->next < s->schedule->count) {
        struct ce_schedule_cost cost = estimate(s, s->next);

        rank = choose_rank(s, &cost);
        if (rank >= 0) {
            give_group(s, rank, cost);
        }
    }
    return s->next - before;
}
