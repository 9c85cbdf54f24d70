/* log.c - a line is built in one buffer and written with one call, so that
 * lines of several ranks on one terminal do not mix */

#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES 1024

static atomic_int log_level = CE_LOG_INFO;
static atomic_int process_rank = 0;
static _Thread_local int thread_rank = -1; /* -1: that of the process */

void ce_log_init(enum ce_log_level level, int rank)
{
    log_level = (int)level;
    process_rank = rank;
}

void ce_log_as_rank(int rank)
{
    thread_rank = rank;
}

static int own_rank(void)
{
    return thread_rank >= 0 ? thread_rank : process_rank;
}

int ce_log_is_speaker(void)
{
    return own_rank() == 0;
}

static const char *level_prefix(enum ce_log_level level)
{
    switch (level) {
    case CE_LOG_ERROR:
        return "error: ";
    case CE_LOG_WARN:
        return "warning: ";
    case CE_LOG_INFO:
    case CE_LOG_DEBUG:
        break;
    }
    return "";
}

/* Messages quote names from files that are not trusted: no control character
 * of theirs reaches a terminal or breaks the line. */
static void blank_control_characters(char *line)
{
    for (unsigned char *c = (unsigned char *)line; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
}

void ce_log(enum ce_log_level level, const char *format, ...)
{
    char line[LINE_BYTES];
    char rank[32] = "";
    va_list args;

    if ((int)level > log_level) {
        return;
    }
    if (!ce_log_is_speaker()) {
        (void)snprintf(rank, sizeof(rank), "[rank %d]", own_rank());
    }
    size_t used =
        (size_t)snprintf(line, sizeof(line), "cemoe%s: %s", rank, level_prefix(level));
    va_start(args, format);
    (void)vsnprintf(line + used, sizeof(line) - used - 1, format, args);
    va_end(args);

    blank_control_characters(line);
    size_t length = strlen(line);

    line[length] = '\n';
    (void)fwrite(line, 1, length + 1, stderr);
}
