/*
 * How a relation of the stream is written on the target: read from the target's catalog, once a version of the relation.
 *
 * A resolver has a session of its own, opened at the first question and again after it broke, and belongs to one thread.
 * What it returns is immutable, lives in the arena it was asked with, and is read by any lane (struct target_table.handle
 * is a struct table_plan, for pg/target alone).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "pg/conn.h"
#include "pg/deferred_key.h"
#include "pg/endpoint.h"
#include "ports/target.h"
#include "sys/stop.h"

struct pg_table_resolver_options {
    const struct pg_endpoint *endpoint; /* the target */
    const char *application_name;       /* "pgtide 0f3a… resolver" */
    const char *encoding;               /* of the source: names are asked for as it has them */
    const struct stop *stop;            /* NULL: cannot be stopped */
};

struct pg_table_resolver;

struct pg_table_resolver *pg_table_resolver_new(struct arena *a, struct pg_table_resolver_options options);
void pg_table_resolver_close(struct pg_table_resolver *r);
DEFINE_CLEANUP(struct pg_table_resolver, pg_table_resolver_close);

/*
 * As target_ops.table: gate is NULL and mode is never TABLE_IGNORED, both are the caller's to set. ERROR_CONFIG names the table,
 * column or unique index that is missing; ERROR_TRANSIENT when the target cannot be asked now (tries once).
 */
MUST_USE struct error *pg_table_resolve(struct pg_table_resolver *r, struct arena *a,
                                        const struct stream_relation *relation, struct target_table **out);

/* The same on a session that is given: inside its transaction, which may have changed tables. */
MUST_USE struct error *pg_table_resolve_on(struct pg_conn *conn, struct arena *a,
                                           const struct stream_relation *relation, struct target_table **out);

/* A column of the relation, as the target has it. */
struct column_plan {
    const char *name; /* quoted */
    const char *cast; /* the column's type for an explicit cast: qualified and quoted as needed */

    /* What a parameter is declared as: the column's type, a domain's base type. */
    uint32_t type;
    uint32_t array_type; /* 0: there is none */
    char delimiter;      /* of elements in a text array: ',' but for box */

    /* A binary value of another built-in type than the target's: declared as what it is, and cast. 0: same type. */
    uint32_t foreign_type;
    uint32_t foreign_array_type;

    const char
        *equals;   /* "=" or "OPERATOR(\"s\".=)" of the type's (for keys: the index's) btree equality; NULL: none */
    bool is_exact; /* that equality holds only for identical values (not so for numeric, float8, citext …) */
    bool is_unnestable;      /* (F12) unnest gives one value an element: neither array nor composite */
    bool is_written;         /* false: generated */
    bool is_always_identity; /* GENERATED ALWAYS AS IDENTITY: INSERT may override, UPDATE may not */
};

struct table_plan {
    uint64_t id;       /* of this plan, never used twice in a process */
    uint32_t oid;      /* on the target */
    const char *label; /* "schema.table" for messages */
    const char *name;  /* "schema"."table", quoted */
    const char
        *only; /* "ONLY " for a plain table, "" for a partitioned one: rows of inheritance children are not ours */
    unsigned n_columns; /* of the relation */
    const struct column_plan *columns;
    unsigned n_extra;         /* further columns of the target that a row keeps when it is deleted and inserted again */
    const char *const *extra; /* quoted */
    bool has_always_identity;
    struct deferred_keys deferred;
    bool is_simple; /* a plain table without triggers and rules that fire for replicas */
};
