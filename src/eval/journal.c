/* journal.c - opens a journal, and the thread that looks after it
 *
 * The thread brings what was appended to the disk once a second and beats the lock. It
 * cannot be left to appends: a step of the model may take minutes, during which
 * finished items would wait and the lock would seem abandoned.
 */

#include "eval/journal.h"

#include "base/file.h"
#include "eval/journal_file.h"
#include "eval/journal_image.h"
#include "eval/journal_lock.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS 1000000L
#define NS_PER_S  1000000000L

struct ce_journal {
    char *path;
    struct ce_journal_image image;
    struct ce_journal_lock lock;
    struct ce_journal_file file;
    atomic_bool writes; /* file is open */
    enum ce_journal_mode mode;
    bool there;                               /* the file, when it was opened */
    const struct ce_journal_header *promised; /* what it will be, where it is not */
    pthread_t keeper;
    bool kept; /* the thread runs */
    pthread_mutex_t mutex;
    pthread_cond_t stopped; /* its clock is CLOCK_MONOTONIC */
    bool stop;              /* under the mutex, as is image.done */
};

/* ---- the thread */

static void next_tick(struct timespec *tick)
{
    tick->tv_sec += CE_JOURNAL_SYNC_MS / 1000;
    tick->tv_nsec += CE_JOURNAL_SYNC_MS % 1000 * NS_PER_MS;
    if (tick->tv_nsec >= NS_PER_S) {
        tick->tv_nsec -= NS_PER_S;
        tick->tv_sec++;
    }
}

/* False when the journal is closed. */
static bool wait_tick(struct ce_journal *journal)
{
    struct timespec tick;
    int waited = 0;

    (void)clock_gettime(CLOCK_MONOTONIC, &tick);
    next_tick(&tick);
    (void)pthread_mutex_lock(&journal->mutex);
    while (!journal->stop && waited == 0) {
        waited = pthread_cond_timedwait(&journal->stopped, &journal->mutex, &tick);
    }
    bool go_on = !journal->stop;

    (void)pthread_mutex_unlock(&journal->mutex);
    return go_on;
}

static void *keep(void *argument)
{
    struct ce_journal *journal = argument;
    int quiet_ms = 0;

    while (wait_tick(journal)) {
        quiet_ms += CE_JOURNAL_SYNC_MS;
        if (quiet_ms >= CE_JOURNAL_BEAT_S * 1000) {
            ce_journal_lock_beat(&journal->lock);
            quiet_ms = 0;
        }
        /* A failure stays in the file, for whoever calls next. */
        enum ce_status status = ce_journal_sync(journal, NULL);

        (void)status;
    }
    return NULL;
}

/* The signals of the process are for its other threads. */
static enum ce_status start_keeper(struct ce_journal *journal, struct ce_error *err)
{
    sigset_t all;
    sigset_t before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int why = pthread_create(&journal->keeper, NULL, keep, journal);

    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    journal->kept = why == 0;
    return why == 0 ? CE_OK
                    : ce_fail(err,
                              CE_ERR_NOMEM,
                              "%s: cannot start its thread: %s",
                              journal->path,
                              strerror(why));
}

static void stop_keeper(struct ce_journal *journal)
{
    if (journal->kept) {
        (void)pthread_mutex_lock(&journal->mutex);
        journal->stop = true;
        (void)pthread_cond_signal(&journal->stopped);
        (void)pthread_mutex_unlock(&journal->mutex);
        (void)pthread_join(journal->keeper, NULL);
        journal->kept = false;
    }
}

/* ---- opening */

/* CE_AGAIN: there is one. A link, because a rename would replace it, and a client of a
 * network file system may not see yet what another one has created. */
static enum ce_status
name_file(const struct ce_journal *journal, const char *complete, struct ce_error *err)
{
    if (link(complete, journal->path) == 0) {
        ce_file_sync_name(journal->path);
        return CE_OK;
    }
    return errno == EEXIST
               ? CE_AGAIN
               : ce_fail(err, CE_ERR_IO, "%s: %s", journal->path, strerror(errno));
}

static enum ce_status create_file(const struct ce_journal *journal,
                                  const struct ce_journal_header *header,
                                  struct ce_error *err)
{
    char *complete = NULL;
    unsigned char *data = NULL;
    size_t bytes = 0;
    enum ce_status status = ce_journal_image_begin(header, &data, &bytes, err);

    if (status == CE_OK && asprintf(&complete, "%s.new", journal->path) < 0) {
        complete = NULL;
        status = ce_fail(err, CE_ERR_NOMEM, "%s: no memory to begin it", journal->path);
    }
    if (status == CE_OK) {
        status = ce_file_write_atomic(complete, data, bytes, err);
    }
    if (status == CE_OK) {
        status = name_file(journal, complete, err);
        (void)unlink(complete);
    }
    free(complete);
    free(data);
    return status;
}

