/* token_table.c - from the id of a token to its text, ready to be decoded */

#include "model/tokenizer/token_table.h"

#include <stdlib.h>

enum ce_status
ce_token_table_init(struct ce_token_table *table, size_t size, struct ce_error *err)
{
    table->entry = calloc(size + 1, sizeof(*table->entry));
    if (table->entry == NULL) {
        return ce_fail(err, CE_ERR_NOMEM, "out of memory for %zu tokens", size);
    }
    table->size = size;
    return CE_OK;
}

void ce_token_table_fini(struct ce_token_table *table)
{
    free(table->entry);
    ce_text_free(&table->text);
}

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'A' && digit <= 'F') {
        return digit - 'A' + 10;
    }
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* <0xXX> */
static int16_t byte_of(struct ce_span text)
{
    if (text.bytes != 6 || text.data[0] != '<' || text.data[1] != '0' ||
        text.data[2] != 'x' || text.data[5] != '>') {
        return -1;
    }
    int high = hex_digit(text.data[3]);
    int low = hex_digit(text.data[4]);

    return (int16_t)(high < 0 || low < 0 ? -1 : high * 16 + low);
}

enum ce_status ce_token_table_set(struct ce_token_table *table,
                                  int32_t id,
                                  size_t start,
                                  struct ce_error *err)
{
    struct ce_token_entry *entry = &table->entry[id];

    if (table->text.bytes > UINT32_MAX) {
        return ce_fail(err, CE_ERR_NOMEM, "the texts of all tokens exceed 4 GiB");
    }
    entry->known = true;
    entry->offset = (uint32_t)start;
    entry->bytes = (uint32_t)(table->text.bytes - start);
    entry->byte = byte_of(ce_token_table_text(table, entry));
    return CE_OK;
}

const struct ce_token_entry *ce_token_table_find(const struct ce_token_table *table,
                                                 int32_t id)
{
    if (id < 0 || (size_t)id >= table->size || !table->entry[id].known) {
        return NULL;
    }
    return &table->entry[id];
}

struct ce_span ce_token_table_text(const struct ce_token_table *table,
                                   const struct ce_token_entry *entry)
{
    return (struct ce_span){.data = table->text.data + entry->offset,
                            .bytes = entry->bytes};
}
