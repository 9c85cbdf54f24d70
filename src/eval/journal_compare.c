/* journal_compare.c - whether a journal is of this job, and if not, what differs */

#include "eval/journal_job.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The first difference and how many there are. */
struct differences {
    char name[100];
    char there[100];
    char here[100];
    size_t count;
};

/* NULL: not there at all. */
static void quote(char *text, size_t bytes, const char *value)
{
    if (value == NULL) {
        (void)snprintf(text, bytes, "missing");
    } else {
        (void)snprintf(text, bytes, "\"%.80s\"", value);
    }
}

static void
note(struct differences *found, const char *name, const char *there, const char *here)
{
    if (found->count++ == 0) {
        (void)snprintf(found->name, sizeof(found->name), "%.80s", name);
        quote(found->there, sizeof(found->there), there);
        quote(found->here, sizeof(found->here), here);
    }
}

/* NULL: there is none. */
static const struct ce_journal_field *find_field(const struct ce_journal_header *header,
                                                 const char *name)
{
    for (size_t i = 0; i < header->fields; i++) {
        if (strcmp(header->field[i].name, name) == 0) {
            return &header->field[i];
        }
    }
    return NULL;
}

static void compare_fields(struct differences *found,
                           const struct ce_journal_header *there,
                           const struct ce_journal_header *here)
{
    for (size_t i = 0; i < here->fields; i++) {
        const struct ce_journal_field *mine = &here->field[i];
        const struct ce_journal_field *theirs = find_field(there, mine->name);
        const char *value = mine->value != NULL ? mine->value : "known later";

        if (theirs == NULL) {
            note(found, mine->name, NULL, value);
        } else if (mine->value != NULL && strcmp(theirs->value, value) != 0) {
            note(found, mine->name, theirs->value, value);
        }
    }
    for (size_t i = 0; i < there->fields; i++) {
        if (find_field(here, there->field[i].name) == NULL) {
            note(found, there->field[i].name, there->field[i].value, NULL);
        }
    }
}

static const char *task_name(const struct ce_journal_header *header, size_t index)
{
    return index < header->tasks ? header->task[index].name : NULL;
}

static const char *variant_name(const struct ce_journal_header *header, size_t index)
{
    return index < header->variants ? header->variant[index] : NULL;
}

/* Entry `index` of a list of names; NULL is behind its end. */
static void compare_name(struct differences *found,
                         const char *list,
                         size_t index,
                         const char *there,
                         const char *here)
{
    char name[40];

    if ((there == NULL) != (here == NULL) ||
        (there != NULL && strcmp(there, here) != 0)) {
        (void)snprintf(name, sizeof(name), "%s %zu", list, index + 1);
        note(found, name, there, here);
    }
}

static void compare_queries(struct differences *found,
                            const struct ce_journal_task *there,
                            const struct ce_journal_task *here)
{
    char name[100];
    char values[2][24];

    if (there->queries != here->queries) {
        (void)snprintf(name, sizeof(name), "number of queries of %.60s", here->name);
        (void)snprintf(values[0], sizeof(values[0]), "%" PRIu64, there->queries);
        (void)snprintf(values[1], sizeof(values[1]), "%" PRIu64, here->queries);
        note(found, name, values[0], values[1]);
    }
}

static void compare_lists(struct differences *found,
                          const struct ce_journal_header *there,
                          const struct ce_journal_header *here)
{
    for (size_t i = 0; i < there->tasks || i < here->tasks; i++) {
        compare_name(found, "task", i, task_name(there, i), task_name(here, i));
        if (i < there->tasks && i < here->tasks) {
            compare_queries(found, &there->task[i], &here->task[i]);
        }
    }
    for (size_t i = 0; i < there->variants || i < here->variants; i++) {
        compare_name(
            found, "variant", i, variant_name(there, i), variant_name(here, i));
    }
}

/* What this version finds out while it runs, and an earlier one did not write down. */
static const char *find_unwritten(const struct ce_journal_header *there,
                                  const struct ce_journal_header *here)
{
    for (size_t i = 0; i < here->fields; i++) {
        if (here->field[i].value == NULL &&
            find_field(there, here->field[i].name) == NULL) {
            return here->field[i].name;
        }
    }
    return NULL;
}

enum ce_status ce_journal_job_compare(const struct ce_journal_header *there,
                                      const struct ce_journal_header *here,
                                      const char *path,
                                      struct ce_error *err)
{
    struct differences found = {.count = 0};
    char more[40] = "";

    const char *unwritten = find_unwritten(there, here);

    compare_lists(&found, there, here);
    if (unwritten != NULL && found.count == 0) {
        return ce_fail(err,
                       CE_ERR_MISMATCH,
                       "%s: the journal was begun by an earlier version, which does "
                       "not say \"%.80s\", so that it may be of another job: use "
                       "another directory, or go on with that version",
                       path,
                       unwritten);
    }
    compare_fields(&found, there, here);
    if (found.count == 0) {
        return CE_OK;
    }
    if (found.count > 1) {
        (void)snprintf(more, sizeof(more), " (and %zu more differ)", found.count - 1);
    }
    return ce_fail(err,
                   CE_ERR_MISMATCH,
                   "%s: the journal of another job: %s is %s there and %s here%s; use "
                   "another directory, or what that job had",
                   path,
                   found.name,
                   found.there,
                   found.here,
                   more);
}
