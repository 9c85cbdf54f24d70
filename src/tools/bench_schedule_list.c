/* bench_schedule_list.c - a list as evaluations have it, of random ids
 *
 * Of ten items seven are questions: a context of 40 to 120 tokens and four choices of 3
 * to 20 that are scored. Two are windows of 256 tokens, all but the first of which are
 * scored. One is a prompt of 60 tokens and 32 new ones. Their order is drawn, and so
 * are lengths and ids.
 */

#include "base/random.h"
#include "tools/bench_schedule.h"

#include <stdlib.h>
#include <string.h>

enum { CHOICES = 4, CONTEXT = 120, CHOICE = 20, WINDOW = 256 };
enum { ITEM_IDS = CHOICES * (CONTEXT + CHOICE) }; /* at most */

struct writer {
    struct ce_schedule_list *list;
    uint64_t seed;
    uint64_t item;
    uint64_t drawn; /* numbers of this item */
    size_t vocab;
    int32_t *at; /* in ids */
};

/* from .. from + span - 1 */
static size_t draw(struct writer *w, size_t from, size_t span)
{
    return from + (size_t)(ce_random_unit(w->seed, w->item, w->drawn++) * (double)span);
}

static void write_ids(struct writer *w, int32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ids[i] = (int32_t)draw(w, 0, w->vocab);
    }
}

/* Tokens `from` .. `to` - 1 of a request are fed. */
static void expect(struct writer *w, size_t from, size_t to)
{
    const double first = (double)from;
    const double end = (double)to;

    w->list->fed += end - first;
    w->list->attended += (end * (end + 1) - first * (first + 1)) / 2;
}

/* The request of the next `count` ids, which the caller writes. */
static struct ce_schedule_request *add(struct writer *w, size_t count)
{
    struct ce_schedule_request *request = &w->list->requests[w->list->count++];

    *request = (struct ce_schedule_request){
        .tokens = w->at, .count = count, .key = w->item, .group = (uint32_t)w->item};
    w->at += count;
    return request;
}

static void write_question(struct writer *w)
{
    const int32_t *context = w->at;
    size_t length = draw(w, 40, CONTEXT - 40 + 1);

    for (size_t c = 0; c < CHOICES; c++) {
        size_t choice = draw(w, 3, CHOICE - 3 + 1);
        int32_t *ids = w->at;

        add(w, length + choice)->scored = choice;
        expect(w,
               c == 0 ? 0 : (length - 1) / CE_PAGE_TOKENS * CE_PAGE_TOKENS,
               length + choice - 1);
        if (c == 0) {
            write_ids(w, ids, length);
        } else {
            memcpy(ids, context, length * sizeof(ids[0]));
        }
        write_ids(w, ids + length, choice);
    }
}

static void write_item(struct writer *w)
{
    /* Of every ten items each kind once, beginning with a drawn one. */
    double first = 10 * ce_random_unit(w->seed, w->item / 10, UINT64_MAX);
    size_t kind = (7 * (w->item % 10) + (size_t)first) % 10;
    int32_t *ids = w->at;

    if (kind < 7) {
        write_question(w);
    } else if (kind < 9) {
        add(w, WINDOW)->scored = WINDOW - 1;
        expect(w, 0, WINDOW - 1);
        write_ids(w, ids, WINDOW);
    } else {
        add(w, CE_LIST_PROMPT)->max_new_tokens = CE_LIST_NEW;
        expect(w, 0, CE_LIST_PROMPT + CE_LIST_NEW - 1);
        write_ids(w, ids, CE_LIST_PROMPT);
    }
}

enum ce_status ce_schedule_list_make(struct ce_schedule_list *list,
                                     size_t items,
                                     uint64_t seed,
                                     size_t vocab,
                                     struct ce_error *err)
{
    struct writer writer = {.list = list, .seed = seed, .vocab = vocab};

    *list = (struct ce_schedule_list){0};
    list->requests = calloc(items * CHOICES, sizeof(list->requests[0]));
    list->ids = calloc(items * ITEM_IDS, sizeof(list->ids[0]));
    if (list->requests == NULL || list->ids == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "no memory for a list of %zu items", items);
    }
    writer.at = list->ids;
    for (; writer.item < items; writer.item++) {
        writer.drawn = 0;
        write_item(&writer);
    }
    return CE_OK;
}

void ce_schedule_list_free(struct ce_schedule_list *list)
{
    free(list->requests);
    free(list->ids);
}
