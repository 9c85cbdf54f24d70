/* data_file.c - a file of texts: plain text, or JSON Lines */

#include "eval/data_file.h"

#include "base/log.h"
#include "eval/jsonl.h"

#include <string.h>
#include <strings.h>

static bool has_ending(const char *path, const char *const *endings)
{
    const char *dot = strrchr(path, '.');

    for (; dot != NULL && *endings != NULL; endings++) {
        if (strcasecmp(dot, *endings) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_white(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Begins and ends as an object or a list of objects, lists or strings. */
static bool looks_like_json(const char *text, size_t bytes)
{
    size_t first = 0;
    size_t second = 0;

    while (first < bytes && is_white(text[first])) {
        first++;
    }
    while (bytes > first && is_white(text[bytes - 1])) {
        bytes--;
    }
    second = first + 1;
    while (second < bytes && is_white(text[second])) {
        second++;
    }
    if (second >= bytes) {
        return false;
    }
    return (text[first] == '{' && text[second] == '"' && text[bytes - 1] == '}') ||
           (text[first] == '[' && strchr("{[\"", text[second]) != NULL &&
            text[second] != '\0' && text[bytes - 1] == ']');
}

enum ce_status ce_data_file_classify(const char *path,
                                     const char *text,
                                     size_t bytes,
                                     const char *field,
                                     bool *lines,
                                     struct ce_error *err)
{
    static const char *const of_lines[] = {".jsonl", ".ndjson", ".jsonlines", NULL};
    static const char *const of_json[] = {".json", NULL};

    *lines = has_ending(path, of_lines);
    if (*lines || !looks_like_json(text, bytes)) {
        return CE_OK;
    }
    *lines = ce_jsonl_is_lines(text, bytes);
    if (*lines && ce_log_is_speaker()) {
        ce_log(CE_LOG_WARN,
               "%s: every line is a JSON object: read as JSON Lines, the field %s of "
               "each",
               path,
               field);
    } else if (!*lines && has_ending(path, of_json)) {
        return ce_fail(err,
                       CE_ERR_FORMAT,
                       "%s: is a JSON document, not text: write it as JSON Lines, one "
                       "object a line",
                       path);
    } else if (!*lines) {
        ce_data_file_warn_of_json(path, text, bytes);
    }
    return CE_OK;
}

void ce_data_file_warn_of_json(const char *path, const char *text, size_t bytes)
{
    if (looks_like_json(text, bytes) && ce_log_is_speaker()) {
        ce_log(CE_LOG_WARN, "%s: looks like JSON and is read as text", path);
    }
}
