/*
 * Makes two statements of pg_dump's one for a primary key or a UNIQUE constraint: CREATE UNIQUE INDEX, and ADD CONSTRAINT … USING INDEX.
 *
 * Adding the constraint at once takes ACCESS EXCLUSIVE for as long as its index is built; CREATE INDEX takes SHARE, so that the other
 * indexes of the table are built at the same time, and the constraint is a moment at the end. Both are as the one statement would
 * have made them: the constraint's index has its name, columns of a constraint have neither collation nor operator class of their own, and
 * what the settings before the statement say (default_tablespace) holds for CREATE INDEX, too.
 *
 * Pure. What is not one of these (exclusion constraints, keys WITHOUT OVERLAPS, foreign keys) stays whole.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"

struct schema_key {
    const char *index_sql;
    const char *constraint_sql;
};

/* False when the statement is none that can be divided. Not for partitioned tables, whose keys take no index. */
bool schema_key_divide(struct arena *a, const char *statement, struct schema_key *out);
