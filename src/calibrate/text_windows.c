/* text_windows.c - choosing windows evenly, and numbers to windows and back */

#include "calibrate/text_windows.h"

#include "base/hash.h"
#include "base/memory.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A window of fewer tokens predicts nothing. */
#define LEAST_TOKENS 2

const char *ce_text_set_name(enum ce_text_set set)
{
    static const char *const names[CE_TEXT_SETS] = {"fit", "heldout"};

    return names[set];
}

/* ---- choosing ---- */

/* Goes through the windows of all documents of a source. */
struct cutter {
    const struct ce_documents_ids *documents;
    size_t window;
    size_t document;
    size_t at; /* where the next window begins */
};

/* The next window, or false after the last. */
static bool next_window(struct cutter *cutter, struct ce_text_window *out)
{
    while (cutter->document < cutter->documents->count) {
        const size_t end = cutter->documents->end[cutter->document];
        const size_t count = ce_size_min(end - cutter->at, cutter->window);

        if (count >= LEAST_TOKENS) {
            *out = (struct ce_text_window){cutter->documents->ids + cutter->at, count};
            cutter->at += count;
            return true;
        }
        cutter->at = end;
        cutter->document++;
    }
    return false;
}

static size_t count_tokens(const struct ce_documents_ids *documents, size_t window)
{
    struct cutter cutter = {.documents = documents, .window = window};
    struct ce_text_window found;
    size_t tokens = 0;

    while (next_window(&cutter, &found)) {
        tokens += found.count;
    }
    return tokens;
}

static enum ce_status
append(struct ce_text_stream *stream, const struct ce_text_window *window, bool heldout)
{
    const size_t needed = stream->count + 1 + window->count;

    if (needed > stream->room) {
        const size_t room = 2 * needed;
        int32_t *grown = reallocarray(stream->value, room, sizeof(*grown));

        if (grown == NULL) {
            return CE_ERR_NOMEM;
        }
        stream->value = grown;
        stream->room = room;
    }
    stream->value[stream->count] =
        heldout ? -(int32_t)window->count : (int32_t)window->count;
    memcpy(stream->value + stream->count + 1,
           window->ids,
           window->count * sizeof(*window->ids));
    stream->count = needed;
    stream->tokens += window->count;
    return CE_OK;
}

/* Of every stretch of the source about the same part is taken: a window is when less
 * than that part of what has been seen is taken so far. */
enum ce_status ce_text_stream_add(struct ce_text_stream *stream,
                                  const struct ce_documents_ids *documents,
                                  const struct ce_text_choice *choice,
                                  struct ce_error *err)
{
    const size_t all = count_tokens(documents, choice->window);
    const double part =
        choice->tokens < all ? (double)choice->tokens / (double)all : 1.0;
    struct cutter cutter = {.documents = documents, .window = choice->window};
    struct ce_text_window window;
    size_t seen = 0;
    size_t taken = 0;
    size_t index = 0;

    while (next_window(&cutter, &window)) {
        seen += window.count;
        if ((double)taken >= part * (double)seen) {
            continue;
        }
        taken += window.count;
        index++;
        if (append(stream,
                   &window,
                   choice->heldout_every > 0 && index % choice->heldout_every == 0) !=
            CE_OK) {
            return ce_fail(err, CE_ERR_NOMEM, "no memory for the tokens");
        }
    }
    return CE_OK;
}

/* ---- taking apart ---- */

static enum ce_status bad_stream(struct ce_error *err)
{
    return ce_fail(err, CE_ERR_COMM, "what rank 0 sent are no windows of tokens");
}

/* Counts windows and tokens of both sets. */
static enum ce_status
count_windows(struct ce_text_windows *windows, size_t count, struct ce_error *err)
{
    for (size_t at = 0; at < count;) {
        const int64_t head = windows->stream[at++];
        const size_t tokens = (size_t)(head < 0 ? -head : head);
        const enum ce_text_set set = head < 0 ? CE_TEXT_HELDOUT : CE_TEXT_FIT;

        if (tokens < LEAST_TOKENS || tokens > count - at) {
            return bad_stream(err);
        }
        windows->count[set]++;
        windows->tokens[set] += tokens;
        windows->longest = tokens > windows->longest ? tokens : windows->longest;
        at += tokens;
    }
    return CE_OK;
}

static void place_windows(struct ce_text_windows *windows, size_t count)
{
    size_t next[CE_TEXT_SETS] = {0};

    for (size_t at = 0; at < count;) {
        const int32_t head = windows->stream[at++];
        const size_t tokens = (size_t)(head < 0 ? -head : head);
        const enum ce_text_set set = head < 0 ? CE_TEXT_HELDOUT : CE_TEXT_FIT;

        windows->window[set][next[set]++] =
            (struct ce_text_window){windows->stream + at, tokens};
        at += tokens;
    }
}

enum ce_status ce_text_windows_open(struct ce_text_windows *windows,
                                    int32_t *stream,
                                    size_t count,
                                    struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *windows = (struct ce_text_windows){0};
    windows->stream = stream;
    status = count_windows(windows, count, err);
    for (int set = 0; status == CE_OK && set < CE_TEXT_SETS; set++) {
        windows->window[set] =
            calloc(windows->count[set] + 1, sizeof(windows->window[set][0]));
        if (windows->window[set] == NULL) {
            status = ce_fail(err, CE_ERR_NOMEM, "no memory for the windows");
        }
    }
    if (status == CE_OK) {
        place_windows(windows, count);
    }
    return status;
}

void ce_text_windows_close(struct ce_text_windows *windows)
{
    for (int set = 0; set < CE_TEXT_SETS; set++) {
        free(windows->window[set]);
    }
    free(windows->stream);
    *windows = (struct ce_text_windows){0};
}

uint64_t ce_text_windows_hash(const struct ce_text_windows *windows)
{
    uint64_t hash = CE_HASH_START;

    for (int set = 0; set < CE_TEXT_SETS; set++) {
        hash = ce_hash_u64(hash, windows->count[set]);
        for (size_t i = 0; i < windows->count[set]; i++) {
            const struct ce_text_window *window = &windows->window[set][i];

            hash = ce_hash_u64(hash, window->count);
            hash = ce_hash_bytes(
                hash, window->ids, window->count * sizeof(window->ids[0]));
        }
    }
    return hash;
}
