/* scheduler_parts.h - what the files of the scheduler share
 *
 *   scheduler.c           the loop, and what is checked and taken before it
 *   scheduler_handout.c   which rank gets which requests
 *   scheduler_step.c      queue, admission, the items of a step and their results
 *   scheduler_exchange.c  results and reports of all ranks
 */

#ifndef CE_ENGINE_SCHEDULER_PARTS_H
#define CE_ENGINE_SCHEDULER_PARTS_H

#include "engine/scheduler.h"

/* A request in the queue of this rank. Estimates, see struct ce_schedule_cost. */
struct ce_waiting {
    size_t request;
    size_t tokens;
    size_t pages;
    struct ce_kv_match match; /* pending: it waits for this page */
};

/* A request of this rank while it runs. */
struct ce_running {
    size_t request;
    struct ce_sequence *sequence; /* of the place, not of the request */
    size_t fed;                   /* of the request's tokens; they are in the cache */
    size_t end;                   /* so many are fed */
    size_t first_row;             /* the first token whose logits are wanted */
    size_t results;               /* so far */
    size_t limit;                 /* of results */
    int32_t *ids;                 /* [limit] generated */
    enum ce_finish finish;
};

/* What a request is expected to take, given that the one before it in the list has been
 * run: their common beginning is not computed again. */
struct ce_schedule_cost {
    size_t tokens;   /* to be fed */
    size_t pages;    /* of the cache */
    size_t new_most; /* tokens it may generate */
};

/* What a rank tells all others after each step, before its news. */
struct ce_report {
    uint32_t news;
    uint32_t pace;    /* enum ce_pace */
    uint32_t running; /* requests */
    uint32_t waiting; /* requests in the queue */
    uint32_t fed;     /* tokens of the step */
    uint32_t room;    /* of a step */
    uint32_t used;    /* pages of the cache that have a user */
    uint32_t pages;   /* of the cache */
    uint64_t reused;  /* tokens found in the cache, since the report before */
    int64_t backlog;  /* tokens of requests here that are not fed yet */
    int64_t work;     /* the same, and tokens they may generate */
    int64_t free_places;
    int64_t free_pages; /* both less what the queue will take */
};

/* Then news: new results of a request, followed by `count` struct ce_new_token. */
struct ce_news {
    uint32_t request;
    uint32_t finish; /* enum ce_finish */
    uint32_t count;  /* at least 1 */
    uint32_t unused;
};

/* What every rank knows of a request. */
struct ce_progress {
    int32_t rank;    /* that has it; -1 before it is handed out */
    uint32_t heard;  /* results */
    uint32_t finish; /* enum ce_finish */
};

/* A row of logits and what comes of it. */
struct ce_result_row {
    struct ce_running *running;
    size_t index; /* of the result among those of the request */
    struct ce_new_token token;
};

struct ce_scheduler {
    struct ce_engine *engine;
    const struct ce_schedule *schedule;

    /* The same on all ranks: */
    size_t next;                  /* request to hand out */
    struct ce_progress *progress; /* [count] */
    struct ce_report *report;     /* [ranks] of the last exchange, and handouts since */
    uint64_t *given;              /* [ranks] requests it has and that have not ended */
    struct ce_schedule_summary summary;
    bool stands_still; /* no rank had a token for the last step */

    /* This rank's: */
    size_t places;              /* most sequences at once */
    struct ce_running *running; /* [places] */
    uint32_t *active;           /* [places] the places in use, first come first */
    size_t actives;
    uint32_t *vacant; /* [places] stack of the others */
    size_t vacants;
    int32_t *ids;             /* [places][most_new] */
    size_t most_new;          /* tokens of a generation */
    bool draws;               /* some request needs a sampler */
    bool stepped;             /* at least once */
    struct ce_waiting *queue; /* [count], from queue_first to queue_end */
    size_t queue_first;
    size_t queue_end;
    size_t queued_tokens; /* sums of the queue's estimates */
    size_t queued_pages;
    size_t queued_new;
    struct ce_step_item *item; /* [places] */
    uint32_t *of_item;         /* [places] its place */
    size_t items;
    size_t fed;                /* tokens of these items */
    struct ce_result_row *row; /* [step_logits] */
    size_t rows;
    struct ce_sampler *sampler; /* [threads], NULL where nothing is drawn */
    unsigned char *message;     /* of ce_schedule_message_bytes */
    size_t message_bytes;       /* so far */
    uint32_t news;              /* in it */
    uint64_t reused;
};

/* Tokens fed, and most tokens generated, of a request that has been checked. */
size_t ce_schedule_end(const struct ce_schedule_request *request);
size_t ce_schedule_new_most(const struct ce_schedule_request *request,
                            size_t max_positions);
/* Pages of all it may become. */
size_t ce_schedule_pages(const struct ce_schedule_request *request,
                         size_t max_positions);

/* Room for the report and news of a step with so many rows of logits. */
size_t ce_schedule_message_bytes(size_t step_logits);

/* Gives requests to ranks as far as they have room for them; how many were given. The
 * same on all ranks. */
size_t ce_schedule_hand_out(struct ce_scheduler *scheduler);
/* Appends to the queue of this rank. */
void ce_schedule_enqueue(struct ce_scheduler *scheduler,
                         size_t request,
                         const struct ce_schedule_cost *cost);
void ce_schedule_drop_queue(struct ce_scheduler *scheduler);

/* The items of the next step. */
void ce_schedule_fill(struct ce_scheduler *scheduler);
/* From logits to news in the message. */
void ce_schedule_take_results(struct ce_scheduler *scheduler, float *logits);

/* Tells all ranks the report and news of this one and hears theirs. */
CE_MUST_CHECK enum ce_status ce_schedule_exchange(struct ce_scheduler *scheduler,
                                                  struct ce_error *err);

#endif
