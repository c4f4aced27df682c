/*
 * Logical replication slots on the source.
 *
 * Protocol: "Streaming Replication Protocol", CREATE_REPLICATION_SLOT; manual: pg_replication_slots. A session belongs to one
 * thread; all errors name the slot. (R1) The caller records the intent before create and the removal after drop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/lsn.h"
#include "pg/conn.h"

/* Slots and publications of pgtide: "pgtide_" and 12 hexadecimal digits. */
#define PG_SLOT_PREFIX "pgtide_"

struct pg_slot_create_options {
    const char *name;
    const char *plugin; /* "test_decoding"; NULL: pgoutput */
    bool is_temporary;  /* gone with the session */
    int timeout_ms;     /* ERROR_TRANSIENT after it; 0: none */

    /*
     * Creation waits for every transaction that runs when it begins, on a standby for a record of the primary's. After 5 s, and every
     * 30 s, `waiting` is told for what.
     */
    struct pg_conn *observer; /* an ordinary session on the source; NULL: nobody is told */
    void (*waiting)(void *self,
                    const char *what); /* "transactions that run on the source: pid 4711 (app, 12 s): update …" */
    void *self;
};

struct pg_slot_created {
    struct lsn consistent_point; /* commits at or after it are in the stream, those before it in the snapshot */
    const char *snapshot;        /* to import while `replication` lives and runs nothing else; in the arena given */
};

/*
 * `replication` was opened with pg_connect_options.replication. ERROR_TRANSIENT also for a snapshot that had too many transactions
 * to be exported (40001). A slot of that name that exists is ERROR_CONFIG.
 */
MUST_USE struct error *pg_slot_create(struct pg_conn *replication, struct arena *a,
                                      const struct pg_slot_create_options *options, struct pg_slot_created *out);

/*
 * Trap of PostgreSQL's: a transaction that changes a catalog before the slot being made keeps track of such things (it waits
 * first for those that run when it begins) and commits after that is not known to have changed it. What others write from then
 * on to the consistent point is decoded, for ever, with a catalog that is too old: "could not map filenode", or without a
 * column and without a word. So take a mark before pg_slot_create and, if anything changed since, make the slot again.
 * Temporary tables do not count.
 */
MUST_USE struct error *pg_catalog_mark(struct pg_conn *source, struct arena *a, char **out_mark);
MUST_USE struct error *pg_catalog_changed_since(struct pg_conn *source, struct arena *a, const char *mark,
                                                bool *out_changed);

/*
 * Missing is fine. A walsender of ours (application_name "pgtide …") that still holds it is terminated; one of somebody else
 * is an error that names it. Gives up after 30 s; the error says what the slot costs while it stays.
 */
MUST_USE struct error *pg_slot_drop(struct pg_conn *source, const char *name);

struct pg_slot_facts {
    const char *name;
    const char *plugin;
    const char *database;    /* NULL: a physical slot */
    int active_pid;          /* 0: nobody reads it */
    struct lsn restart;      /* WAL from here on is kept */
    struct lsn confirmed;    /* what we said may be forgotten */
    const char *wal_status;  /* "reserved", "extended", "unreserved", "lost"; "" before 13 */
    uint64_t retained_bytes; /* WAL behind the current insert position that is kept for it */
};

/* *out_exists is false when there is none. Texts in `a`. */
MUST_USE struct error *pg_slot_read(struct pg_conn *source, struct arena *a, const char *name, bool *out_exists,
                                    struct pg_slot_facts *out);

/* All whose name begins with PG_SLOT_PREFIX, by name, also those of other databases of the server. */
MUST_USE struct error *pg_slot_list(struct pg_conn *source, struct arena *a, struct pg_slot_facts **out_slots,
                                    unsigned *out_n);
