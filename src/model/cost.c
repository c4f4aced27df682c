#include "model/cost.h"

enum {
    UNKNOWN_SHARE = 5, /* of its table, an index whose size is not known */
    /*
     * Measured on 15, both servers on two cores: three indexes of 540 MB (integers, texts, both) of a table of 760 MB took as long as
     * some 950 MB of such a table. The sort costs most; reading the table, from memory, little.
     */
    SORT_TIMES = 3,
    SORT_OF = 2,
    SCAN_SHARE = 16,
    ANALYZE_SHARE = 2,
    ANALYZE_OBJECT_SHARE = 8,
    KEY_SHARE = 6, /* 760 MB in two seconds there */
};

#define ANALYZE_BYTES_MAX (UINT64_C(30000) * 8192) /* default_statistics_target of 100: 300 pages for each of these */

uint64_t cost_rows(uint64_t table_bytes)
{
    return COST_OBJECT + table_bytes;
}

uint64_t cost_index(uint64_t index_bytes, uint64_t table_bytes)
{
    uint64_t bytes = index_bytes != 0 ? index_bytes : table_bytes / UNKNOWN_SHARE;

    return COST_OBJECT + bytes * SORT_TIMES / SORT_OF + table_bytes / SCAN_SHARE;
}

uint64_t cost_analyze(uint64_t table_bytes)
{
    uint64_t read = table_bytes < ANALYZE_BYTES_MAX ? table_bytes : ANALYZE_BYTES_MAX;

    return COST_OBJECT / ANALYZE_OBJECT_SHARE + read / ANALYZE_SHARE;
}

uint64_t cost_foreign_key(uint64_t table_bytes)
{
    return COST_OBJECT + table_bytes / KEY_SHARE;
}
