/*
 * Publications on the source: what the slot's stream will hold. (G1) Complete before the slot is made and not altered while tables
 * are written to.
 *
 * A task makes at most two: NAME with all operations and, when some tables have no identity, NAME_inserts for these with
 * publish = 'insert, truncate' (published with all operations, their UPDATE and DELETE would fail on the source).
 * Manual: CREATE PUBLICATION. publish_via_partition_root stays false: leaves are what the stream names (F5).
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "pg/chosen.h"
#include "pg/conn.h"

struct pg_publication_table {
    const char *schema;
    const char *name;
    bool inserts_only; /* no usable identity */
};

struct pg_publication_plan {
    const char *name;
    bool all_tables; /* FOR ALL TABLES, new ones join by themselves; `tables` must then be empty. Needs superuser */
    const struct pg_publication_table *tables;
    unsigned n_tables;
};

/* Names that START_REPLICATION must be given, in `a`: one or two. */
struct pg_publication_names {
    const char *names[2];
    unsigned n;
};
struct pg_publication_names pg_publication_names(struct arena *a, const struct pg_publication_plan *plan);

/*
 * Whether this session's user can make a publication of all tables, or those chosen: a superuser, or with CREATE on the
 * database the owner (or a member of the owner) of every one.
 */
MUST_USE struct error *pg_publication_may_be_made(struct pg_conn *source, const struct chosen *chosen, bool *out_may);

/*
 * Makes what the plan says; one of these names that exists and is exactly as planned is adopted, another is made anew. Both in one
 * transaction. The caller has recorded the intent (R1) and has no slot yet (G1).
 */
MUST_USE struct error *pg_publication_create(struct pg_conn *source, const struct pg_publication_plan *plan);

/* NAME and NAME_inserts; missing ones are fine. The error says what stays behind. */
MUST_USE struct error *pg_publication_drop(struct pg_conn *source, const char *name);

struct pg_publication_facts {
    bool exists;
    bool all_tables;
    bool has_insert, has_update, has_delete, has_truncate;
    bool via_root;
    unsigned n_tables; /* published by it, leaves of partitioned tables counted each */
};

/*
 * What lost its key, or was made without one, could not be updated on the source any more: such tables of the publication get REPLICA IDENTITY FULL,
 * with little patience for locks. *out_done names those that have it now, *out_failed the first one that could not get it, with the reason; NULL: none.
 */
MUST_USE struct error *pg_publication_mend_keyless(struct pg_conn *source, struct arena *a, const char *name,
                                                   const char **out_done, const char **out_failed);

/* Made by a task, of this pair or another: "pgtide_", 12 hexadecimal digits, and what of it there is a second one for. */
bool pg_publication_is_ours(const char *name);

/* For one that the user named. */
MUST_USE struct error *pg_publication_read(struct pg_conn *source, const char *name, struct pg_publication_facts *out);

/* Tables (of those chosen) that it does not hold in whole, as quoted names with the reason; in `a`, sorted. */
MUST_USE struct error *pg_publication_lacks(struct pg_conn *source, struct arena *a, const char *name,
                                            const struct chosen *chosen, char ***out_tables, unsigned *out_n);
