/* request_table_parts.h - how a request table is laid out, for the files that write and
 * read one */

#ifndef CE_EVAL_REQUEST_TABLE_PARTS_H
#define CE_EVAL_REQUEST_TABLE_PARTS_H

#include <stdint.h>

#define CE_REQUEST_TABLE_MAGIC UINT64_C(0x3130303051455243) /* "CREQ0001" */

struct ce_request_header {
    uint64_t magic;
    uint64_t requests;
    uint64_t settings;
    uint64_t stops;
    uint64_t tokens;
    uint64_t text_bytes;
};

struct ce_request_entry {
    uint64_t first_token;
    uint64_t key;
    uint32_t tokens;
    uint32_t scored;
    uint32_t max_new_tokens;
    uint32_t group;
    uint32_t settings;
    uint32_t query;
    uint32_t dropped;
    uint32_t zero;
};

struct ce_settings_entry {
    double temperature;
    double top_p;
    uint64_t seed;
    uint32_t first_stop;
    uint32_t stops;
};

struct ce_stop_entry {
    uint64_t offset;
    uint64_t bytes;
};

/* Sections follow each other without gaps, and each begins where its type may. */
_Static_assert(sizeof(struct ce_request_header) == 48, "part of the layout");
_Static_assert(sizeof(struct ce_request_entry) == 48, "part of the layout");
_Static_assert(sizeof(struct ce_settings_entry) == 32, "part of the layout");
_Static_assert(sizeof(struct ce_stop_entry) == 16, "part of the layout");

#endif
