#include "worker/history.h"

struct history history_of(const struct server_facts *facts)
{
    return (struct history){
        .system = facts->system_identifier, .timeline = facts->timeline, .database_oid = facts->database_oid};
}

struct error *history_read(struct pg_conn *source, struct arena *a, struct history *out)
{
    struct server_facts facts;

    TRY(catalog_server(source, a, &facts));
    *out = history_of(&facts);
    return NULL;
}

MUST_USE static struct error *broken(const char *what, const char *was, const char *is)
{
    return error_hint(
        error_new(ERROR_HISTORY, "history broken: the source's %s was %s and is now %s", what, was, is),
        "What was copied and the stream that would follow do not fit together. If this is right (a failover, a "
        "restored backup, another server under the same name), empty the target and start again after "
        "\"pgtide stop --force\".");
}

struct error *history_compare(const struct history *recorded, const struct history *now)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "history");

    if (strcmp(recorded->system, now->system) != 0)
        return broken("system identifier", recorded->system, now->system);
    if (recorded->timeline != now->timeline)
        return broken("timeline", arena_printf(scratch, "%u", recorded->timeline),
                      arena_printf(scratch, "%u", now->timeline));
    if (recorded->database_oid != now->database_oid)
        return broken("database oid", arena_printf(scratch, "%u", recorded->database_oid),
                      arena_printf(scratch, "%u", now->database_oid));
    return NULL;
}

/* WAL only grows: a server whose WAL ends before what it has sent us was restored from an older copy. */
MUST_USE static struct error *check_wal_end(struct pg_conn *source, struct arena *a, struct lsn ours)
{
    char *text = NULL;
    struct lsn end;

    TRY(pg_query_text(source, a, "reading the source's WAL position",
                      "SELECT (CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() END)::text", NULL, 0,
                      &text));
    if (text == NULL) /* a standby was restarted and replays again what it had replayed: it sends nothing before that */
        return NULL;
    if (!lsn_parse(text, &end))
        return error_new(ERROR_BUG, "the source's answer is no WAL position");
    if (!lsn_before(end, ours))
        return NULL;
    return error_new(
        ERROR_HISTORY,
        "history broken: the source's WAL ends at %s, but it was read up to %s before: an older copy of the "
        "server was restored",
        lsn_format(end).text, lsn_format(ours).text);
}

struct error *history_judge_slot(struct pg_conn *source, const char *slot, const struct pg_slot_facts *facts,
                                 struct lsn ours)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "slot check");
    struct error *err = NULL;

    if (facts == NULL)
        err = error_new(ERROR_HISTORY, "history broken: replication slot \"%s\" does not exist on the source any more",
                        slot);
    else if (facts->database == NULL || strcmp(facts->database, pg_endpoint_database(pg_conn_endpoint(source))) != 0)
        err = error_new(ERROR_HISTORY, "history broken: replication slot \"%s\" belongs to database \"%s\"", slot,
                        facts->database == NULL ? "" : facts->database);
    else if (strcmp(facts->wal_status, "lost") == 0)
        err = error_new(
            ERROR_HISTORY,
            "history broken: the source removed WAL that replication slot \"%s\" needed, or, a standby, rows of its "
            "catalog (hot_standby_feedback, primary_slot_name)",
            slot);
    else if (lsn_before(ours, facts->confirmed))
        err =
            error_new(ERROR_HISTORY,
                      "history broken: replication slot \"%s\" is confirmed up to %s, but what was received ends at %s",
                      slot, lsn_format(facts->confirmed).text, lsn_format(ours).text);
    else
        err = check_wal_end(source, scratch, ours);
    if (err != NULL && error_kind(err) != ERROR_HISTORY)
        return err;
    if (err != NULL)
        return error_hint(
            err, "What was committed in between cannot be had from it. Nothing was changed on either side. Empty "
                 "the target and start again after \"pgtide stop --force\".");
    return NULL;
}

struct error *history_check_slot(struct pg_conn *source, const char *slot, struct lsn ours)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "slot");
    struct pg_slot_facts facts;
    bool exists = false;

    TRY(pg_slot_read(source, scratch, slot, &exists, &facts));
    return history_judge_slot(source, slot, exists ? &facts : NULL, ours);
}
