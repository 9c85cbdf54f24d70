/* split.c - rows of all ranks in shared memory, and every rank's slice of the experts
 *
 *   of[r]   | bytes of the message | message (message.h) | results of r's tokens |
 *   of[0]   ... and then           | h of a tile | h of the next |
 *
 * A tile's h is read until the next meeting, while fast ranks write that of the next
 * tile: two in turns. Everything else is written in one part of a layer and read in
 * another, with a meeting in between.
 */

#include "moe/split.h"

#include "base/clock.h"

#include <string.h>

#define LINE ((size_t)64)

/* One layer under way. */
struct split {
    struct ce_moe *moe;
    const struct ce_layer_weights *layer;
    struct ce_message_key key;
    const float *x;
    enum ce_status mine; /* failure of this rank, told to the others later */
    struct ce_error *err;
};

static void end_stage(struct ce_moe *moe, enum ce_moe_stage stage, uint64_t *since)
{
    uint64_t now = ce_clock_ns();

    moe->counters.stage_ns[stage] += now - *since;
    *since = now;
}

/* ---- the window ---- */

static size_t align_line(size_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}

static size_t most_message(const struct ce_moe *moe)
{
    size_t pairs = moe->max_tokens * (moe->mains + moe->auxiliary);
    size_t bytes =
        ce_message_dispatch_bytes(moe->max_tokens, pairs, moe->wire.row_bytes);

    return align_line(bytes > CE_MESSAGE_FAILURE_BYTES ? bytes
                                                       : CE_MESSAGE_FAILURE_BYTES);
}

static size_t results_offset(const struct ce_moe *moe)
{
    return LINE + most_message(moe);
}

static size_t hidden_offset(const struct ce_moe *moe)
{
    size_t values = moe->max_tokens * moe->mains * moe->hidden;

    return results_offset(moe) + align_line(values * sizeof(float));
}

static size_t hidden_values(const struct ce_moe *moe)
{
    return moe->work.tile * moe->intermediate;
}

size_t ce_split_window_bytes(const struct ce_moe *moe, int rank)
{
    size_t hidden = rank == 0 ? 2 * hidden_values(moe) * sizeof(float) : 0;

    return hidden_offset(moe) + align_line(hidden);
}

static float *results_of(const struct ce_moe *moe, int rank)
{
    return (float *)(void *)(moe->window->of[rank] + results_offset(moe));
}

static float *hidden_of(const struct ce_moe *moe, size_t turn)
{
    float *hidden = (float *)(void *)(moe->window->of[0] + hidden_offset(moe));

    return hidden + turn % 2 * hidden_values(moe);
}

/* ---- rows ---- */

/* This rank's rows, or why it has none. */
static void write_message(const struct split *split)
{
    struct ce_moe *moe = split->moe;
    unsigned char *part = moe->window->of[moe->transport->rank];
    unsigned char *message = part + LINE;
    size_t bytes = 0;

    if (split->mine != CE_OK) {
        bytes = ce_message_write_failure(message, &split->key, split->mine, split->err);
    } else {
        bytes = ce_dispatch_bytes(&moe->plan, 0, moe->auxiliary, moe->wire.row_bytes);
        ce_dispatch_pack(message,
                         &split->key,
                         &moe->plan,
                         &moe->routing,
                         0,
                         moe->auxiliary,
                         split->x,
                         &moe->wire);
    }
    memcpy(part, &bytes, sizeof(bytes));
    moe->counters.shared_bytes += bytes;
}

static struct ce_bytes message_of(const struct ce_moe *moe, int rank)
{
    struct ce_bytes message = {moe->window->of[rank] + LINE, 0};

    memcpy(&message.bytes, moe->window->of[rank], sizeof(message.bytes));
    return message;
}

/* The failure of the lowest rank that told one; all ranks read the same. */
static enum ce_status find_verdict(const struct split *split, struct ce_error *err)
{
    const struct ce_moe *moe = split->moe;

    for (int r = 0; r < moe->transport->ranks; r++) {
        const struct ce_bytes message = message_of(moe, r);

        if (ce_message_tells_failure(&message, &split->key)) {
            return ce_message_check(&message, &split->key, r, err);
        }
    }
    return CE_OK;
}

