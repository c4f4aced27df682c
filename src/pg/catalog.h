/*
 * What the catalogs of a server say: the server itself, and all its tables with their columns, by set queries, one
 * each, so that 100,000 tables work.
 *
 * Everything returned lives in the arena given and is immutable. The functions run on any session; inside a snapshot
 * they describe that snapshot, but for sizes and pg_relation_filenode, which are of now.
 * Source: manual, "System Catalogs" and "System Information Functions", 10 to 18.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/relation.h"
#include "pg/conn.h"

/* (P6) What tells this server's history from every other one, and what a synchronization must know of it. */
struct server_facts {
    int version_number;  /* 150018 */
    const char *version; /* "15.18 (Debian …)" */
    const char *system_identifier;
    uint32_t timeline;
    uint32_t database_oid;
    const char *database;
    const char *encoding; /* of the database */
    const char *collate;
    const char *ctype;
    const char *locale_provider; /* "c" libc, "i" ICU, "b" builtin */
    const char *provider_locale; /* ICU or builtin locale; NULL for libc */
    bool is_in_recovery;
    const char *wal_level;
    unsigned max_replication_slots;
    unsigned replication_slots_used;
    unsigned max_wal_senders;
    unsigned wal_senders_used;
    unsigned max_connections;
    unsigned max_locks_per_transaction;
    const char *user;
    bool user_is_superuser;
    bool user_may_replicate; /* REPLICATION or superuser */
    bool is_local;           /* on our machine: pg_conn_is_local */
};

/* Any user may ask this. ERROR_CONFIG with a GRANT as hint where EXECUTE on pg_control_system() was taken away. */
MUST_USE struct error *catalog_server(struct pg_conn *c, struct arena *a, struct server_facts *out);

enum column_generated {
    GENERATED_NOT,
    GENERATED_STORED,
    GENERATED_VIRTUAL, /* 18 */
};

struct catalog_column {
    const char *name;
    int16_t attnum;
    uint32_t type;
    const char *type_text; /* "numeric(10,2)", schema-qualified outside of pg_catalog */
    enum column_generated generated;
    bool is_identity; /* GENERATED … AS IDENTITY: INSERT with a value needs OVERRIDING SYSTEM VALUE, COPY does not */
    bool is_not_null;
    bool in_identity; /* part of the replica identity */
};

struct catalog_table {
    uint32_t oid;
    const char *schema;
    const char *name;
    char persistence; /* 'p' permanent, 'u' unlogged */
    bool is_partition;
    bool is_heap;         /* access method heap: ctid ranges mean pages */
    uint32_t relfilenode; /* (F11) of the snapshot; differs from pg_relation_filenode(oid) when rewritten since */
    uint64_t heap_bytes;
    uint64_t toast_bytes;
    double rows_estimated;          /* pg_class.reltuples; negative before 14 never, from 14 on when never analyzed */
    enum replica_identity identity; /* as declared */
    bool has_usable_identity;       /* UPDATE and DELETE can be published */
    unsigned n_columns;             /* without dropped ones, in attnum order */
    struct catalog_column *columns; /* tables that are alike share them: not to be written to */
};

/*
 * Every table whose rows are copied: ordinary tables and leaf partitions, permanent and unlogged. Not temporary
 * ones, not those of extensions, of pg_catalog, information_schema and pgtide. Sorted by schema, then name, bytewise.
 */
struct catalog {
    unsigned n_tables;
    struct catalog_table *tables;
};

MUST_USE struct error *catalog_read(struct pg_conn *c, struct arena *a, struct catalog *out);

/* NULL when there is none. */
const struct catalog_table *catalog_find(const struct catalog *c, const char *schema, const char *name);
const struct catalog_column *catalog_column_find(const struct catalog_table *t, const char *name);

/*
 * Creates the target's database with encoding and locale of the source; `maintenance` is a session on another
 * database.
 */
MUST_USE struct error *catalog_create_database(struct pg_conn *maintenance, struct arena *a, const char *database,
                                               const struct server_facts *source);
