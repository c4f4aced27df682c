#include "pg/lock_wait.h"

#include "base/log.h"

enum { STATEMENT_MAX = 80 };

/* Who may not see what others run sees their pids. Of a prepared transaction there is no process: 0. */
static const char waiting_sql[] =
    "SELECT left(regexp_replace(w.query, '\\s+', ' ', 'g'), $2::int),"
    "       (SELECT string_agg(CASE WHEN b.pid = 0 THEN 'a prepared transaction (pg_prepared_xacts)' ELSE"
    "                format('pid %s (%s, %s, for %s s): %s', b.pid, coalesce(nullif(s.application_name, ''), "
    "s.usename::text),"
    "                       coalesce(s.state, 'its state may not be seen'),"
    "                       coalesce(extract(epoch FROM clock_timestamp() - coalesce(s.xact_start, "
    "s.query_start))::bigint, 0),"
    "                       left(regexp_replace(coalesce(s.query, ''), '\\s+', ' ', 'g'), $2::int)) END, '; ')"
    "          FROM (SELECT DISTINCT unnest(pg_blocking_pids(w.pid)) AS pid) b LEFT JOIN pg_stat_activity s ON s.pid = "
    "b.pid)"
    "  FROM pg_stat_activity w WHERE w.pid = $1::int AND w.wait_event_type = 'Lock'";

MUST_USE static struct error *look(const struct pg_conn *c, struct arena *a, struct pg_rows *out)
{
    CLEANUP(pg_conn_close) struct pg_conn *observer = NULL;
    const char *params[] = {arena_printf(a, "%d", pg_conn_pid(c)), arena_printf(a, "%d", STATEMENT_MAX)};
    const struct pg_connect_options options = {
        .application_name = "pgtide locks", .is_observer = true, .stop = pg_conn_stop(c)};

    TRY(pg_connect(pg_conn_endpoint(c), options, &observer));
    return pg_query(observer, a, "reading who holds a lock", waiting_sql, params, COUNT_OF(params), out);
}

void lock_wait_tell(const struct pg_conn *c)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "lock wait");
    const struct pg_endpoint *e = pg_conn_endpoint(c);
    struct pg_rows rows = {.n_rows = 0};
    CLEANUP(error_free) struct error *err = look(c, scratch, &rows);

    if (err != NULL)
        log_debug("could not see what a statement waits for: %s", error_message(err));
    else if (rows.n_rows > 0 && rows.rows[0][1] != NULL)
        log_warn("%s \"%s\" makes us wait for a lock that is held by %s; what waits is: %s", pg_endpoint_side(e),
                 pg_endpoint_name(e), rows.rows[0][1], rows.rows[0][0]);
}
