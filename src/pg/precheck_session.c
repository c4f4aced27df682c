/* Test Connection, and what else is known only by being connected: TLS, poolers, settings that sessions have. */
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/counted.h"
#include "pg/cells.h"
#include "pg/endpoint_options.h"
#include "pg/precheck_context.h"
#include "pg/sql.h"

enum {
    PINGS = 5,
    /* Columns of session_facts.sql */
    PID = 0,
    STARTED = 1,
    LC_MONETARY = 2,
    TIME_ZONE = 3,
    UTC_OFFSETS = 4,
    READ_ONLY = 5,
    LC_MONETARY_FROM = 12,
    TIME_ZONE_FROM = 13,
};

/* ---- what is told of a session that came about ---- */

/* The shortest round trip of a few: what the network takes, without what else the machine was busy with. */
static struct error *measure_latency(struct pg_conn *c, struct arena *a, double *out_ms)
{
    int64_t least_us = INT64_MAX;

    for (unsigned i = 0; i < PINGS; i++) {
        char *one;
        int64_t begun_us = clock_now_us();

        TRY(pg_query_text(c, a, "measuring the latency", "SELECT '1'", NULL, 0, &one));
        int64_t took_us = clock_now_us() - begun_us;
        least_us = took_us < least_us ? took_us : least_us;
    }
    *out_ms = (double)least_us / 1000;
    return NULL;
}

/* What libpq did about the server's certificate: it looks at it only when asked to, or when it finds root certificates. */
static const char *verification(struct arena *a, const struct pg_endpoint *e)
{
    const char *mode = pg_endpoint_option(e, "sslmode");
    const char *roots = pg_endpoint_option(e, "sslrootcert");
    const char *home = getenv("HOME"); /* NOLINT(concurrency-mt-unsafe): nobody here calls setenv */

    if (mode != NULL && strcmp(mode, "verify-full") == 0)
        return "certificate and name verified";
    if (roots == NULL)
        roots = arena_printf(a, "%s/.postgresql/root.crt", home == NULL ? "" : home);
    bool is_verified = mode != NULL && (strcmp(mode, "verify-ca") == 0 || strcmp(mode, "require") == 0);
    if (is_verified && access(roots, R_OK) == 0)
        return "certificate verified, not the name (sslmode=verify-full does)";
    return "certificate not verified (sslmode=verify-full and sslrootcert do)";
}

static char *tls_text(struct precheck *p, const struct pg_conn *c)
{
    const char *cipher = NULL;
    const char *version = pg_conn_tls(c, &cipher);

    if (version == NULL)
        return arena_strdup(p->a, "no TLS");
    return arena_printf(p->a, "%s with %s", version, cipher == NULL ? "an unknown cipher" : cipher);
}

struct error *precheck_describe(struct precheck *p, struct pg_conn *c, const struct server_facts *facts,
                                char **out_text)
{
    double latency_ms;

    TRY(measure_latency(c, p->a, &latency_ms));
    *out_text = arena_printf(p->a, "\"%s\": PostgreSQL %s, %s; user \"%s\"%s; %s; %.2f ms a round trip",
                             pg_endpoint_name(pg_conn_endpoint(c)), facts->version,
                             facts->is_in_recovery ? "standby" : "primary", facts->user,
                             facts->user_is_superuser ? ", superuser" : "", tls_text(p, c), latency_ms);
    return NULL;
}

/* ---- TLS ---- */

static void check_tls(struct precheck *p, struct check_item *item, enum check_side side)
{
    struct pg_conn *c = side == ON_SOURCE ? p->source : p->target;
    const char *cipher = NULL;

    if (pg_conn_tls(c, &cipher) != NULL) {
        item_is(p, item, CHECK_PASSED, "%s; %s", tls_text(p, c), verification(p->a, pg_conn_endpoint(c)));
        return;
    }
    if (pg_conn_is_local(c)) {
        item_is(p, item, CHECK_PASSED, "no TLS, and nothing leaves this machine");
        return;
    }
    item_is(p, item, CHECK_ALARM, "rows go over the network as they are: whoever is between can read and change them");
    item_fix(p, item, side,
             "ALTER SYSTEM SET ssl = on; -- with ssl_cert_file and ssl_key_file; then SELECT pg_reload_conf(),\n"
             "-- and sslmode=verify-full with sslrootcert=FILE in the connection string");
}

struct error *check_source_tls(struct precheck *p, struct check_item *item)
{
    check_tls(p, item, ON_SOURCE);
    return NULL;
}

struct error *check_target_tls(struct precheck *p, struct check_item *item)
{
    check_tls(p, item, ON_TARGET);
    return NULL;
}

/* ---- sessions ---- */

static struct error *read_session(struct pg_conn *c, struct arena *a, char ***out_cells)
{
    struct pg_rows rows;

