#include "pg/error.h"

/* The first prefix that matches decides; longer ones come first. Manual: Appendix A, "PostgreSQL Error Codes". */
static const struct {
    const char *sqlstate;
    enum error_kind kind;
} kinds[] = {
    {"25006", ERROR_TRANSIENT}, /* read-only transaction: the target has failed over and a standby answered */
    {"55006", ERROR_TRANSIENT}, /* object in use: the slot's previous walsender is not gone yet */
    {"55P03", ERROR_TRANSIENT}, /* lock not available */
    {"53400", ERROR_CONFIG},    /* configuration limit exceeded: slots, senders, locks */
    {"57P04", ERROR_CONFIG},    /* the database was dropped under us */
    {"08", ERROR_TRANSIENT},    /* connection exception */
    {"40", ERROR_TRANSIENT},    /* serialization failure, deadlock */
    {"53", ERROR_TRANSIENT},    /* out of disk, memory or connections */
    {"57", ERROR_TRANSIENT},    /* shutting down, starting up, cancelled by an administrator */
    {"58030", ERROR_TRANSIENT}, /* I/O error of the server */
    {"09", ERROR_DATA},         /* triggered action */
    {"21", ERROR_DATA},         /* cardinality violation */
    {"22", ERROR_DATA},         /* data exception */
    {"23", ERROR_DATA},         /* integrity constraint violation */
    {"27", ERROR_DATA},         /* triggered data change */
    {"38", ERROR_DATA},         /* what a trigger's function raises */
    {"39", ERROR_DATA},         {"44", ERROR_DATA}, /* WITH CHECK OPTION */
    {"42804", ERROR_DATA},                          /* a value of a composite type that has more columns now */
    {"54", ERROR_DATA},                             /* a row too large for its index or page */
    {"P0", ERROR_DATA},                             /* RAISE EXCEPTION in a trigger */
};

enum error_kind pg_error_kind(const char *sqlstate)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (strncmp(sqlstate, kinds[i].sqlstate, strlen(kinds[i].sqlstate)) == 0)
            return kinds[i].kind;
    return ERROR_CONFIG; /* missing tables, missing rights, old servers: retrying will not help */
}

/* Without a result it is libpq that speaks, and all it has is sentences that end in newlines. */
static struct error *libpq_error(const PGconn *conn, const PGresult *result, const char *what)
{
    const char *text = result == NULL ? "" : PQresultErrorMessage(result);

    if (text[0] == '\0')
        text = PQerrorMessage(conn);
    if (text[0] == '\0')
        text = "the connection is lost";
    return error_new(ERROR_TRANSIENT, "%s: %.*s", what, (int)strcspn(text, "\n"), text);
}

struct error *pg_error(PGconn *conn, const PGresult *result, const char *what)
{
    const char *sqlstate = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    if (sqlstate == NULL || primary == NULL)
        return libpq_error(conn, result, what);

    /* A standby that ends a query in favour of what it has to replay. It says that it is one from 14 on. */
    const char *standby = PQparameterStatus(conn, "in_hot_standby");
    bool is_conflict = strncmp(sqlstate, "40", 2) == 0 && standby != NULL && strcmp(standby, "on") == 0;
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *context = PQresultErrorField(result, PG_DIAG_CONTEXT);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    bool has_detail = detail != NULL;
    bool names_row = context != NULL && strncmp(context, "COPY ", 5) == 0; /* "COPY t, line 3, column c: ..." */

    struct error *err =
        error_new(pg_error_kind(sqlstate), "%s: %s%s%s%s%.*s (SQLSTATE %s)%s", what, primary, has_detail ? ": " : "",
                  has_detail ? detail : "", names_row ? "; " : "", names_row ? (int)strcspn(context, "\n") : 0,
                  names_row ? context : "", sqlstate,
                  is_conflict ? "; hot_standby_feedback = on, or a longer max_standby_streaming_delay, on "
                                "the standby avoids it"
                              : "");
    return hint == NULL ? err : error_hint(err, "%s", hint);
}

bool pg_result_is(const PGresult *result, const char *prefix)
{
    const char *sqlstate = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return sqlstate != NULL && strncmp(sqlstate, prefix, strlen(prefix)) == 0;
}
