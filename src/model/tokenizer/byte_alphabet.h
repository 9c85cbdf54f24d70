/* byte_alphabet.h - the printable characters that byte-level vocabularies use
 *
 * 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF stand for themselves; the other 68 bytes,
 * in ascending order, are U+0100, U+0101, ...: the space is U+0120.
 * Source: GPT-2, encoder.py, bytes_to_unicode.
 */

#ifndef CE_MODEL_TOKENIZER_BYTE_ALPHABET_H
#define CE_MODEL_TOKENIZER_BYTE_ALPHABET_H

#include "model/tokenizer/text.h"

/* Writes the bytes that `text` spells, at most text.bytes, and their number.
 * False when it has a character that is not of the alphabet. */
bool ce_byte_alphabet_decode(struct ce_span text, char *out, size_t *bytes);

#endif