/* `header` may be NULL. */
static enum ce_status load(struct ce_journal *journal,
                           const struct ce_journal_header *header,
                           struct ce_error *err)
{
    char *data = NULL;
    size_t bytes = 0;
    enum ce_status status = ce_file_read(journal->path, SIZE_MAX, &data, &bytes, err);

    if (status == CE_OK) {
        status = ce_journal_image_parse(
            &journal->image, (unsigned char *)data, bytes, journal->path, err);
    }
    free(data);
    if (status != CE_OK || header == NULL) {
        return status;
    }
    return ce_journal_job_compare(
        &journal->image.job.header, header, journal->path, err);
}

static enum ce_status open_read(struct ce_journal *journal,
                                const struct ce_journal_header *header,
                                struct ce_error *err)
{
    if (!ce_file_exists(journal->path)) {
        return ce_fail(err, CE_ERR_ARG, "%s: there is no journal", journal->path);
    }
    return load(journal, header, err);
}

static enum ce_status refuse_begun(const struct ce_journal *journal,
                                   struct ce_error *err)
{
    return ce_fail(err,
                   CE_ERR_ARG,
                   "%s: a job was begun here already: resume it, or use another "
                   "directory",
                   journal->path);
}

static bool is_known(const struct ce_journal_header *header)
{
    for (size_t i = 0; i < header->fields; i++) {
        if (header->field[i].value == NULL) {
            return false;
        }
    }
    return true;
}

/* Under the lock. */
static enum ce_status open_write(struct ce_journal *journal,
                                 const struct ce_journal_header *header,
                                 enum ce_journal_mode mode,
                                 struct ce_error *err)
{
    enum ce_status status = CE_OK;

    journal->mode = mode;
    journal->promised = header;
    journal->there = ce_file_exists(journal->path);
    if (journal->there && mode == CE_JOURNAL_FRESH) {
        return refuse_begun(journal, err);
    }
    if (journal->there) {
        status = load(journal, header, err);
    }
    if (status == CE_OK && is_known(header)) {
        status = ce_journal_confirm(journal, header, err);
    }
    return status == CE_OK ? start_keeper(journal, err) : status;
}

/* One that is there in spite of the lock, on a network file system, is of somebody
 * whose lock has not been seen. */
static enum ce_status begin(struct ce_journal *journal,
                            const struct ce_journal_header *header,
                            struct ce_error *err)
{
    enum ce_status status = create_file(journal, header, err);
    const bool again = status == CE_AGAIN;

    if (again && journal->mode == CE_JOURNAL_FRESH) {
        return refuse_begun(journal, err);
    }
    if (status == CE_OK || again) {
        status = load(journal, header, err);
    }
    /* Nobody has asked for its entries yet, unless it was opened before. */
    return status == CE_OK && journal->kept && journal->image.entries > 0
               ? refuse_begun(journal, err)
               : status;
}

enum ce_status ce_journal_confirm(struct ce_journal *journal,
                                  const struct ce_journal_header *header,
                                  struct ce_error *err)
{
    enum ce_status status = CE_OK;

    if (journal->writes) {
        return CE_OK;
    }
    status = journal->there
                 ? ce_journal_job_compare(
                       &journal->image.job.header, header, journal->path, err)
                 : begin(journal, header, err);
    if (status == CE_OK) {
        journal->promised = NULL;
        status = ce_journal_file_open(&journal->file,
                                      journal->path,
                                      journal->image.end,
                                      journal->image.header_crc,
                                      err);
        journal->writes = status == CE_OK;
    }
    return status;
}

static struct ce_journal *create(const char *dir)
{
    struct ce_journal *journal = calloc(1, sizeof(*journal));
    pthread_condattr_t clock;

    if (journal == NULL) {
        return NULL;
    }
    (void)pthread_mutex_init(&journal->mutex, NULL);
    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&journal->stopped, &clock);
    (void)pthread_condattr_destroy(&clock);
    journal->lock.fd = -1;
    journal->path = ce_path_join(dir, CE_JOURNAL_NAME);
    if (journal->path == NULL) {
        ce_journal_close(journal);
        return NULL;
    }
    return journal;
}

enum ce_status ce_journal_open(struct ce_journal **journal,
                               const char *dir,
                               const struct ce_journal_header *header,
                               enum ce_journal_mode mode,
                               struct ce_error *err)
{
    enum ce_status status = CE_OK;

