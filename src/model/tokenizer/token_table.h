/* token_table.h - from the id of a token to its text, ready to be decoded */

#ifndef CE_MODEL_TOKENIZER_TOKEN_TABLE_H
#define CE_MODEL_TOKENIZER_TOKEN_TABLE_H

#include "model/tokenizer/text.h"

struct ce_token_entry {
    uint32_t offset;
    uint32_t bytes;
    int16_t byte; /* the byte a token like <0x0A> stands for, or -1 */
    bool known;
    bool added;
    bool special;
};

struct ce_token_table {
    size_t size; /* highest id + 1 */
    struct ce_token_entry *entry;
    struct ce_text text;
};

/* `table` is zeroed before; fini also after a failure. */
CE_MUST_CHECK enum ce_status
ce_token_table_init(struct ce_token_table *table, size_t size, struct ce_error *err);
void ce_token_table_fini(struct ce_token_table *table);

/* Makes the text that was appended to table->text since it had `start` bytes
 * that of a token, in place of what it was before. */
CE_MUST_CHECK enum ce_status ce_token_table_set(struct ce_token_table *table,
                                                int32_t id,
                                                size_t start,
                                                struct ce_error *err);

/* NULL when there is no such token. */
const struct ce_token_entry *ce_token_table_find(const struct ce_token_table *table,
                                                 int32_t id);
struct ce_span ce_token_table_text(const struct ce_token_table *table,
                                   const struct ce_token_entry *entry);

#endif