    TRY(pg_query(c, a, "reading what the session has", sql_session_facts, NULL, 0, &rows));
    if (rows.n_rows != 1)
        return error_new(ERROR_BUG, "reading what the session has: got %u rows", rows.n_rows);
    *out_cells = rows.rows[0];
    return NULL;
}

/* Settings that we gave at the session's start and cannot do without, in the order of session_facts.sql from 6 on. */
static const struct {
    const char *name;
    const char *value;
} demanded[] = {
    {"row_security", "off"},       {"search_path", "pg_catalog"},
    {"statement_timeout", "0"},    {"idle_in_transaction_session_timeout", "0"},
    {"idle_session_timeout", "0"}, {"transaction_timeout", "0"},
};

/* "name = value", those that are not as demanded; NULL when all are. */
static char *find_unheeded(struct arena *a, char **cells)
{
    CLEANUP(buffer_free) struct buffer *names = buffer_new();

    for (size_t i = 0; i < COUNT_OF(demanded); i++) {
        const char *value = cells[READ_ONLY + 1 + i];

        if (value != NULL && strcmp(value, demanded[i].value) != 0)
            buffer_printf(names, "%s%s = %s", names->length == 0 ? "" : ", ", demanded[i].name, value);
    }
    return names->length == 0 ? NULL : arena_strdup(a, buffer_text(names));
}

/* NOLINTBEGIN(clang-analyzer-unix.Malloc): the analyzer does not know CLEANUP */
/* A second session, as an application would have it, while the first one lives. */
static struct error *connect_as_application(struct precheck *p, enum check_side side, struct pg_conn **out)
{
    struct pg_conn *first = side == ON_SOURCE ? p->source : p->target;
    struct pg_connect_options options = {
        .application_name = "pgtide check", .as_application = true, .stop = p->options->stop};

    return pg_connect(pg_conn_endpoint(first), options, out);
}

static void note_session(struct session_facts *facts, char **cells)
{
    *facts = (struct session_facts){
        .started = cells[STARTED],
        .lc_monetary = cells[LC_MONETARY],
        .time_zone = cells[TIME_ZONE],
        .utc_offsets = cells[UTC_OFFSETS],
        .read_only = cells[READ_ONLY],
        .lc_monetary_is_carried = strcmp(cells[LC_MONETARY_FROM], "database") == 0,
        .time_zone_is_carried = strcmp(cells[TIME_ZONE_FROM], "database") == 0,
    };
}

static struct error *check_sessions(struct precheck *p, struct check_item *item, enum check_side side)
{
    CLEANUP(pg_conn_close) struct pg_conn *second = NULL;
    struct pg_conn *first = side == ON_SOURCE ? p->source : p->target;
    char **of_first, **of_second;
    char *system_identifier;

    TRY(read_session(first, p->a, &of_first));
    TRY(connect_as_application(p, side, &second));
    TRY(read_session(second, p->a, &of_second));
    TRY(pg_query_text(second, p->a, "reading the identity of the server",
                      "SELECT system_identifier::text FROM pg_control_system()", NULL, 0, &system_identifier));
    note_session(side == ON_SOURCE ? &p->source_session : &p->target_session, of_second);

    const char *unheeded = find_unheeded(p->a, of_first);
    const char *known = (side == ON_SOURCE ? &p->source_facts : &p->target_facts)->system_identifier;
    const char *hint = "-- give an address that always leads to one server, without a pooler or balancer between";
    if (strcmp(of_first[STARTED], of_second[STARTED]) != 0 || strcmp(known, system_identifier) != 0)
        item_is(p, item, CHECK_FAILED,
                "two sessions reached two different servers: a load balancer is in between, or the name has several "
                "addresses; all sessions must reach the same one");
    else if (cell_int(of_first[PID]) != pg_conn_pid(first))
        item_is(p, item, CHECK_FAILED,
                "a connection pooler is in between: it can give a session's statements to different backends, which "
                "breaks snapshots, locks and settings");
    else if (unheeded != NULL)
        item_is(p, item, CHECK_FAILED,
                "settings that were given with the connection are not in force, so something in between ignores "
                "them: %s",
                unheeded);
    else
        item_is(p, item, CHECK_PASSED,
                "one server, no pooler, and our settings are in force (no timeouts for idle sessions or transactions)");
    if (item->result == CHECK_FAILED)
        item_fix(p, item, side, hint);
    return NULL;
}

struct error *check_source_sessions(struct precheck *p, struct check_item *item)
{
    return check_sessions(p, item, ON_SOURCE);
}

struct error *check_target_sessions(struct precheck *p, struct check_item *item)
{
    return check_sessions(p, item, ON_TARGET);
}

/* It has lines of its own in pg_hba.conf where those are for databases by name, and poolers refuse it. */
struct error *check_source_replication(struct precheck *p, struct check_item *item)
{
    CLEANUP(pg_conn_close) struct pg_conn *c = NULL;
    struct pg_connect_options options = {
        .application_name = "pgtide check", .replication = true, .stop = p->options->stop};
    const struct server_facts *facts = &p->source_facts;

