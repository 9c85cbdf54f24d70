/* text_file.h - a file that should be text, as Python reads it in text mode
 *
 * Lines may end in LF, CR LF or CR, a byte order mark may stand before the first (the
 * encoding "utf-8-sig"): what editors on other systems write. What is no text at all,
 * or of another encoding, is refused by name.
 */

#ifndef CE_BASE_TEXT_FILE_H
#define CE_BASE_TEXT_FILE_H

#include "base/status.h"

#include <stddef.h>

/* Fails where the bytes begin as an archive, a table or UTF-16 does; `path` is for the
 * message. Else it says nothing of what they are. */
CE_MUST_CHECK enum ce_status
ce_text_check(const char *text, size_t bytes, const char *path, struct ce_error *err);

/* The bytes of a byte order mark of UTF-8 at the beginning: 3 or 0. */
size_t ce_text_mark(const char *text, size_t bytes);

/* Checks the text, and in place takes the mark away and ends every line with LF. */
CE_MUST_CHECK enum ce_status
ce_text_clean(char *text, size_t *bytes, const char *path, struct ce_error *err);

/* ce_file_read_input and ce_text_clean. The caller frees *text. */
CE_MUST_CHECK enum ce_status ce_text_file_read(
    const char *path, size_t limit, char **text, size_t *bytes, struct ce_error *err);

#endif