    *journal = create(dir);
    if (*journal == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory to open its journal", dir);
    }
    if (mode == CE_JOURNAL_READ) {
        status = open_read(*journal, header, err);
    } else {
        status = ce_journal_lock_take(&(*journal)->lock, dir, err);
        if (status == CE_OK) {
            status = open_write(*journal, header, mode, err);
        }
    }
    if (status != CE_OK) {
        ce_journal_close(*journal);
        *journal = NULL;
    }
    return status;
}

void ce_journal_close(struct ce_journal *journal)
{
    if (journal == NULL) {
        return;
    }
    stop_keeper(journal);
    if (journal->writes) {
        enum ce_status status = ce_journal_sync(journal, NULL);

        (void)status; /* who wants to know has synced before */
        ce_journal_file_close(&journal->file);
    }
    ce_journal_lock_release(&journal->lock);
    ce_journal_image_destroy(&journal->image);
    (void)pthread_mutex_destroy(&journal->mutex);
    (void)pthread_cond_destroy(&journal->stopped);
    free(journal->path);
    free(journal);
}

/* ---- what it has */

const struct ce_journal_header *ce_journal_header(const struct ce_journal *journal)
{
    return journal->promised != NULL && !journal->there ? journal->promised
                                                        : &journal->image.job.header;
}

const struct ce_journal_entry *ce_journal_entries(const struct ce_journal *journal,
                                                  size_t *count)
{
    *count = journal->image.entries;
    return journal->image.entry;
}

const struct ce_journal_notice *ce_journal_notices(const struct ce_journal *journal,
                                                   size_t *count)
{
    *count = journal->image.notices;
    return journal->image.notice;
}

static const char *consequence_of(const struct ce_journal *journal,
                                  enum ce_journal_notice_kind kind)
{
    switch (kind) {
    case CE_JOURNAL_TORN:
        return journal->writes ? "the end of a record is missing, cut off"
                               : "the end of a record is missing";
    case CE_JOURNAL_DAMAGED:
        return "damaged; what they recorded counts as not done";
    case CE_JOURNAL_INVALID:
        return "a record of an item that the job does not have, passed over";
    case CE_JOURNAL_DUPLICATE:
        return "an item that is recorded before, passed over";
    }
    return "";
}

void ce_journal_notice_print(const struct ce_journal *journal,
                             const struct ce_journal_notice *notice,
                             char *text,
                             size_t bytes)
{
    char item[100] = "";

    if (notice->kind == CE_JOURNAL_INVALID || notice->kind == CE_JOURNAL_DUPLICATE) {
        (void)snprintf(item,
                       sizeof(item),
                       " (variant %" PRIu32 ", task %" PRIu32 ", query %" PRIu64 ")",
                       notice->item.variant + 1,
                       notice->item.task + 1,
                       notice->item.query + 1);
    }
    (void)snprintf(text,
                   bytes,
                   "%s: %" PRIu64 " bytes at byte %" PRIu64 ": %s%s",
                   journal->path,
                   notice->bytes,
                   notice->offset,
                   consequence_of(journal, notice->kind),
                   item);
}

/* ---- appending */

/* Notes that the item is recorded; false when it was. */
static bool add_item(struct ce_journal *journal, const struct ce_journal_item *item)
{
    (void)pthread_mutex_lock(&journal->mutex);
    bool added = ce_journal_set_may_have(&journal->image.done, item) &&
                 !ce_journal_set_has(&journal->image.done, item);

    if (added) {
        ce_journal_set_add(&journal->image.done, item);
    }
    (void)pthread_mutex_unlock(&journal->mutex);
    return added;
}

enum ce_status ce_journal_append(struct ce_journal *journal,
                                 const struct ce_journal_item *item,
                                 const struct ce_outcome *outcome,
                                 struct ce_error *err)
{
    size_t pending = 0;

    if (!journal->writes || !add_item(journal, item)) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "%s: variant %" PRIu32 ", task %" PRIu32 ", query %" PRIu64
                       " cannot be recorded: %s",
                       journal->path,
                       item->variant,
                       item->task,
                       item->query,
                       journal->writes ? "it is already, or the job does not have it"
                                       : "the journal is open for reading");
    }
    enum ce_status status =
        ce_journal_file_append(&journal->file, item, outcome, &pending, err);

    if (status == CE_OK && pending >= CE_JOURNAL_SYNC_BYTES) {
        status = ce_journal_sync(journal, err);
    }
    return status;
}

enum ce_status ce_journal_sync(struct ce_journal *journal, struct ce_error *err)
{
    struct ce_error lost = {.text = ""};
    enum ce_status status = CE_OK;

    if (!journal->writes) {
        return CE_OK;
    }
    status = ce_journal_lock_check(&journal->lock, &lost);
    if (status != CE_OK) {
        ce_journal_file_fail(&journal->file, status, &lost);
    }
    return ce_journal_file_sync(&journal->file, err);
}