    if (!precheck_follows(p)) {
        item_is(p, item, CHECK_PASSED, "not needed for a full synchronization alone");
        return NULL;
    }
    if (!facts->user_may_replicate || facts->wal_senders_used >= facts->max_wal_senders) {
        item_is(p, item, CHECK_SKIPPED, "not checked because %s failed",
                facts->user_may_replicate ? "source-wal-senders" : "source-privileges");
        return NULL;
    }
    TRY(pg_connect(p->options->source, options, &c));
    item_is(p, item, CHECK_PASSED, "it came about");
    return NULL;
}

/* NOLINTEND(clang-analyzer-unix.Malloc) */

/* ---- settings of applications that change what values mean ---- */

static bool sessions_are_known(struct precheck *p, struct check_item *item)
{
    bool has_source = p->source_session.started != NULL;

    if (has_source && p->target_session.started != NULL)
        return true;
    item_is(p, item, CHECK_SKIPPED, "not checked because %s did not pass",
            has_source ? "target-sessions" : "source-sessions");
    return false;
}

/* For the database that is there; one that is to be created gets the source's own settings with it. */
static void fix_database_setting(struct precheck *p, struct check_item *item, const char *name, const char *value)
{
    const char *database = pg_endpoint_database(p->options->target);

    item_fix(p, item, ON_TARGET,
             arena_printf(p->a, "ALTER DATABASE %s SET %s = %s;", pg_quote_identifier(p->a, database), name,
                          pg_quote_literal(p->a, value)));
}

struct error *check_time_zone(struct precheck *p, struct check_item *item)
{
    const struct session_facts *source = &p->source_session, *target = &p->target_session;

    if (!sessions_are_known(p, item))
        return NULL;
    if (strcmp(source->utc_offsets, target->utc_offsets) == 0) {
        item_is(p, item, CHECK_PASSED, strcmp(source->time_zone, target->time_zone) == 0 ? "both have %s" : "%s and %s",
                source->time_zone, target->time_zone);
        return NULL;
    }
    if (source->time_zone_is_carried && precheck_copies(p)) {
        item_is(p, item, CHECK_PASSED, "%s is a setting of the database, which comes along", source->time_zone);
        return NULL;
    }
    item_is(p, item, CHECK_ALARM,
            "sessions of applications have %s on the source and %s on the target; pgtide carries moments exactly, but "
            "now()::date, defaults and what is shown would change with the switch",
            source->time_zone, target->time_zone);
    fix_database_setting(p, item, "TimeZone", source->time_zone);
    return NULL;
}

/* C, POSIX and C.UTF-8 write money alike. */
static bool is_same_money(const char *left, const char *right)
{
    bool is_plain_left = strcmp(left, "C") == 0 || strcmp(left, "POSIX") == 0 || strncmp(left, "C.", 2) == 0;
    bool is_plain_right = strcmp(right, "C") == 0 || strcmp(right, "POSIX") == 0 || strncmp(right, "C.", 2) == 0;

    return strcmp(left, right) == 0 || (is_plain_left && is_plain_right);
}

struct error *check_lc_monetary(struct precheck *p, struct check_item *item)
{
    const struct session_facts *source = &p->source_session, *target = &p->target_session;
    struct pg_rows rows;

    if (!sessions_are_known(p, item))
        return NULL;
    if (is_same_money(source->lc_monetary, target->lc_monetary)) {
        item_is(p, item, CHECK_PASSED, "%s on the source, %s on the target", source->lc_monetary, target->lc_monetary);
        return NULL;
    }
    if (source->lc_monetary_is_carried && precheck_copies(p)) {
        item_is(p, item, CHECK_PASSED, "%s is a setting of the database, which comes along", source->lc_monetary);
        return NULL;
    }
    TRY(pg_query(
        p->source, p->a, "reading which columns hold money",
        "SELECT DISTINCT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.oid::text FROM pg_attribute a "
        "JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE a.atttypid IN ('money'::regtype, 'money[]'::regtype) AND a.attnum > 0 AND NOT a.attisdropped "
        "AND c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
        NULL, 0, &rows));
    chosen_filter_rows(p->chosen, &rows, 1);
    if (rows.n_rows == 0) {
        item_is(p, item, CHECK_PASSED, "%s and %s; no table holds money", source->lc_monetary, target->lc_monetary);
        return NULL;
    }
    item_objects_from_rows(p, item, &rows);
    item_is(p, item, CHECK_ALARM,
            "lc_monetary is %s on the source and %s on the target, so the amounts in %s are shown in another "
            "currency, perhaps with the decimal point in another place",
            source->lc_monetary, target->lc_monetary, counted(p->a, rows.n_rows, "table", "tables"));
    fix_database_setting(p, item, "lc_monetary", source->lc_monetary);
    return NULL;
}
