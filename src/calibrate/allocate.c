/* allocate.c - steps of the lower convex hulls, the most saved per byte first */

#include "calibrate/allocate.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

enum {
    BYTES_BF16 = 2,
};

/* From one choice of an item to the next on its hull. */
struct step {
    size_t item;
    size_t choice; /* the one it leads to */
    uint64_t bytes;
    double rate;  /* error saved per byte, with the item's factor */
    size_t order; /* among the steps of its item */
};

uint64_t ce_allocate_bytes(size_t hidden, size_t rank, size_t neurons)
{
    const uint64_t numbers = 1 + 2 * (uint64_t)rank + 3 * (uint64_t)neurons;

    return BYTES_BF16 * (uint64_t)hidden * numbers;
}

/* The fewest bytes, and among these the least error. */
static size_t smallest(const struct ce_allocate_item *item)
{
    size_t best = 0;

    for (size_t i = 1; i < item->count; i++) {
        const struct ce_allocate_choice *a = &item->choices[i];
        const struct ce_allocate_choice *b = &item->choices[best];

        if (a->bytes < b->bytes || (a->bytes == b->bytes && a->error < b->error)) {
            best = i;
        }
    }
    return best;
}

/* The next corner of the hull after choice `from`: the steepest way down, the longest
 * of several. `item->count` when there is none. */
static size_t
next_corner(const struct ce_allocate_item *item, size_t from, double *rate)
{
    const struct ce_allocate_choice *base = &item->choices[from];
    size_t best = item->count;

    *rate = 0;
    for (size_t i = 0; i < item->count; i++) {
        const struct ce_allocate_choice *choice = &item->choices[i];

        if (choice->bytes <= base->bytes || choice->error >= base->error) {
            continue;
        }
        const double saved =
            (base->error - choice->error) / (double)(choice->bytes - base->bytes);

        if (saved > *rate || (saved == *rate && best < item->count &&
                              choice->bytes > item->choices[best].bytes)) {
            *rate = saved;
            best = i;
        }
    }
    return best;
}

/* Appends the steps of one item; returns how many. `steps` NULL: only counts. */
static size_t
add_steps(struct step *steps, const struct ce_allocate_item *item, size_t index)
{
    size_t count = 0;
    size_t from = smallest(item);
    double rate = 0;
    size_t to = next_corner(item, from, &rate);

    while (to < item->count) {
        if (steps != NULL) {
            steps[count] = (struct step){
                .item = index,
                .choice = to,
                .bytes = item->choices[to].bytes - item->choices[from].bytes,
                .rate = rate * item->factor,
                .order = count,
            };
        }
        count++;
        from = to;
        to = next_corner(item, from, &rate);
    }
    return count;
}

/* By rate; equal ones by item, and of one item in the order of the hull. */
static int compare_steps(const void *a, const void *b)
{
    const struct step *left = a;
    const struct step *right = b;

    if (left->rate != right->rate) {
        return left->rate > right->rate ? -1 : 1;
    }
    if (left->item != right->item) {
        return left->item < right->item ? -1 : 1;
    }
    return left->order < right->order ? -1 : left->order > right->order;
}

static struct ce_allocate_sum sum_of(const struct ce_allocate_item *items, size_t count)
{
    struct ce_allocate_sum sum = {.bytes = 0};

    for (size_t i = 0; i < count; i++) {
        const struct ce_allocate_choice *choice = &items[i].choices[items[i].chosen];

        sum.bytes += choice->bytes;
        sum.error += choice->error * items[i].factor;
    }
    return sum;
}

/* A step whose item is not where it begins follows one that did not fit. */
static void make_steps(struct ce_allocate_item *items,
                       const struct step *steps,
                       size_t count,
                       size_t *made,
                       uint64_t left)
{
    for (size_t i = 0; i < count; i++) {
        const struct step *step = &steps[i];

        if (step->bytes <= left && made[step->item] == step->order) {
            items[step->item].chosen = step->choice;
            made[step->item]++;
            left -= step->bytes;
        }
    }
}

static enum ce_status check_items(const struct ce_allocate_item *items,
                                  size_t count,
                                  uint64_t budget,
                                  struct ce_error *err)
{
    const struct ce_allocate_sum least = sum_of(items, count);

    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < items[i].count; j++) {
            if (!isfinite(items[i].choices[j].error * items[i].factor)) {
                return ce_fail(
                    err, CE_ERR_NUMERIC, "the error of an expert is not finite");
            }
        }
    }
    if (least.bytes > budget) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "a budget of %" PRIu64 " bytes for compressed experts is less "
                       "than the %" PRIu64 " of their constants",
                       budget,
                       least.bytes);
    }
    return CE_OK;
}

enum ce_status ce_allocate_budget(struct ce_allocate_item *items,
                                  size_t count,
                                  uint64_t budget,
                                  struct ce_allocate_sum *sum,
                                  struct ce_error *err)
{
    struct step *steps = NULL;
    size_t *made = NULL;
    size_t total = 0;
    enum ce_status status;

    for (size_t i = 0; i < count; i++) {
        items[i].chosen = smallest(&items[i]);
        total += add_steps(NULL, &items[i], i);
    }
    status = check_items(items, count, budget, err);
    if (status != CE_OK) {
        return status;
    }
    steps = calloc(total + 1, sizeof(*steps));
    made = calloc(count + 1, sizeof(*made));
    if (steps == NULL || made == NULL) {
        status =
            ce_fail(err, CE_ERR_NOMEM, "no memory to choose among %zu ranks", total);
    } else {
        total = 0;
        for (size_t i = 0; i < count; i++) {
            total += add_steps(steps + total, &items[i], i);
        }
        qsort(steps, total, sizeof(*steps), compare_steps);
        make_steps(items, steps, total, made, budget - sum_of(items, count).bytes);
        *sum = sum_of(items, count);
    }
    free(steps);
    free(made);
    return status;
}

/* The most neurons up to `neurons`, then the highest rank up to `rank`. */
static bool is_nearer(const struct ce_allocate_choice *a,
                      const struct ce_allocate_choice *b)
{
    return a->neurons != b->neurons ? a->neurons > b->neurons : a->rank > b->rank;
}

void ce_allocate_uniform(struct ce_allocate_item *items,
                         size_t count,
                         size_t rank,
                         size_t neurons,
                         struct ce_allocate_sum *sum)
{
    for (size_t i = 0; i < count; i++) {
        struct ce_allocate_item *item = &items[i];

        item->chosen = smallest(item);
        for (size_t j = 0; j < item->count; j++) {
            const struct ce_allocate_choice *choice = &item->choices[j];

            if (choice->rank <= rank && choice->neurons <= neurons &&
                is_nearer(choice, &item->choices[item->chosen])) {
                item->chosen = j;
            }
        }
    }
    *sum = sum_of(items, count);
}
