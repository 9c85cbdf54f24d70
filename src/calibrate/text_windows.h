/* text_windows.h - the tokens a calibration uses: windows of documents, to fit and held
 * out
 *
 *   source (a file, a task)   | document | document | ...
 *   its windows               | w | w | w | | w | w | ...   at most so many tokens each
 *   those that are taken      evenly over the source, as many as its share allows
 *   of these                  every H-th is held out
 *
 * One rank chooses and packs them as a stream of numbers, which the others get and take
 * apart: nobody but the first needs texts and tokenizer.
 */

#ifndef CE_CALIBRATE_TEXT_WINDOWS_H
#define CE_CALIBRATE_TEXT_WINDOWS_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

enum ce_text_set { CE_TEXT_FIT = 0, CE_TEXT_HELDOUT, CE_TEXT_SETS };

/* "fit", "heldout" */
const char *ce_text_set_name(enum ce_text_set set);

/* One source. A last window of a document may be shorter, but has two tokens. */
struct ce_documents_ids {
    const int32_t *ids;
    const size_t *end; /* [count]: document i ends before ids[end[i]] */
    size_t count;
};

struct ce_text_choice {
    size_t window;        /* most tokens of one, at least 2 */
    size_t tokens;        /* about so many are taken, less where the source has less */
    size_t heldout_every; /* H, at least 2; 0: none is held out */
};

/* Windows as numbers: the count of tokens, negative when held out, and the ids. */
struct ce_text_stream {
    int32_t *value; /* malloc'ed */
    size_t count;
    size_t room;
    size_t tokens; /* of all sources */
};

/* Appends what is taken of a source; the caller frees value, also after a failure. */
CE_MUST_CHECK enum ce_status
ce_text_stream_add(struct ce_text_stream *stream,
                   const struct ce_documents_ids *documents,
                   const struct ce_text_choice *choice,
                   struct ce_error *err);

struct ce_text_window {
    const int32_t *ids;
    size_t count;
};

struct ce_text_windows {
    int32_t *stream; /* what ids point into */
    struct ce_text_window *window[CE_TEXT_SETS];
    size_t count[CE_TEXT_SETS];
    size_t tokens[CE_TEXT_SETS];
    size_t longest; /* tokens of one */
};

/* Takes a stream apart and owns its memory from then on, also after a failure. Errors:
 * CE_ERR_COMM for numbers that are no stream. */
CE_MUST_CHECK enum ce_status ce_text_windows_open(struct ce_text_windows *windows,
                                                  int32_t *stream,
                                                  size_t count,
                                                  struct ce_error *err);
void ce_text_windows_close(
    struct ce_text_windows *windows); /* accepts a zeroed object */

/* Of all windows, in order: tells texts apart. */
uint64_t ce_text_windows_hash(const struct ce_text_windows *windows);

#endif
