/*
 * The least that any program between two servers can do: one thread takes each inserted row from the source's walsender and inserts it on the
 * target, in one statement and one round trip. No spool, no position, nothing but INSERT into tables of integer and text columns. What is
 * measured with it is the limit of the delay: a walsender, a program and a session of the target have to be woken one after the other,
 * where a subscription of PostgreSQL wakes a walsender and a worker.
 *
 *     relay SOURCE TARGET SLOT PUBLICATION [position]      until it is stopped
 *
 * With `position` it does on the target what whoever may die at any moment must do: BEGIN, the row and its count, the position in the
 * same transaction, COMMIT, all prepared and in one packet. What that adds is the price of losing nothing and doubling nothing.
 *
 * Messages: PostgreSQL 15 manual, 55.4 (XLogData, standby status update) and 55.9 (Relation, Insert). Ends with a text on standard error
 * when anything is not as expected.
 */
#include <endian.h>
#include <libpq-fe.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COLUMNS_MAX = 16, TABLES_MAX = 16, WAL_DATA_HEADER = 1 + 8 + 8 + 8, STATUS_EVERY_S = 1 };

struct table {
    uint32_t oid;
    char statement[16];
};

static struct table tables[TABLES_MAX];
static unsigned n_tables;
static int keeps_position;

static void expect(int is_so, const char *what, PGconn *c)
{
    if (is_so)
        return;
    fprintf(stderr, "relay: %s: %s\n", what, c == NULL ? "" : PQerrorMessage(c));
    exit(1);
}

static uint32_t u32(const char *at)
{
    uint32_t v;

    memcpy(&v, at, sizeof v);
    return be32toh(v);
}

static uint16_t u16(const char *at)
{
    uint16_t v;

    memcpy(&v, at, sizeof v);
    return be16toh(v);
}

static void prepare(PGconn *target, const char *name, const char *sql)
{
    PGresult *made = PQprepare(target, name, sql, 0, NULL);

    expect(PQresultStatus(made) == PGRES_COMMAND_OK, "preparing", target);
    PQclear(made);
}

/* As pgtide keeps it, in a table of its own. */
static void prepare_position(PGconn *target)
{
    PQclear(PQexec(target, "CREATE TABLE IF NOT EXISTS relay (id integer PRIMARY KEY, n bigint)"));
    PQclear(PQexec(target, "INSERT INTO relay VALUES (1, 0)"));
    prepare(target, "begin", "BEGIN");
    prepare(target, "move",
            "WITH moved AS (UPDATE relay SET n = n + 1 WHERE id = 1 RETURNING 1) SELECT 1 / (count(*) = 1)::int FROM "
            "moved");
    prepare(target, "commit", "COMMIT");
}

/* 'R', oid, schema, name, identity, columns. */
static void on_relation(PGconn *target, const char *at)
{
    static const char *const params = "$1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16";
    const char *schema = at + 5, *name = schema + strlen(schema) + 1, *rest = name + strlen(name) + 1;
    unsigned columns = u16(rest + 1);
    char sql[512];

    expect(n_tables < TABLES_MAX && columns > 0 && columns < 10, "too many tables or columns", NULL);
    struct table *t = &tables[n_tables++];
    t->oid = u32(at + 1);
    snprintf(t->statement, sizeof t->statement, "t%u", t->oid);
    snprintf(sql, sizeof sql, "%sINSERT INTO \"%s\".\"%s\" VALUES (%.*s)%s", keeps_position ? "WITH done AS (" : "",
             schema, name, (int)(columns * 3 - 1), params,
             keeps_position ? " RETURNING 1) SELECT 1 / (count(*) = 1)::int FROM done" : "");
    prepare(target, t->statement, sql);
}

