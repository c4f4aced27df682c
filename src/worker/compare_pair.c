#include "worker/compare_pair.h"

#include "pg/catalog.h"
#include "pg/state.h"

MUST_USE static struct error *note_standby(struct compare_sides *s, struct pg_conn *conn, const char *side,
                                           struct compare_collector *c)
{
    char *position = NULL;

    TRY(pg_query_text(conn, s->arena, "asking up to where the standby has replayed",
                      "SELECT pg_last_wal_replay_lsn()::text", NULL, 0, &position));
    compare_note(c, arena_printf(s->arena,
                                 "The %s is a standby: what it had replayed was compared, up to %s; what its primary "
                                 "committed later is not in it.",
                                 side, position == NULL ? "an unknown position" : position));
    return NULL;
}

/* The schema may be another user's, and a query that fails would end the transaction of a session that compares: one of its own. */
MUST_USE static struct error *find_task(struct compare_sides *s, const struct server_facts *source,
                                        const char **out_task)
{
    CLEANUP(pg_conn_close) struct pg_conn *conn = NULL;
    struct state_task *tasks = NULL;
    unsigned n = 0;

    *out_task = NULL;
    TRY(compare_sides_connect_writer(s, &conn));
    TRY(state_tasks(conn, s->arena, &tasks, &n));
    for (unsigned i = 0; i < n && *out_task == NULL; i++)
        if (strcmp(tasks[i].source_system, source->system_identifier) == 0 &&
            tasks[i].source_database_oid == source->database_oid)
            *out_task = tasks[i].task;
    return NULL;
}

/* Nobody is to be told that there is none when nobody could look: a comparison says so, a repair is refused. */
MUST_USE static struct error *judge_unseen(struct compare_sides *s, struct error *err, bool repairs,
                                           struct compare_collector *c)
{
    if (error_kind(err) == ERROR_CANCELLED)
        return err;
    if (repairs)
        return error_hint(
            error_wrap(err, "cannot repair the target: whether a synchronization to it exists cannot be seen"),
            "Give a user who may read the schema pgtide of the target: one that goes on later would "
            "apply older changes to the repaired rows.");
    compare_note(c, arena_printf(s->arena,
                                 "Whether a synchronization of this database to the target exists elsewhere cannot be "
                                 "seen: %s",
                                 error_message(err)));
    error_free(err);
    return NULL;
}

MUST_USE static struct error *refuse_repair(const struct server_facts *target, const char *task)
{
    if (target->is_in_recovery)
        return error_hint(error_new(ERROR_CONFIG, "cannot repair the target: it is a standby and takes no writes"),
                          "Give the address of its primary, or leave out --repair.");
    if (task == NULL)
        return NULL;
    return error_hint(
        error_new(
            ERROR_CONFIG,
            "cannot repair the target: synchronization %s of this database to it exists and does not run here, so it "
            "would apply older changes to the repaired rows",
            task),
        "Repair while it runs, with the SOURCE, TARGET and --state-dir that it was begun with, or end it first: "
        "\"pgtide stop\".");
}

struct error *compare_pair_look(struct compare_sides *s, struct compare_sessions *sessions, bool repairs,
                                struct compare_collector *c)
{
    struct server_facts source, target;

    TRY(catalog_server(sessions->source, s->arena, &source));
    TRY(catalog_server(sessions->target, s->arena, &target));
    const char *task = NULL;
    struct error *err = find_task(s, &source, &task);
    if (err != NULL)
        TRY(judge_unseen(s, err, repairs && !target.is_in_recovery, c));
    if (repairs)
        TRY(refuse_repair(&target, task));
    if (source.is_in_recovery)
        TRY(note_standby(s, sessions->source, "source", c));
    if (target.is_in_recovery)
        TRY(note_standby(s, sessions->target, "target", c));
    if (task != NULL)
        compare_note(
            c, arena_printf(s->arena,
                            "Synchronization %s of this database to the target exists, but does not run here under "
                            "these addresses: only a comparison with the SOURCE, TARGET and --state-dir that it was "
                            "begun with, while it runs, looks at both sides at one position.",
                            task));
    return NULL;
}
