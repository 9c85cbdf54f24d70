/* character.h - the classes of characters that added tokens look at */

#ifndef CE_MODEL_TOKENIZER_CHARACTER_H
#define CE_MODEL_TOKENIZER_CHARACTER_H

#include <stdbool.h>
#include <stdint.h>

/* \s and \w as UTS 18 defines them: White_Space; Alphabetic, marks, decimal
 * numbers, connector punctuation and the two joiners. */
bool ce_character_is_space(uint32_t code);
bool ce_character_is_word(uint32_t code);

#endif