static enum ce_status read_message(struct split *split, int rank, struct ce_error *err)
{
    struct ce_moe *moe = split->moe;
    struct ce_arrival *arrival = &moe->arrival[rank];
    const struct ce_bytes message = message_of(moe, rank);
    enum ce_status status = ce_message_check(&message, &split->key, rank, err);

    if (status == CE_OK && message.bytes <= most_message(moe)) {
        status = ce_message_read_dispatch(
            &message, moe->wire.row_bytes, moe->auxiliary, rank, &arrival->view, err);
    }
    if (status == CE_OK &&
        (message.bytes > most_message(moe) || arrival->view.rows > moe->max_tokens ||
         arrival->view.assignments > moe->max_tokens * moe->mains)) {
        status =
            ce_fail(err, CE_ERR_COMM, "rank %d shares more rows than can be", rank);
    }
    arrival->results =
        (unsigned char *)(results_of(moe, rank) + moe->work.down_slice.first);
    moe->source[rank] = rank;
    return status;
}

/* The assignments of all ranks, grouped by expert. */
static enum ce_status read_rows(struct split *split, struct ce_error *err)
{
    struct ce_moe *moe = split->moe;
    const int ranks = moe->transport->ranks;
    enum ce_status status = CE_OK;

    for (int r = 0; status == CE_OK && r < ranks; r++) {
        status = read_message(split, r, err);
    }
    if (status == CE_OK) {
        status = ce_experts_collect(
            &moe->work, split->layer, moe->arrival, moe->source, (size_t)ranks, err);
    }
    return status;
}

/* ---- what stays here ---- */

/* The affine compressed experts of the own tokens, before the ranks meet. */
static void run_affine(struct split *split)
{
    struct ce_moe *moe = split->moe;

    if (moe->affine_experts == 0) {
        return;
    }
    split->mine = ce_transport_enter(moe->transport, "affine", split->mine, split->err);
    if (split->mine == CE_OK) {
        split->mine = ce_affine_run(&moe->affine,
                                    split->layer->affine,
                                    split->key.layer,
                                    &moe->routing,
                                    split->x,
                                    split->err);
    }
}

/* ---- experts ---- */

static void blank_hidden(const struct ce_tile *tile)
{
    const struct ce_experts *experts = tile->experts;
    const struct ce_slice slice = experts->gate_slice;

    for (size_t i = 0; i < tile->rows; i++) {
        memset(experts->gate + i * experts->intermediate + slice.first,
               0,
               slice.count * sizeof(float));
    }
}

static void blank_results(const struct ce_tile *tile)
{
    for (size_t i = 0; i < tile->rows; i++) {
        memset(tile->assignment[i].out,
               0,
               tile->experts->down_slice.count * sizeof(float));
    }
}

static void note_bad(struct split *split, size_t bad)
{
    if (bad != SIZE_MAX) {
        split->mine = ce_experts_fail(split->key.layer, bad, split->err);
    }
}

/* This rank's slice of one tile. A rank that has failed shares zeros. */
static enum ce_status
run_tile(struct split *split, const struct ce_tile *tile, struct ce_error *err)
{
    struct ce_moe *moe = split->moe;
    enum ce_status status = CE_OK;

    if (split->mine == CE_OK) {
        const uint64_t uniform = ce_experts_scale(tile, split->layer);

        /* Every rank scales all rows: one counts them. */
        moe->work.uniform_thetas += moe->transport->rank == 0 ? uniform : 0;
        note_bad(split, ce_experts_gate_up(tile));
    }
    if (split->mine != CE_OK) {
        blank_hidden(tile);
    }
    status = ce_window_meet(moe->window, err);
    if (status == CE_OK && split->mine == CE_OK) {
        note_bad(split, ce_experts_down(tile));
    }
    if (split->mine != CE_OK) {
        blank_results(tile);
    }
    moe->counters.shared_bytes +=
        tile->rows * (moe->work.gate_slice.count + moe->work.down_slice.count) *
        sizeof(float);
    return status;
}

