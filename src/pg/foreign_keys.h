/*
 * Foreign keys that are NOT VALID on the target: which there are, what the source has of that name, and their VALIDATE.
 *
 * Text lives in `a`. Errors as those of any statement; rows that break a key are ERROR_DATA.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "pg/conn.h"

struct foreign_key {
    const char *table; /* schema.table, quoted where that is needed */
    const char *name;
    uint32_t oid;
    bool is_valid;
};

/* Without those that partitions have from their parents. */
MUST_USE struct error *foreign_keys_unchecked(struct pg_conn *conn, struct arena *a, struct foreign_key **out,
                                              unsigned *out_n);

/* *out_found is false when no table of that name has a foreign key of that name. */
MUST_USE struct error *foreign_keys_find(struct pg_conn *conn, struct arena *a, const char *table, const char *name,
                                         bool *out_found, struct foreign_key *out);

/* Its VALIDATE, as text. */
const char *foreign_key_validation(struct arena *a, const struct foreign_key *key);

MUST_USE struct error *foreign_keys_validate(struct pg_conn *conn, struct arena *a, const struct foreign_key *key);
