/* eval_status.c - reads a journal and counts */

#include "tools/eval_status.h"

#include "base/file.h"
#include "base/log.h"
#include "base/streams.h"
#include "eval/final.h"
#include "eval/journal.h"
#include "tools/common.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* Entries are sorted by variant, task and query. */
static size_t count_item(const struct ce_journal *journal, size_t variant, size_t task)
{
    size_t count = 0;
    size_t done = 0;
    const struct ce_journal_entry *entry = ce_journal_entries(journal, &count);

    for (size_t i = 0; i < count; i++) {
        done += entry[i].item.variant == variant && entry[i].item.task == task;
    }
    return done;
}

static uint64_t count_wanted(const struct ce_journal_header *header)
{
    uint64_t queries = 0;

    for (size_t t = 0; t < header->tasks; t++) {
        queries += header->task[t].queries;
    }
    return queries * header->variants;
}

static bool has_files(const char *out, const struct ce_journal_header *header)
{
    char *marker = ce_final_marker(out, header);
    bool exists = marker != NULL && ce_file_exists(marker);

    free(marker);
    return exists;
}

static json_t *describe_parts(const struct ce_journal *journal)
{
    const struct ce_journal_header *header = ce_journal_header(journal);
    json_t *parts = json_array();

    for (size_t v = 0; v < header->variants; v++) {
        for (size_t t = 0; t < header->tasks; t++) {
            json_array_append_new(parts,
                                  json_pack("{s:s, s:s, s:I, s:I}",
                                            "variant",
                                            header->variant[v],
                                            "task",
                                            header->task[t].name,
                                            "done",
                                            (json_int_t)count_item(journal, v, t),
                                            "queries",
                                            (json_int_t)header->task[t].queries));
        }
    }
    return parts;
}

static const char *state_name(bool complete, bool written)
{
    if (!complete) {
        return "resumable";
    }
    return written ? "complete" : "complete but for the final files";
}

static int print_text(const struct ce_journal *journal, const char *state)
{
    const struct ce_journal_header *header = ce_journal_header(journal);
    size_t count = 0;

    (void)ce_journal_entries(journal, &count);
    ce_print("%s: %zu of %llu answers\n",
             state,
             count,
             (unsigned long long)count_wanted(header));
    for (size_t v = 0; v < header->variants; v++) {
        for (size_t t = 0; t < header->tasks; t++) {
            ce_print("%-12s %-24s %zu of %llu\n",
                     header->variant[v],
                     header->task[t].name,
                     count_item(journal, v, t),
                     (unsigned long long)header->task[t].queries);
        }
    }
    return ce_finish_output();
}

static int print_json(const struct ce_journal *journal, const char *state)
{
    size_t count = 0;

    (void)ce_journal_entries(journal, &count);
    return ce_print_json(json_pack("{s:s, s:I, s:I, s:o}",
                                   "state",
                                   state,
                                   "done",
                                   (json_int_t)count,
                                   "wanted",
                                   (json_int_t)count_wanted(ce_journal_header(journal)),
                                   "parts",
                                   describe_parts(journal)));
}

static void print_notices(const struct ce_journal *journal)
{
    size_t count = 0;
    const struct ce_journal_notice *notice = ce_journal_notices(journal, &count);
    char text[512];

    for (size_t i = 0; i < count; i++) {
        ce_journal_notice_print(journal, &notice[i], text, sizeof(text));
        ce_log(CE_LOG_WARN, "%s", text);
    }
}

int ce_eval_status(const char *out, bool json)
{
    struct ce_journal *journal = NULL;
    struct ce_error err = {.text = ""};
    size_t count = 0;

    if (ce_journal_open(&journal, out, NULL, CE_JOURNAL_READ, &err) != CE_OK) {
        return ce_report_failure("eval", &err);
    }
    (void)ce_journal_entries(journal, &count);
    const struct ce_journal_header *header = ce_journal_header(journal);
    bool complete = count == count_wanted(header);
    bool written = complete && has_files(out, header);
    const char *state = state_name(complete, written);

    print_notices(journal);
    int code = json ? print_json(journal, state) : print_text(journal, state);
    ce_journal_close(journal);
    if (code != CE_EXIT_DONE) {
        return code;
    }
    return written ? CE_EXIT_DONE : CE_EXIT_STOPPED;
}
