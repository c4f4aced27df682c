/*
 * What tables a database has and what columns they have, and what somebody changed about that.
 *
 * Where DDL is not carried it is not guessed either: the structure as it was dumped is compared with the one there is now, and what
 * is different must be done on the target, too. Pure; allocates in the arena given.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"

struct structure_entry {
    const char *key;        /* the same as long as it is the same thing, whatever its name: "t 16384", "c 16384 2" */
    const char *parent;     /* the table's key; "" for a table or type */
    const char *name;       /* `table "public.a"`, `column "x"` */
    const char *definition; /* `integer` */
};

struct structure {
    struct structure_entry *entries; /* ascending by key, as bytes are compared */
    unsigned n;
};

struct structure_change {
    const char *what; /* `column "x" (integer) of table "public.a" was added` */
    const char *key;
    bool is_new_table;
};

/*
 * What is different between `before` and `now`, without what `there` (the target, whose keys are others) has as it is now. The columns of
 * a new or dropped table are not named.
 */
struct structure_change *structure_changes(struct arena *a, const struct structure *before, const struct structure *now,
                                           const struct structure *there, unsigned *out_n);
