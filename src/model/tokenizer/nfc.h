/* nfc.h - Unicode normalization form C */

#ifndef CE_MODEL_TOKENIZER_NFC_H
#define CE_MODEL_TOKENIZER_NFC_H

#include "model/tokenizer/text.h"

/* True when `text` is in NFC for the simplest reason: no character from U+0300
 * on. False says nothing. */
bool ce_nfc_is_plain(struct ce_span text);

/* Appends the NFC of `text`, which is valid UTF-8. `codes` is scratch. The time
 * is linear in the text, also for long runs of combining marks. */
CE_MUST_CHECK enum ce_status ce_nfc_append(struct ce_text *out,
                                           struct ce_span text,
                                           struct ce_ids *codes,
                                           struct ce_error *err);

#endif
