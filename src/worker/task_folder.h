/*
 * The state folder of one pair, and the little file in it that says what pgtide means to make where (R1).
 *
 * The file is replaced as a whole and synced before anything is made on a server, and again after things were removed.
 * The folder's lock is held for the life of the process that syncs; whoever holds it may believe that every session with this
 * task's id on a server belongs to a dead process.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "sys/file.h"

/* What the file says. Texts live in the arena given. */
struct task_record {
    const char *id;     /* 12 hexadecimal digits */
    const char *source; /* names for people, as pg_endpoint_name gives them */
    const char *target;
    const char *slot;        /* on the source */
    const char *publication; /* on the source */
    bool owns_slot;          /* false: --slot or --publication named one that somebody else made */
    bool owns_publication;
    bool is_once;          /* --type full: ends with the copy; made nothing on the source */
    bool has_no_copy;      /* --type incremental: structure and rows were on the target before */
    unsigned dml;          /* kinds of changes that are carried: enum dml_kind; never 0 */
    bool has_publications; /* --with-publications: the source's publications are carried, too */
    bool is_selected;      /* table level: file `selection` says which relations (worker/selecting.h) */
    bool has_ddl;          /* the capture of DDL is, or is about to be, on the source */
    bool
        counts_are_lost; /* the spool was lost and begun anew: it and the target count transactions from other places */
    const char *reset_reason; /* why the task has to begin anew, or NULL: we dropped the slot for the source's sake */
    bool is_stopping;         /* a normal stop had everything applied and began to remove: only that is left to do */
    bool is_completed;        /* a normal stop removed everything; only the log is left */
    const char *completed_at; /* position of the last transaction applied, when completed; or NULL */
};

/* The folder of a pair under `root`: `<root>/<16 hexadecimal digits>`, from the keys of both endpoints. In `a`. */
char *task_folder_path(struct arena *a, const char *root, const char *source_key, const char *target_key);

/* *out_record is NULL when there is none. ERROR_DATA for a file that is no such record, naming it and what to do. */
MUST_USE struct error *task_record_read(struct arena *a, const char *folder, struct task_record **out_record);
MUST_USE struct error *task_record_write(const char *folder, const struct task_record *record);

/* A new record with a random id and the names derived from it. */
MUST_USE struct error *task_record_new(struct arena *a, const char *source, const char *target,
                                       struct task_record **out_record);

/* Takes the lock of the folder, made when missing. ERROR_CONFIG naming the process that holds it. */
MUST_USE struct error *task_folder_lock(struct arena *a, const char *folder, const char *pair,
                                        struct file_lock **out_lock);
