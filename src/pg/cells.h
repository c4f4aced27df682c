/* Cells of a catalog query as values. NULL reads as 0 or false: our queries coalesce where that would be wrong. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/relation.h"

static inline uint64_t cell_u64(const char *cell)
{
    return cell == NULL ? 0 : strtoull(cell, NULL, 10);
}

static inline int64_t cell_i64(const char *cell)
{
    return cell == NULL ? 0 : strtoll(cell, NULL, 10);
}

/* oids, counts */
static inline uint32_t cell_u32(const char *cell)
{
    return (uint32_t)cell_u64(cell);
}

static inline int cell_int(const char *cell)
{
    return (int)cell_i64(cell);
}

/* 'true' of boolean::text, 't' of the output function, 'on' of a setting */
static inline bool cell_bool(const char *cell)
{
    return cell != NULL && (cell[0] == 't' || strcmp(cell, "on") == 0);
}

/* "char" */
static inline char cell_char(const char *cell)
{
    return cell == NULL ? '\0' : cell[0];
}

/* pg_class.relreplident */
static inline enum replica_identity cell_identity(const char *cell)
{
    switch (cell_char(cell)) {
    case 'n':
        return IDENTITY_NOTHING;
    case 'f':
        return IDENTITY_FULL;
    case 'i':
        return IDENTITY_INDEX;
    default:
        return IDENTITY_DEFAULT;
    }
}
