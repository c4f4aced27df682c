#include "pg/target_ddl.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "base/fault.h"
#include "base/log.h"
#include "pg/ddl_statement.h"
#include "pg/forced_security.h"
#include "pg/sql.h"

/* What changes how a statement is read: the columns of these names hold the source's values. */
static const char *const settings[] = {"search_path", "standard_conforming_strings", "datestyle", "intervalstyle",
                                       "timezone"};

/* A statement on its way. */
struct ddl_run {
    struct arena *arena;
    const struct row_change *change;
    const char *sql;
    bool is_replica;
    bool checks_keys;
};

/* NULL for NULL and for a column that is not there. */
static const char *text_of(struct arena *a, const struct row_change *change, const char *column)
{
    const struct stream_relation *r = change->table->relation;

    for (unsigned i = 0; i < r->n_columns; i++) {
        const struct value *v = &change->row.row[i];

        if (strcmp(r->columns[i].name, column) == 0 && value_has_bytes(v)) {
            char *text = arena_alloc(a, (size_t)v->length + 1);

            return memcpy(text, v->bytes, v->length);
        }
    }
    return NULL;
}

/* What to run; NULL with *out_why when nobody can know. */
static const char *choose_sql(struct arena *a, const struct row_change *change, const char **out_why)
{
    const char *rebuilt = text_of(a, change, "sql");
    const char *statement = text_of(a, change, "statement");
    const char *nth = text_of(a, change, "nth");

    *out_why = text_of(a, change, "problem");
    if (*out_why != NULL)
        return NULL;
    if (rebuilt != NULL)
        return rebuilt;
    if (statement == NULL) {
        *out_why = "it was run by a function whose text is not known";
        return NULL;
    }
    const char *objects = text_of(a, change, "objects");
    if (nth != NULL && *nth == '=') /* sync/feeder has put the string in */
        nth++;
    const struct ddl_statement_wish wish = {
        .text = statement,
        .tag = text_of(a, change, "tag"),
        .nth = nth == NULL || *nth == '#' ? 0 : (unsigned)strtoul(nth, NULL, 10),
        .place = nth == NULL || *nth != '#' ? 0 : (unsigned)strtoul(nth + 1, NULL, 10),
        .object = objects == NULL ? "" : arena_printf(a, "%.*s", (int)strcspn(objects, "\n"), objects),
    };
    return ddl_statement_find(a, wish, out_why);
}

/* ---- role and settings ---- */

MUST_USE static struct error *set_up(const struct ddl_run *run, struct pg_conn *conn, struct pg_rows *out_before)
{
    CLEANUP(buffer_free) struct buffer *now = buffer_new();

    for (size_t i = 0; i < COUNT_OF(settings); i++)
        buffer_printf(now, "%scurrent_setting('%s')", i == 0 ? "SELECT " : ", ", settings[i]);
    TRY(pg_query(conn, run->arena, "reading settings", buffer_text(now), NULL, 0, out_before));
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        const char *value = text_of(run->arena, run->change, settings[i]);

        if (value != NULL)
            TRY(pg_execute_format(conn, "setting up the session", "SELECT pg_catalog.set_config('%s', %s, true)",
                                  settings[i], pg_quote_literal(run->arena, value)));
    }
    return pg_execute(conn, "setting up the session",
                      "SET LOCAL lock_timeout = '10s'; SET LOCAL check_function_bodies = off");
}

MUST_USE static struct error *put_back(const struct ddl_run *run, struct pg_conn *conn, const struct pg_rows *before)
{
    for (size_t i = 0; i < COUNT_OF(settings); i++)
        TRY(pg_execute_format(conn, "putting settings back", "SELECT pg_catalog.set_config('%s', %s, true)",
                              settings[i], pg_quote_literal(run->arena, before->rows[0][i])));
    return pg_execute(conn, "putting settings back",
                      "SET LOCAL lock_timeout = 0; SET LOCAL check_function_bodies = on");
}

