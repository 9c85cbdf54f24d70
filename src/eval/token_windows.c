/* token_windows.c - the tokens that fit */

#include "eval/token_windows.h"

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

struct ce_token_window
ce_token_window_score(size_t context, size_t continuation, size_t max_length)
{
    size_t total = context + continuation;
    size_t count = least(total, max_length + 1);

    return (struct ce_token_window){.first = total - count,
                                    .count = count,
                                    .scored = least(continuation, max_length)};
}

size_t ce_token_windows_rolling(size_t tokens, size_t max_length)
{
    return tokens / max_length + (tokens % max_length != 0);
}

/* Token i of the text is at i + 1, behind the prefix. The first window ends with the
 * first max_length tokens, each other one with max_length more, the last with the text;
 * a window begins as early as fits. */
struct ce_token_window
ce_token_window_rolling(size_t tokens, size_t max_length, size_t index)
{
    size_t before = index * max_length;
    size_t scored = least(tokens - before, max_length);
    size_t end = 1 + before + scored;
    size_t count = least(end, max_length + 1);

    return (struct ce_token_window){
        .first = end - count, .count = count, .scored = scored};
}

struct ce_token_window
ce_token_window_generate(size_t context, size_t max_new_tokens, size_t max_length)
{
    size_t count = least(context, max_length - max_new_tokens);

    return (struct ce_token_window){.first = context - count, .count = count};
}
