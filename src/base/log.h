/* log.h - one line a message on stderr, never on stdout
 *
 * Levels: error, warn, info, debug. Lines of ranks other than 0 carry the
 * rank; ce_log_once-style decisions are the caller's (log on rank 0 only).
 */

#ifndef CE_BASE_LOG_H
#define CE_BASE_LOG_H

enum ce_log_level { CE_LOG_ERROR = 0, CE_LOG_WARN, CE_LOG_INFO, CE_LOG_DEBUG };

/* Of the process; called once at start. */
void ce_log_init(enum ce_log_level level, int rank);
/* The calling thread is that rank from now on, whatever its process is: for ranks that
 * are threads of one process. */
void ce_log_as_rank(int rank);
void ce_log(enum ce_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* True on the rank that speaks for all (0). */
int ce_log_is_speaker(void);

#endif