static enum ce_status run_experts(struct split *split, struct ce_error *err)
{
    struct ce_experts *work = &split->moe->work;
    enum ce_status status = CE_OK;
    size_t turn = 0;

    split->moe->counters.batches++;
    for (size_t first = 0; status == CE_OK && first < work->count;
         first += work->tile, turn++) {
        const struct ce_tile tile =
            ce_experts_tile(work, split->layer, first, split->moe->auxiliary);

        work->gate = hidden_of(split->moe, turn);
        status = run_tile(split, &tile, err);
    }
    return status;
}

/* ---- results ---- */

/* The own tokens' results, rounded as if they had travelled. */
static const unsigned char *encode_results(struct ce_moe *moe)
{
    const float *results = results_of(moe, moe->transport->rank);
    const size_t rows = moe->plan.assignment_begin[1];

    if (moe->wire.format == CE_WIRE_F32) {
        return (const unsigned char *)results;
    }
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < rows; i++) {
        ce_wire_encode(&moe->wire,
                       moe->rounded + i * moe->wire.row_bytes,
                       results + i * moe->hidden);
    }
    return moe->rounded;
}

static void sum_results(struct ce_moe *moe, float *y)
{
    const unsigned char *rows = encode_results(moe);

    ce_combine_sum(&moe->plan, CE_COMBINE_ORDERED, &rows, y, &moe->wire);
    if (moe->affine_experts > 0) {
        ce_affine_add(&moe->affine, y, moe->plan.tokens);
    }
}

/* ---- the whole ---- */

/* What the caller gets when the ranks have lost each other: this rank's own failure, if
 * it has one, is nearer to the cause. */
static enum ce_status end_broken(const struct split *split,
                                 enum ce_status status,
                                 const struct ce_error *broken)
{
    ce_transport_fail(split->moe->transport); /* perhaps nobody else has noticed */
    split->moe->told = true;
    if (split->mine != CE_OK) {
        return split->mine;
    }
    *split->err = *broken;
    return status;
}

/* From the rows of all ranks to the results of all; after a failure that all know of
 * nothing is done. */
static enum ce_status
work(struct split *split, enum ce_status verdict, uint64_t *since, struct ce_error *err)
{
    struct ce_moe *moe = split->moe;
    enum ce_status status = CE_OK;

    if (verdict == CE_OK) {
        status = read_rows(split, err);
    }
    end_stage(moe, CE_MOE_DISPATCH, since);
    if (status == CE_OK && verdict == CE_OK) {
        split->mine =
            ce_transport_enter(moe->transport, "experts", split->mine, split->err);
        status = run_experts(split, err);
    }
    end_stage(moe, CE_MOE_EXPERTS, since);
    split->mine =
        ce_transport_enter(moe->transport, "combine", split->mine, split->err);
    /* Also after a failure: until then somebody may still read its text. */
    return status == CE_OK ? ce_window_meet(moe->window, err) : status;
}

enum ce_status ce_split_run(struct ce_moe *moe,
                            const struct ce_layer_weights *layer,
                            struct ce_message_key key,
                            enum ce_status status,
                            const float *x,
                            float *y,
                            struct ce_error *err)
{
    struct split split = {
        .moe = moe, .layer = layer, .key = key, .x = x, .mine = status, .err = err};
    struct ce_error broken = {.text = ""};
    struct ce_error theirs = {.text = ""};
    enum ce_status verdict = CE_OK;
    uint64_t since = ce_clock_ns();

    run_affine(&split);
    end_stage(moe, CE_MOE_AFFINE, &since);
    split.mine = ce_transport_enter(moe->transport, "dispatch", split.mine, err);
    write_message(&split);
    status = ce_window_meet(moe->window, &broken);
    if (status == CE_OK) {
        verdict = find_verdict(&split, &theirs);
        status = work(&split, verdict, &since, &broken);
    }
    if (status != CE_OK) {
        return end_broken(&split, status, &broken);
    }
    if (verdict != CE_OK) {
        moe->told = true;
        *err = theirs;
        return verdict;
    }
    sum_results(moe, y);
    end_stage(moe, CE_MOE_COMBINE, &since);
    return split.mine;
}
