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
static const char *find_task(struct compare_sides *s, const struct server_facts *source)
{
    CLEANUP(pg_conn_close) struct pg_conn *conn = NULL;
    struct state_task *tasks = NULL;
    unsigned n = 0;

    CLEANUP(error_free) struct error *err = compare_sides_connect_writer(s, &conn);
    if (err == NULL)
        err = state_tasks(conn, s->arena, &tasks, &n);
    for (unsigned i = 0; err == NULL && i < n; i++)
        if (strcmp(tasks[i].source_system, source->system_identifier) == 0 &&
            tasks[i].source_database_oid == source->database_oid)
            return tasks[i].task;
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
    const char *task = find_task(s, &source);
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
