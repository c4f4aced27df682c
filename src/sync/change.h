/*
 * One change of the source as the engine keeps it: an event made ready to be written.
 *
 * Plain values. Rows and keys point into the window's arena.
 */
#pragma once

#include <stddef.h>

#include "base/arena.h"
#include "ports/stream.h"
#include "ports/target.h"

/* The tables of one TRUNCATE that their gates let through. */
struct change_truncate {
    const struct target_table *const *tables;
    unsigned n_tables;
    bool restart_identity;
};

struct change {
    const struct target_table *table; /* NULL: `truncate` */
    enum batch_op op;
    const struct value *key; /* KEYED: n_key values, of the old row (INSERT: of the new). UNKEYED: the full old row */
    const struct value *new_row; /* relation->n_columns values; NULL for DELETE */
    const struct value *old_row; /* the whole row as it was, where the source sent it (identity full); else NULL */
    const struct change_truncate *truncate;
    const char *refusal; /* why this cannot be applied to any row, for the exact path to say; else NULL */
};

/* The event is an INSERT, UPDATE or DELETE of the table's relation. What has to be made lives in `a`, the rest in the event's arena. */
struct change change_from_event(struct arena *a, const struct target_table *table, const struct event *event);

/* The values of the key columns: a part of `row` where they stand together, else in `a`. */
const struct value *change_key_of(struct arena *a, const struct target_table *table, const struct value *row);

/* As ports/target.h wants it. */
struct row_change change_as_row(const struct change *c);

/*
 * The new row with what is UNCHANGED taken from the old one, for inserting it whole. NULL when the source did not send
 * what is missing. Lives in `a` or is new_row itself.
 */
const struct value *change_whole_row(struct arena *a, const struct change *c);

/* `UPDATE of table "public.t", key (id, region) = (5, \x0001)`, values shortened. Binary values of types that
 * are simple are shown as their text. In `a`. */
const char *change_describe(struct arena *a, const struct change *c);

/* The same and, where it brings one, the new row: `…, new row (id, v) = (5, x)`. */
const char *change_describe_whole(struct arena *a, const struct change *c);

/* smallint, integer, bigint; and such a value, VALUE_BINARY, of at most eight bytes. */
bool change_is_integer(uint32_t type);
int64_t change_integer(const struct value *v);

const char *batch_op_name(enum batch_op op);
