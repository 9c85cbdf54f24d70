/* session.h - a job of all ranks: transport and engine, from options to report */

#ifndef CE_TOOLS_SESSION_H
#define CE_TOOLS_SESSION_H

#include "comm/transport.h"
#include "engine/engine.h"
#include "tools/common.h"

#include <stdint.h>

struct ce_session {
    const char *command; /* for messages */
    const struct ce_run_values *run;
    struct ce_transport *transport;
    struct ce_engine *engine;
    struct ce_file_watch files; /* that were read before there was an engine */
    uint64_t began_ns;          /* when the engine was ready */
    uint64_t load_ns;           /* how long that took */
    bool check_failed;          /* the failure is a check that did not hold */
};

/* Has ce_session_open compare the options of the ranks; `values` stay as they are. */
void ce_session_compare_options(const struct ce_command *command, const void *values);

/* Starts the log and the transport. Errors: CE_ERR_MISMATCH for ranks with other
 * commands or options. Collective. */
CE_MUST_CHECK enum ce_status ce_session_open(struct ce_session *session,
                                             const char *command,
                                             const struct ce_run_values *run,
                                             struct ce_error *err);

/* Remembers the files of a model directory that are read before there is an engine, and
 * `file` (may be NULL) beside them: ce_session_load and ce_session_close fail if they
 * were changed meanwhile. Errors: CE_ERR_IO, CE_ERR_NOMEM. Not collective. */
CE_MUST_CHECK enum ce_status ce_session_watch_files(struct ce_session *session,
                                                    const char *dir,
                                                    const char *file,
                                                    struct ce_error *err);

/* Options of an engine from those of the command line. */
struct ce_engine_options ce_session_engine_options(const struct ce_session *session,
                                                   const struct ce_model_values *model);

/* Ranks may take longer than a deadline for what is done from here to ce_watch_end, but
 * one that is stopped meanwhile is named by those of its host (tools/watch.h). */
void ce_session_watch(const struct ce_session *session, const char *stage);

/* Loads the engine; warns when threads outnumber processors. Collective. */
CE_MUST_CHECK enum ce_status ce_session_load(struct ce_session *session,
                                             const struct ce_engine_options *options,
                                             struct ce_error *err);

/* Says on stderr what the job did, how fast and what it moved, and writes --stats and
 * --traffic. `tokens` are those of all ranks together. Errors: CE_ERR_MISMATCH when two
 * ranks have not counted the same between them; the job then ends with CE_EXIT_CHECK.
 * Collective. */
CE_MUST_CHECK enum ce_status ce_session_report(struct ce_session *session,
                                               uint64_t prompt_tokens,
                                               uint64_t new_tokens,
                                               struct ce_error *err);

/* Ends the job with `status`; prints the failure, once, or on every rank when they no
 * longer agree, and returns the exit code. Collective when status is one all ranks
 * have. */
int ce_session_close(struct ce_session *session,
                     enum ce_status status,
                     const struct ce_error *err);

/* Reads what `values` names into malloc'ed memory, which the caller frees also after a
 * failure; *text is NULL and *bytes 0 before. May be called on a thread of its own. */
typedef enum ce_status
ce_session_source(const void *values, char **text, size_t *bytes, struct ce_error *err);

/* Has rank 0 call `source`, however long that takes, and gives all ranks a copy of the
 * text in malloc'ed memory. Collective. */
CE_MUST_CHECK enum ce_status ce_session_share(struct ce_session *session,
                                              ce_session_source *source,
                                              const void *values,
                                              char **copy,
                                              size_t *copied,
                                              struct ce_error *err);

/* Has rank 0 call `source`, as for ce_session_share, and then `print`, both with
 * `values`; what became of them is what all ranks return. Collective. */
typedef enum ce_status ce_session_print(const void *values, struct ce_error *err);
CE_MUST_CHECK enum ce_status ce_session_conclude(struct ce_session *session,
                                                 ce_session_source *source,
                                                 ce_session_print *print,
                                                 const void *values,
                                                 struct ce_error *err);

#endif
