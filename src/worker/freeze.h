/*
 * The freeze of a source for the cutover: nobody may write, and everything can be undone.
 *
 *     record -> read-only default of the database -> sessions ended -> tables locked in SHARE MODE
 *
 * (R1) The file `cutover` of the state folder says what the database's own setting was before anything is changed, so that any
 * later command on this pair can undo what a dead process left. The locks die with their session. They are left out where
 * the user may not take them or the server has no room for them: then the marker alone proves that nobody wrote (C2).
 *
 * What can pass: a session that sets transaction_read_only to off by itself, as long as there are no locks; nextval, which
 * neither stops. Manual: ALTER DATABASE, default_transaction_read_only, LOCK. Everything belongs to one thread.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "pg/conn.h"
#include "pg/endpoint.h"
#include "sys/file.h"

/* What the file says. Texts live in the arena given. */
struct freeze_record {
    const char *task;
    bool is_frozen;     /* the read-only default was set, or was about to be */
    const char *before; /* the database's own default_transaction_read_only before; NULL: it had none */
    bool is_ending;     /* the cutover was about to ask for the stop: a sync that has stopped was stopped by it */
    bool is_completed;  /* the cutover came to its end: the source stays frozen on purpose */
};

/* *out_record is NULL when there is none. */
MUST_USE struct error *freeze_read(struct arena *a, const char *folder, struct freeze_record **out_record);
MUST_USE struct error *freeze_write(const char *folder, const struct freeze_record *record);

/* One cutover at a time: `cutover.lock` of the folder. ERROR_CONFIG naming the process that holds it. */
MUST_USE struct error *freeze_lock(struct arena *a, const char *folder, const char *pair, struct file_lock **out_lock);

struct freeze {
    struct arena *arena;
    struct pg_endpoint *source;
    const char *folder;
    struct stop *stop;
    struct freeze_record record;
    struct pg_conn *locker;     /* its transaction holds the locks; NULL: none are held */
    unsigned n_ended;           /* sessions */
    unsigned n_locked;          /* tables */
    const char *why_not_locked; /* NULL when they are */
};

/*
 * All steps, over `session` on the source. A freeze that a dead process left is taken over: record.before stays what it was. After
 * an error freeze_undo puts back what was done.
 */
MUST_USE struct error *freeze_begin(struct freeze *f, struct pg_conn *session);

/* The locks are held still. ERROR_TRANSIENT when their session was lost: somebody may have written. */
MUST_USE struct error *freeze_check(struct freeze *f);

/* Gives the locks up; the read-only default stays. */
void freeze_release_locks(struct freeze *f);

/*
 * Puts the database's setting back and ends the sessions that began meanwhile, as they would stay read-only. Connects by
 * itself, once; a stop that was asked for does not keep it from working. The error says what is left and how to undo it by hand.
 */
MUST_USE struct error *freeze_undo(struct arena *a, struct pg_endpoint *source, const char *folder,
                                   struct freeze_record *record);

/* What would keep freeze_begin from working: the user's rights. NULL when nothing does; else what to grant. */
MUST_USE struct error *freeze_missing_right(struct pg_conn *session, struct arena *a, const char **out_missing);