/* The role owns what it makes. One that the target does not have, or that we may not become, is left out. */
MUST_USE static struct error *become_role(const struct ddl_run *run, struct pg_conn *conn, bool *out_became)
{
    const char *role = text_of(run->arena, run->change, "role");
    struct pg_rows rows;

    TRY(pg_query(conn, run->arena, "looking for a role",
                 "SELECT 1 FROM pg_roles WHERE rolname = $1 AND rolname <> current_user AND pg_has_role(current_user, "
                 "oid, 'MEMBER')",
                 &role, 1, &rows));
    *out_became = rows.n_rows > 0;
    return *out_became
               ? pg_execute_format(conn, "becoming a role", "SET LOCAL ROLE %s", pg_quote_identifier(run->arena, role))
               : NULL;
}

/* ---- what acts on rows ---- */

/* *out_all: what there is now; *out_new: one that `known` does not have, in words, or NULL. */
MUST_USE static struct error *read_acting(const struct ddl_run *run, struct pg_conn *conn, const char *known,
                                          const char **out_all, const char **out_new)
{
    struct pg_rows rows;

    TRY(pg_query(conn, run->arena, "looking for what acts on rows", sql_acting, &known, 1, &rows));
    *out_all = rows.rows[0][0];
    *out_new = rows.rows[0][1];
    return NULL;
}

/*
 * What the source's triggers, rules and cascades did comes as rows. Where our sessions cannot be replicas the target's would do it a second
 * time: whatever statement made one that was not there (CREATE TABLE … REFERENCES, LIKE, ATTACH PARTITION), it is not committed.
 */
MUST_USE static struct error *refuse_what_acts(const struct ddl_run *run, struct pg_conn *conn, const char *before)
{
    const char *now = NULL, *made = NULL;

    TRY(read_acting(run, conn, before, &now, &made));
    if (made == NULL)
        return NULL;
    return error_new(ERROR_DATA,
                     "%s would act on what is applied: user of the target may not set session_replication_role. Leave "
                     "it out (pgtide resume --skip-change), or run the statement without it (--replace-with), and make "
                     "it when the synchronization is stopped",
                     made);
}

/*
 * Rows of several moments need not pass the check of a foreign key that the source has made in between: it is NOT VALID here, until they are of one
 * moment (worker/full_objects).
 */
MUST_USE static struct error *run_sql(const struct ddl_run *run, struct pg_conn *conn)
{
    const char *unchecked = run->checks_keys ? NULL : ddl_statement_unchecked(run->arena, run->sql);

    if (unchecked == NULL)
        return pg_execute(conn, "running it on the target", run->sql);
    TRY(pg_execute(conn, "setting a savepoint", "SAVEPOINT pgtide_keys"));
    struct error *err = pg_execute(conn, "running it on the target", run->sql);
    if (err != NULL && error_kind(err) != ERROR_DATA)
        return err;
    if (err != NULL) {
        log_info("%s; the foreign key stays NOT VALID until the copy is complete", error_message(err));
        error_free(err);
        TRY(pg_execute(conn, "going back to a savepoint", "ROLLBACK TO SAVEPOINT pgtide_keys"));
        TRY(pg_execute(conn, "running it on the target", unchecked));
    }
    return pg_execute(conn, "releasing a savepoint", "RELEASE SAVEPOINT pgtide_keys");
}

/*
 * Some statements (ALTER DOMAIN … DROP CONSTRAINT) end with messages about what they changed that only a later command which writes lets the
 * session see. Until then no savepoint may be set: "cannot start a subtransaction when there are unprocessed inval messages".
 */
MUST_USE static struct error *let_it_be_seen(struct pg_conn *conn)
{
    return pg_execute(conn, "ending a statement", "DELETE FROM pgtide.lane WHERE false");
}

