/*
 * The structure, by pg_dump and pg_restore and never by a second pg_dump of our own.
 *
 * schema_dump writes an archive of the source under a snapshot and its two scripts into a folder; schema_load reads
 * them (also after a restart); schema_restore_pre makes the tables; the post-data entries are run one by one, when
 * the planner says. What ran is recorded in pgtide.done in the same transaction, so each entry runs once whatever dies.
 *
 * The folder is the only memory of dump ids: when it is lost, pgtide.done means nothing (state_forget_done).
 */
#pragma once

#include <stdbool.h>

#include "pg/conn.h"
#include "pg/left_out.h"
#include "pg/schema_script.h"

struct schema_programs {
    const char *pg_dump; /* paths */
    const char *pg_restore;
    int major; /* 15 */
};

/*
 * The newest pair in $PGTIDE_PG_BINDIR (then only there), PATH and /usr/lib/postgresql. ERROR_CONFIG that names the
 * package to install when none is as new as `least_major`: pg_dump refuses a server newer than itself.
 */
MUST_USE struct error *schema_find_programs(struct arena *a, int least_major, const struct stop *stop,
                                            struct schema_programs *out);

struct schema_dump_options {
    const struct schema_programs *programs;
    const struct pg_endpoint *source;
    const char *folder;           /* <state>/schema; made when missing */
    const char *encoding;         /* of the source database, in which the files are written */
    const char *snapshot;         /* an exported one, alive until this returns */
    const char *const *leave_out; /* patterns of tables, as --exclude-table takes them */
    unsigned n_leave_out;
    bool with_publications;
    const char *application_name; /* "pgtide 0f3a… dump"; NULL: "pgtide dump" */
    const struct stop *stop;
};

/* ERROR_CONFIG with pg_dump's words when it fails, also when it lost its connection: the snapshot's holder knows. */
MUST_USE struct error *schema_dump(struct arena *a, struct schema_dump_options options);

/* Tables of which the user cannot even take the lock that a dump needs: their names in the first column. */
MUST_USE struct error *schema_unreadable_tables(struct pg_conn *source, struct arena *a, struct pg_rows *out);

/* A table of the dump. */
struct schema_table {
    uint32_t oid; /* on the source */
    int id;       /* dump id */
    const char *schema;
    const char *name; /* as the archive's list has it: newlines are replaced */
};

struct schema {
    struct arena *pre_arena; /* of `pre`; NULL: it was forgotten */
    struct script pre;
    struct script post;
    unsigned n_tables;
    struct schema_table *tables; /* by oid; filled when `pre` is forgotten, as the next two */
    unsigned n_extensions;
    const char **extensions;
};

/* The part before the data, in an arena of its own below `a`. *out_found is false when the folder holds no finished dump. */
MUST_USE struct error *schema_load_pre(struct arena *a, const char *folder, struct schema *out, bool *out_found);

/* Adds the part after the data. */
MUST_USE struct error *schema_load_post(struct arena *a, const char *folder, struct schema *schema);

/* What is restored is not needed any more, but for which tables and extensions it made: 100,000 are much text. */
void schema_forget_pre(struct arena *a, struct schema *schema);

/* NULL when the dump does not have it. After schema_forget_pre. */
const struct schema_table *schema_table_find(const struct schema *schema, uint32_t oid);

/*
 * Fills table_oid and its neighbours in the post-data entries; what was dropped meanwhile keeps 0. One query a
 * catalog.
 */
MUST_USE struct error *schema_resolve(struct pg_conn *source, struct arena *a, struct schema *schema);

/* The publication of the part after the data that an entry is, is a part of, or is about; NULL: none. */
const struct entry *schema_publication_of(const struct schema *schema, const struct entry *e);

/* Whether the object of an entry that has one (oid) is not on the source any more. */
MUST_USE struct error *schema_is_gone(struct pg_conn *source, const struct entry *e, bool *out_is_gone);

/*
 * Indexes and constraints that schema_resolve did not find get the table that they had in the dump. Where the target follows DDL they
 * are made there all the same: the statements that dropped them are still to come. Returns how many. After schema_forget_pre.
 */
unsigned schema_adopt_dropped(struct schema *schema);

/*
 * What of the scripts this target takes. Left out, each told (pg/left_out.h): OWNER TO, GRANT, REVOKE, DEFAULT
 * PRIVILEGES, policies and user mappings that name a role which is not there; OWNER TO a role that we may not
 * become; for a user who is no superuser also SET SESSION AUTHORIZATION (the grants stay) and comments on extensions.
 */
struct schema_target;

enum existing {
    EXISTING_NONE,   /* an object that is there already is an error */
    EXISTING_SHARED, /* what is no relation and belongs to none may be there: types, functions, extensions */
    EXISTING_ALL,
};

/*
 * Asks the target for its roles and our rights. `may_stay`: which objects are left as they are when they are there
 * already.
 */
MUST_USE struct error *schema_target_new(struct pg_conn *target, struct arena *a, const char *task,
                                         enum existing may_stay, struct left_out *left_out, struct schema_target **out);

/*
 * Runs the pre-data entries that are not done, in order, at most 200 a transaction. A failing entry is named with its
 * statement. `done` is called after each transaction with the number of entries behind us, NULL for none.
 */
MUST_USE struct error *schema_restore_pre(struct pg_conn *target, struct schema_target *t, const struct schema *schema,
                                          void (*done)(void *self, unsigned n_entries), void *self);

enum entry_part {
    ENTRY_WHOLE,    /* a foreign key that schema_can_validate_later is added NOT VALID */
    ENTRY_VALIDATE, /* its VALIDATE CONSTRAINT; other entries: nothing */
};

/* Whether a partitioned table's foreign key may be NOT VALID: from 18 on. */
bool schema_takes_unchecked_keys(const struct schema_target *t);

/* A foreign key on a partitioned table cannot be NOT VALID before 18. */
bool schema_can_validate_later(const struct entry *e, int target_version);

/*
 * One post-data entry, or its second part, in a transaction of its own with its record in pgtide.done. Nothing happens
 * when it is recorded already. Not to be used in two sessions for the same entry at once; `t` may be shared by threads.
 */
MUST_USE struct error *schema_run_entry(struct pg_conn *target, const struct schema_target *t, const struct entry *e,
                                        enum entry_part part);

/* What of it would be run, as text, for people. */
const char *schema_part_statement(struct arena *a, const struct entry *e, enum entry_part part);

bool schema_user_is_superuser(const struct schema_target *t);
