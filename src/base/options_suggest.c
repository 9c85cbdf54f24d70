/* options_suggest.c - which known name a mistyped one may have meant
 *
 * Distance: insertions, deletions, replacements and swaps of neighbours
 * (optimal string alignment). A name that begins with what was typed is one
 * step away, however long the rest is.
 */

#include "base/options_table.h"

#include <string.h>

#define LONGEST 63

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* Both at most LONGEST characters. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][LONGEST + 1];
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    size_t width = strlen(b);

    for (size_t j = 0; j <= width; j++) {
        before[j] = last[j] = j;
    }
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        row[0] = i;
        for (size_t j = 1; j <= width; j++) {
            size_t replaced = last[j - 1] + (a[i - 1] != b[j - 1]);

            row[j] = least(last[j] + 1, row[j - 1] + 1, replaced);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = least(row[j], before[j - 2] + 1, row[j]);
            }
        }
        size_t *free_row = before;
        before = last;
        last = row;
        row = free_row;
    }
    return last[width];
}

void ce_suggestion_offer(struct ce_suggestion *best,
                         const char *typed,
                         const char *candidate)
{
    size_t length = strlen(typed);
    size_t limit = length < 6 ? 1 : length / 3;

    if (length == 0 || length > LONGEST || strlen(candidate) > LONGEST) {
        return;
    }

    bool prefix = length > 1 && strncmp(typed, candidate, length) == 0;
    size_t distance = prefix ? 1 : edit_distance(typed, candidate);

    if (distance <= limit && (best->name == NULL || distance < best->distance)) {
        best->name = candidate;
        best->distance = distance;
    }
}
