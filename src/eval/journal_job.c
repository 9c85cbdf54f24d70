/* journal_job.c - packs headers, reads those that nobody vouches for */

#include "eval/journal_job.h"

#include "journal.pb-c.h"

#include <inttypes.h>
#include <stdlib.h>

#define FORMAT 1

/* What the pointers of a header point to. */
struct ce_journal_job_storage {
    Cemoe__JournalHeader *message;
    struct ce_journal_field *field;
    struct ce_journal_field *note;
    struct ce_journal_task *task;
    const char **variant;
};

/* Packing only reads the texts. */
static char *packable(const char *text)
{
    return (char *)(uintptr_t)text;
}

static const char *check_sizes(const struct ce_journal_header *header)
{
    uint64_t left = CE_JOURNAL_MOST_ITEMS;

    if (header->tasks == 0 || header->variants == 0) {
        return "there are no tasks or no variants";
    }
    left /= header->variants;
    for (size_t i = 0; i < header->tasks; i++) {
        if (header->task[i].queries > left) {
            return "there are more than 2^28 items";
        }
        left -= header->task[i].queries;
    }
    return NULL;
}

/* ---- writing */

/* The arrays of a message and what their pointers point to. */
struct packing {
    Cemoe__JournalHeader message;
    Cemoe__JournalField *field; /* the fingerprint, then the notes */
    Cemoe__JournalField **fields;
    Cemoe__JournalTask *task;
    Cemoe__JournalTask **tasks;
    char **variant;
};

static void packing_destroy(struct packing *packing)
{
    free(packing->field);
    free(packing->fields);
    free(packing->task);
    free(packing->tasks);
    free(packing->variant);
}

/* calloc of none may be NULL. */
static void *array_of(size_t count, size_t bytes)
{
    return calloc(count + 1, bytes);
}

static bool packing_create(struct packing *packing,
                           const struct ce_journal_header *header)
{
    size_t fields = header->fields + header->notes;

    *packing = (struct packing){
        .field = array_of(fields, sizeof(packing->field[0])),
        .fields = array_of(fields, sizeof(packing->fields[0])),
        .task = array_of(header->tasks, sizeof(packing->task[0])),
        .tasks = array_of(header->tasks, sizeof(packing->tasks[0])),
        .variant = array_of(header->variants, sizeof(packing->variant[0]))};
    return packing->field != NULL && packing->fields != NULL && packing->task != NULL &&
           packing->tasks != NULL && packing->variant != NULL;
}

static void fill_fields(struct packing *packing,
                        size_t first,
                        const struct ce_journal_field *field,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        Cemoe__JournalField *to = &packing->field[first + i];

        cemoe__journal_field__init(to);
        to->name = packable(field[i].name);
        to->value = packable(field[i].value);
        packing->fields[first + i] = to;
    }
}

static void fill_message(struct packing *packing,
                         const struct ce_journal_header *header)
{
    Cemoe__JournalHeader *message = &packing->message;

    cemoe__journal_header__init(message);
    fill_fields(packing, 0, header->field, header->fields);
    fill_fields(packing, header->fields, header->note, header->notes);
    for (size_t i = 0; i < header->tasks; i++) {
        cemoe__journal_task__init(&packing->task[i]);
        packing->task[i].name = packable(header->task[i].name);
        packing->task[i].queries = header->task[i].queries;
        packing->tasks[i] = &packing->task[i];
    }
    for (size_t i = 0; i < header->variants; i++) {
        packing->variant[i] = packable(header->variant[i]);
    }
    message->format = FORMAT;
    message->n_fingerprint = header->fields;
    message->fingerprint = packing->fields;
    message->n_note = header->notes;
    message->note = packing->fields + header->fields;
    message->n_task = header->tasks;
    message->task = packing->tasks;
    message->n_variant = header->variants;
    message->variant = packing->variant;
    message->program = packable(header->program);
    message->start_ns = header->start_ns;
}

enum ce_status ce_journal_job_pack(const struct ce_journal_header *header,
                                   unsigned char **message,
                                   size_t *bytes,
                                   struct ce_error *err)
{
    struct packing packing;
    const char *why = check_sizes(header);

