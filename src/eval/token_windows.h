/* token_windows.h - the tokens that fit: integers only
 *
 *   score     [ dropped | context ... | continuation ]
 *                       '--- max_length + 1 --------'   the last one is never run
 *   rolling   p 0 1 2 3 | 1 2 3 4 5 | ...
 *             '- scored            '- scored            each once, in few windows
 *   generate  [ dropped | context ][ new tokens ]
 *                       '--- max_length --------'
 *
 * Source: HFLM._loglikelihood_tokens and generate_until, get_rolling_token_windows and
 * make_disjoint_window of lm-evaluation-harness 0.4.13.
 */

#ifndef CE_EVAL_TOKEN_WINDOWS_H
#define CE_EVAL_TOKEN_WINDOWS_H

#include <stddef.h>

/* A part of a sequence of tokens: first .. first + count - 1, of which the last
 * `scored` are scored. */
struct ce_token_window {
    size_t first;
    size_t count;
    size_t scored;
};

/* Of `context` tokens and `continuation` after them. Where lm-eval would stop because
 * the continuation alone does not fit, its last max_length tokens are scored. */
struct ce_token_window
ce_token_window_score(size_t context, size_t continuation, size_t max_length);

/* Windows of a text of `tokens` tokens; 0 for none. */
size_t ce_token_windows_rolling(size_t tokens, size_t max_length);
/* Window `index` of them, in the sequence prefix, text. */
struct ce_token_window
ce_token_window_rolling(size_t tokens, size_t max_length, size_t index);

/* Of a context of `context` tokens that max_new_tokens < max_length are to follow. */
struct ce_token_window
ce_token_window_generate(size_t context, size_t max_new_tokens, size_t max_length);

#endif