static void insert_with_position(PGconn *target, const char *statement, int n, const char *const *values)
{
    PGresult *answer = NULL;
    int is_sync = 0;

    expect(PQenterPipelineMode(target), "a pipeline", target);
    PQsendQueryPrepared(target, "begin", 0, NULL, NULL, NULL, 0);
    PQsendQueryPrepared(target, statement, n, values, NULL, NULL, 0);
    PQsendQueryPrepared(target, "move", 0, NULL, NULL, NULL, 0);
    PQsendQueryPrepared(target, "commit", 0, NULL, NULL, NULL, 0);
    expect(PQpipelineSync(target), "sending", target);
    while (!is_sync) {
        if ((answer = PQgetResult(target)) == NULL)
            continue;
        ExecStatusType status = PQresultStatus(answer);
        is_sync = status == PGRES_PIPELINE_SYNC;
        expect(is_sync || status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "inserting", target);
        PQclear(answer);
    }
    expect(PQexitPipelineMode(target), "the end of a pipeline", target);
}

/* 'I', oid, 'N', columns, then a kind, a length and a text each. */
static void on_insert(PGconn *target, const char *at)
{
    static char copies[COLUMNS_MAX][256];
    const char *values[COLUMNS_MAX] = {NULL};
    unsigned n = u16(at + 6), t = 0;
    const char *value = at + 8;

    while (t < n_tables && tables[t].oid != u32(at + 1))
        t++;
    expect(t < n_tables && n <= COLUMNS_MAX, "a table that was not told of", NULL);
    for (unsigned i = 0; i < n; i++) {
        if (*value++ != 't')
            continue;
        uint32_t length = u32(value);
        expect(length < sizeof copies[i], "a value that is too long", NULL);
        memcpy(copies[i], value + 4, length);
        copies[i][length] = '\0';
        values[i] = copies[i];
        value += 4 + length;
    }
    if (keeps_position) {
        insert_with_position(target, tables[t].statement, (int)n, values);
        return;
    }
    PGresult *done = PQexecPrepared(target, tables[t].statement, (int)n, values, NULL, NULL, 0);
    expect(PQresultStatus(done) == PGRES_COMMAND_OK, "inserting", target);
    PQclear(done);
}

static void tell_status(PGconn *source, const char *wal_end)
{
    char status[1 + 8 + 8 + 8 + 8 + 1] = "r";

    for (int i = 0; i < 3; i++)
        memcpy(status + 1 + i * 8, wal_end, 8);
    expect(PQputCopyData(source, status, sizeof status) == 1 && PQflush(source) == 0, "telling the position", source);
}

int main(int argc, char **argv)
{
    char command[512], uri[1024];
    time_t told = 0;

    expect(argc == 5 || (argc == 6 && strcmp(argv[5], "position") == 0), "SOURCE TARGET SLOT PUBLICATION [position]",
           NULL);
    keeps_position = argc == 6;
    snprintf(uri, sizeof uri, "%s%sreplication=database", argv[1],
             strchr(argv[1], '=') != NULL && strstr(argv[1], "://") == NULL ? " " : "?");
    PGconn *source = PQconnectdb(uri), *target = PQconnectdb(argv[2]);
    expect(PQstatus(source) == CONNECTION_OK, "the source", source);
    expect(PQstatus(target) == CONNECTION_OK, "the target", target);
    PQclear(PQexec(target, "SET synchronous_commit = off"));
    if (keeps_position)
        prepare_position(target);
    snprintf(command, sizeof command,
             "START_REPLICATION SLOT \"%s\" LOGICAL 0/0 (proto_version '1', publication_names '%s')", argv[3], argv[4]);
    PGresult *started = PQexec(source, command);
    expect(PQresultStatus(started) == PGRES_COPY_BOTH, "starting", source);
    PQclear(started);

    for (;;) {
        char *message;
        int length = PQgetCopyData(source, &message, 0);

        expect(length > 0, "the stream ended", source);
        if (message[0] == 'w' && message[WAL_DATA_HEADER] == 'R')
            on_relation(target, message + WAL_DATA_HEADER);
        if (message[0] == 'w' && message[WAL_DATA_HEADER] == 'I')
            on_insert(target, message + WAL_DATA_HEADER);
        if (time(NULL) >= told + STATUS_EVERY_S) {
            tell_status(source, message[0] == 'w' ? message + 9 : message + 1);
            told = time(NULL);
        }
        PQfreemem(message);
    }
}