    *message = NULL;
    if (why != NULL) {
        return ce_fail(err, CE_ERR_ARG, "the journal of a job: %s", why);
    }
    if (packing_create(&packing, header)) {
        fill_message(&packing, header);
        *bytes = cemoe__journal_header__get_packed_size(&packing.message);
        *message = malloc(*bytes);
        if (*message != NULL) {
            cemoe__journal_header__pack(&packing.message, *message);
        }
    }
    packing_destroy(&packing);
    return *message != NULL ? CE_OK
                            : ce_fail(err, CE_ERR_NOMEM, "no memory to describe a job");
}

/* ---- reading */

static void storage_destroy(struct ce_journal_job_storage *storage)
{
    if (storage != NULL) {
        cemoe__journal_header__free_unpacked(storage->message, NULL);
        free(storage->field);
        free(storage->note);
        free(storage->task);
        free(storage->variant);
    }
    free(storage);
}

/* Takes the message over, also when there is no memory (NULL). */
static struct ce_journal_job_storage *storage_create(Cemoe__JournalHeader *message)
{
    struct ce_journal_job_storage *storage = calloc(1, sizeof(*storage));

    if (storage == NULL) {
        cemoe__journal_header__free_unpacked(message, NULL);
        return NULL;
    }
    storage->message = message;
    storage->field = array_of(message->n_fingerprint, sizeof(storage->field[0]));
    storage->note = array_of(message->n_note, sizeof(storage->note[0]));
    storage->task = array_of(message->n_task, sizeof(storage->task[0]));
    storage->variant = array_of(message->n_variant, sizeof(storage->variant[0]));
    if (storage->field == NULL || storage->note == NULL || storage->task == NULL ||
        storage->variant == NULL) {
        storage_destroy(storage);
        return NULL;
    }
    return storage;
}

static void
take_fields(struct ce_journal_field *to, Cemoe__JournalField *const *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        to[i] =
            (struct ce_journal_field){.name = from[i]->name, .value = from[i]->value};
    }
}

static void take_message(struct ce_journal_job *job)
{
    struct ce_journal_job_storage *storage = job->storage;
    const Cemoe__JournalHeader *message = storage->message;

    take_fields(storage->field, message->fingerprint, message->n_fingerprint);
    take_fields(storage->note, message->note, message->n_note);
    for (size_t i = 0; i < message->n_task; i++) {
        storage->task[i] = (struct ce_journal_task){
            .name = message->task[i]->name, .queries = message->task[i]->queries};
    }
    for (size_t i = 0; i < message->n_variant; i++) {
        storage->variant[i] = message->variant[i];
    }
    job->header = (struct ce_journal_header){.field = storage->field,
                                             .fields = message->n_fingerprint,
                                             .task = storage->task,
                                             .tasks = message->n_task,
                                             .variant = storage->variant,
                                             .variants = message->n_variant,
                                             .note = storage->note,
                                             .notes = message->n_note,
                                             .program = message->program,
                                             .start_ns = message->start_ns};
}

static enum ce_status
check_format(uint32_t format, const char *path, struct ce_error *err)
{
    if (format == FORMAT) {
        return CE_OK;
    }
    return ce_fail(err,
                   CE_ERR_UNSUPPORTED,
                   "%s: a journal of format %" PRIu32
                   ", but this version writes and reads format %d: continue it with "
                   "the version that began it, or use another directory",
                   path,
                   format,
                   FORMAT);
}

enum ce_status ce_journal_job_parse(struct ce_journal_job *job,
                                    const unsigned char *message,
                                    size_t bytes,
                                    const char *path,
                                    struct ce_error *err)
{
    Cemoe__JournalHeader *fields = cemoe__journal_header__unpack(NULL, bytes, message);

    *job = (struct ce_journal_job){.storage = NULL};
    if (fields == NULL) {
        return ce_fail(
            err, CE_ERR_FORMAT, "%s: the journal's header cannot be decoded", path);
    }
    enum ce_status status = check_format(fields->format, path, err);

    if (status != CE_OK) {
        cemoe__journal_header__free_unpacked(fields, NULL);
        return status;
    }
    job->storage = storage_create(fields);
    if (job->storage == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "%s: no memory to read it", path);
    }
    take_message(job);
    const char *why = check_sizes(&job->header);

    if (why != NULL) {
        ce_journal_job_destroy(job);
        return ce_fail(err, CE_ERR_FORMAT, "%s: the journal's header: %s", path, why);
    }
    return CE_OK;
}

void ce_journal_job_destroy(struct ce_journal_job *job)
{
    storage_destroy(job->storage);
    *job = (struct ce_journal_job){.storage = NULL};
}