/* Event triggers of the target do not fire where our session is a replica. */
MUST_USE static struct error *run_statement(void *self, struct pg_conn *conn)
{
    const struct ddl_run *run = self;
    struct pg_rows before;
    bool became = false;
    const char *acting = NULL, *ignored = NULL, *forced = NULL;

    TRY(forced_security_before(conn, run->arena, &forced));
    if (!run->is_replica)
        TRY(read_acting(run, conn, "{}", &acting, &ignored));
    TRY(become_role(run, conn, &became));
    TRY(set_up(run, conn, &before));
    FAULT_POINT("target.before_ddl");
    TRY(run_sql(run, conn));
    FAULT_POINT("target.after_ddl");
    if (became)
        TRY(pg_execute(conn, "putting the role back", "RESET ROLE"));
    TRY(put_back(run, conn, &before));
    TRY(let_it_be_seen(conn));
    TRY(forced_security_after(conn, run->arena, forced));
    return run->is_replica ? NULL : refuse_what_acts(run, conn, acting);
}

/* ---- the port ---- */

static const char *one_line(struct arena *a, const char *text)
{
    char *line = arena_strdup(a, text == NULL ? "" : text);

    for (char *at = strchr(line, '\n'); at != NULL; at = strchr(at, '\n'))
        *at = ' ';
    return line;
}

/* What cannot be mended by trying again is for the operator to decide, like a row that does not fit. */
static struct error *explain(struct arena *a, const struct row_change *change, struct error *err)
{
    enum error_kind kind = error_kind(err);
    const char *objects = one_line(a, text_of(a, change, "objects"));

    if (kind == ERROR_CONFIG || kind == ERROR_DATA) {
        struct error *data = error_new(ERROR_DATA, "%s", error_message(err));

        error_free(err);
        err = data;
    }
    return error_wrap(err, "%s%s%s that was run on the source", text_of(a, change, "tag"),
                      *objects == '\0' ? "" : " of ", objects);
}

struct error *target_ddl(void *self, struct arena *a, const struct row_change *change, const char *instead)
{
    struct pg_target *t = self;
    const char *why = NULL;
    struct ddl_run run = {.arena = a, .change = change};

    TRY(target_connected(t));
    run.is_replica = t->is_replica;
    run.checks_keys = t->options.checks_keys == NULL || atomic_load(t->options.checks_keys);
    run.sql = instead != NULL ? instead : choose_sql(a, change, &why);
    if (run.sql == NULL)
        return explain(a, change, error_new(ERROR_DATA, "it cannot be repeated on the target: %s", why));
    if (*run.sql == '\0')
        return NULL;
    log_info("running %s: %s", instead == NULL ? "DDL of the source" : "what was decided in place of DDL of the source",
             one_line(a, run.sql));
    struct error *err = pipe_outside(t->pipe, run_statement, &run);
    if (err == NULL && pipe_failure(t->pipe)->is_failure)
        err = target_failure(t);
    return err == NULL ? NULL : explain(a, change, err);
}

struct error *target_ddl_conflict(struct pg_target *t, const struct conflict *c, const char *policy)
{
    struct pipe_expect expect = {.rows = 1, .what = "recording a decision"};
    struct row_change change = c->change;
    const char *texts[] = {
        t->options.task,
        arena_printf(t->scratch, "(%s)", text_of(t->scratch, &change, "tag")),
        policy,
        arena_strdup(t->scratch, lsn_format(c->commit).text),
        arena_printf(t->scratch, "%" PRIu32, c->xid),
        text_of(t->scratch, &change, "objects"),
        text_of(t->scratch, &change, "statement"),
        c->action == CONFLICT_SKIPPED ? "skipped" : "replaced",
        c->instead,
    };

    statement_params_clear(t->params);
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        statement_params_add_text(t->params, texts[i] == NULL ? "" : texts[i]);
    TRY(statement_params_finish(t->params));
    TRY(pipe_send(
        t->pipe,
        "INSERT INTO pgtide.conflict (task, table_name, kind, policy, action, lsn, xid, key_row, new_row) VALUES "
        "($1::text, "
        "$2::text, 'ddl', $3::text, $8::text, $4::pg_lsn, $5::int8, json_build_object('objects', $6::text)::text, "
        "json_strip_nulls(json_build_object('statement', $7::text, 'instead', nullif($9::text, '')))::text)",
        NULL, t->params, expect));
    TRY(pipe_sync(t->pipe));
    return pipe_failure(t->pipe)->is_failure ? target_failure(t) : NULL;
}
