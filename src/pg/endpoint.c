#include "pg/endpoint.h"

#include <pthread.h>
#include <stdbool.h>

#include <libpq-fe.h>

#include "base/buffer.h"
#include "pg/endpoint_options.h"
#include "sys/file.h"

struct pg_endpoint {
    const char *side;
    const char *name;
    const char *key;
    struct pg_option *options; /* all that libpq resolved, without the password; ends with a NULL keyword */
    unsigned n_options;
    const struct secret *password; /* NULL: none, or libpq finds it in a password file */
};

#define HOW_TO_WRITE_IT                                                                   \
    "Give a URI (postgresql://user@host:5432/database), key=value pairs in one argument " \
    "(\"host=... dbname=...\") or \"service=NAME\". In a URI, %%-encode special characters."

/* Not an option of libpq's: marks the error that we provoke. */
#define PARSE_ONLY "pgtide-parse-only"

/* Passwords stay until the process ends: there are two or three a process, and arenas have nothing that wipes them. */
struct kept_password {
    struct secret *secret;
    struct kept_password *next;
};
static struct kept_password *kept_passwords;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

static const struct secret *password_keep(const char *text)
{
    struct kept_password *kept = calloc(1, sizeof *kept);

    if (kept == NULL)
        abort();
    kept->secret = secret_new(text);
    pthread_mutex_lock(&kept_lock);
    kept->next = kept_passwords;
    kept_passwords = kept;
    pthread_mutex_unlock(&kept_lock);
    return kept->secret;
}

static void options_release_cleanup_(PQconninfoOption **options)
{
    for (PQconninfoOption *o = *options; o != NULL && o->keyword != NULL; o++)
        if (strcmp(o->keyword, "password") == 0 && o->val != NULL)
            explicit_bzero(o->val, strlen(o->val));
    PQconninfoFree(*options); /* accepts NULL */
}

static void pgconn_finish_cleanup_(PGconn **conn)
{
    PQfinish(*conn); /* accepts NULL */
}

static bool is_keyword(const char *word, size_t length)
{
    CLEANUP(options_release) PQconninfoOption *all = PQconndefaults();

    for (const PQconninfoOption *o = all; o != NULL && o->keyword != NULL; o++)
        if (strlen(o->keyword) == length && memcmp(o->keyword, word, length) == 0)
            return true;
    return false;
}

/* libpq quotes pieces of the text it could not read, and any of them may be a password: only option names are shown. */
static char *without_values(struct arena *a, const char *message)
{
    CLEANUP(buffer_free) struct buffer *shown = buffer_new();

    for (const char *p = message; *p != '\0' && *p != '\n';) {
        const char *end = *p == '"' ? strchr(p + 1, '"') : NULL;

        if (*p != '"') {
            buffer_append_char(shown, *p++);
            continue;
        }
        if (end == NULL) {
            buffer_append_text(shown, "\"...\"");
            break;
        }
        size_t length = (size_t)(end - p - 1);
        bool is_harmless = length <= 1 || is_keyword(p + 1, length);

        buffer_printf(shown, "\"%.*s\"", is_harmless ? (int)length : 3, is_harmless ? p + 1 : "...");
        p = end + 1;
    }
    return arena_strdup(a, buffer_text(shown));
}

/*
 * All options as libpq will use them: conninfo, then service file, then environment, then defaults. There is no call
 * for that, only PQconninfo of a connection; so one is begun with a value that libpq refuses after it has resolved
 * everything and before it opens a socket.
 */
static struct error *resolve(struct arena *a, const char *side, const char *conninfo, const char *refused_keyword,
                             PQconninfoOption **out_options)
{
    const char *const keywords[] = {"dbname", refused_keyword, NULL};
    const char *const values[] = {conninfo, PARSE_ONLY, NULL};
    CLEANUP(pgconn_finish) PGconn *conn = PQconnectStartParams(keywords, values, 1);

    if (conn == NULL || strstr(PQerrorMessage(conn), PARSE_ONLY) == NULL)
        return error_hint(error_new(ERROR_USAGE, "cannot read the connection string of the %s: %s", side,
                                    conn == NULL ? "out of memory" : without_values(a, PQerrorMessage(conn))),
                          HOW_TO_WRITE_IT);
    *out_options = PQconninfo(conn);
    if (*out_options == NULL)
        return error_new(ERROR_TRANSIENT, "could not read the connection string of the %s: out of memory", side);
    return NULL;
}

static const char *find(const PQconninfoOption *options, const char *keyword)
{
    for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
        if (strcmp(o->keyword, keyword) == 0)
            return o->val != NULL && o->val[0] != '\0' ? o->val : NULL;
    return NULL;
}

const char *pg_endpoint_option(const struct pg_endpoint *e, const char *keyword)
{
    for (unsigned i = 0; i < e->n_options; i++)
        if (strcmp(e->options[i].keyword, keyword) == 0)
            return e->options[i].value;
    return NULL;
}

const struct pg_option *pg_endpoint_options(const struct pg_endpoint *e)
{
    return e->options;
}

const struct secret *pg_endpoint_password(const struct pg_endpoint *e)
{
    return e->password;
}

/* The n-th piece of a list with commas; the last one when there are fewer (one port for all hosts). */
static void append_piece(struct buffer *b, const char *list, unsigned n, const char *when_empty)
{
    const char *piece = list == NULL ? "" : list;

    for (unsigned i = 0; i < n && strchr(piece, ',') != NULL; i++)
        piece = strchr(piece, ',') + 1;
    size_t length = strcspn(piece, ",");
    if (length == 0)
        buffer_append_text(b, when_empty);
    else
        buffer_append(b, piece, length);
}

unsigned pg_endpoint_hosts(const struct pg_endpoint *e)
{
    const char *hosts = pg_endpoint_option(e, "host");
    unsigned n = 1;

    for (const char *p = hosts == NULL ? pg_endpoint_option(e, "hostaddr") : hosts; p != NULL && *p != '\0'; p++)
        n += *p == ',';
    return n;
}

static char *name_of(struct arena *a, const struct pg_endpoint *e)
{
    const char *hosts = pg_endpoint_option(e, "host");
    CLEANUP(buffer_free) struct buffer *name = buffer_new();

    if (hosts == NULL)
        hosts = pg_endpoint_option(e, "hostaddr");
    for (unsigned i = 0; i < pg_endpoint_hosts(e); i++) {
        buffer_append_text(name, i == 0 ? "" : ",");
        append_piece(name, hosts, i, "[local]");
        buffer_append_char(name, ':');
        append_piece(name, pg_endpoint_option(e, "port"), i, "5432");
    }
    buffer_printf(name, "/%s", pg_endpoint_database(e));
    return arena_strdup(a, buffer_text(name));
}

/* libpq before 16 would look for a file of that name and say only that it is missing. */
static struct error *refuse_system_roots(const struct pg_endpoint *e)
{
    const char *roots = pg_endpoint_option(e, "sslrootcert");

    if (roots == NULL || strcmp(roots, "system") != 0 || PQlibVersion() >= 160000)
        return NULL;
    return error_hint(error_new(ERROR_CONFIG,
                                "cannot use sslrootcert=system for the %s: this libpq (%d.%d) is older than 16",
                                e->side, PQlibVersion() / 10000, PQlibVersion() % 10000),
                      "Name the file with the trusted certificates, for example "
                      "sslrootcert=/etc/ssl/certs/ca-certificates.crt together with sslmode=verify-full.");
}

/*
 * libpq looks at it only when it connects. The text is not shown: in "user:pass/word@host" it is a piece of the
 * password.
 */
static struct error *refuse_bad_ports(const struct pg_endpoint *e)
{
    for (const char *p = pg_endpoint_option(e, "port"); p != NULL;
         p = strchr(p, ',') == NULL ? NULL : strchr(p, ',') + 1) {
        size_t length = strcspn(p, ",");
        bool is_number = strspn(p, "0123456789") == length && length <= 5;

        if (!is_number || (length > 0 && (strtol(p, NULL, 10) < 1 || strtol(p, NULL, 10) > 65535)))
            return error_hint(error_new(ERROR_USAGE,
                                        "cannot read the connection string of the %s: the port is no number "
                                        "from 1 to 65535",
                                        e->side),
                              HOW_TO_WRITE_IT);
    }
    return NULL;
}

static void fill(struct arena *a, struct pg_endpoint *e, const PQconninfoOption *all, const char *channel_binding)
{
    unsigned n = 0;

    for (const PQconninfoOption *o = all; o != NULL && o->keyword != NULL; o++)
        n++;
    e->options = arena_alloc(a, (n + 1) * sizeof *e->options);
    for (const PQconninfoOption *o = all; o != NULL && o->keyword != NULL; o++) {
        const char *value = strcmp(o->keyword, "channel_binding") == 0 ? channel_binding : o->val;

        /* A service is resolved already, and resolving it again could only differ. */
        if (value == NULL || value[0] == '\0' || strcmp(o->keyword, "password") == 0 ||
            strncmp(o->keyword, "service", strlen("service")) == 0)
            continue;
        e->options[e->n_options++] =
            (struct pg_option){.keyword = arena_strdup(a, o->keyword), .value = arena_strdup(a, value)};
    }
    if (find(all, "password") != NULL)
        e->password = password_keep(find(all, "password"));
}

static bool is_uri(const char *text)
{
    return strncmp(text, "postgresql://", strlen("postgresql://")) == 0 ||
           strncmp(text, "postgres://", strlen("postgres://")) == 0;
}

struct error *pg_endpoint_parse(struct arena *a, const char *side, const char *conninfo,
                                struct pg_endpoint **out_endpoint)
{
    CLEANUP(options_release) PQconninfoOption *all = NULL;
    CLEANUP(options_release) PQconninfoOption *again = NULL;
    struct pg_endpoint *e = ARENA_NEW(a, struct pg_endpoint);

    /* A bare word would be taken as a database name by expand_dbname; with two sides to name that is too little. */
    if (strchr(conninfo, '=') == NULL && !is_uri(conninfo))
        return error_hint(error_new(ERROR_USAGE,
                                    "cannot read the connection string of the %s: it is neither a URI nor "
                                    "key=value pairs",
                                    side),
                          HOW_TO_WRITE_IT);

    TRY(resolve(a, side, conninfo, "channel_binding", &all));
    /* For what the first one had to spoil; libpq looks at this option late, so most other values are examined too. */
    TRY(resolve(a, side, conninfo, "target_session_attrs", &again));

    e->side = arena_strdup(a, side);
    fill(a, e, all, find(again, "channel_binding"));
    TRY(refuse_bad_ports(e));
    TRY(refuse_system_roots(e));
    e->name = name_of(a, e);
    e->key = e->name;
    *out_endpoint = e;
    return NULL;
}

const char *pg_endpoint_side(const struct pg_endpoint *e)
{
    return e->side;
}

const char *pg_endpoint_name(const struct pg_endpoint *e)
{
    return e->name;
}

const char *pg_endpoint_key(const struct pg_endpoint *e)
{
    return e->key;
}

const char *pg_endpoint_user(const struct pg_endpoint *e)
{
    const char *user = pg_endpoint_option(e, "user");

    return user == NULL ? "" : user;
}

const char *pg_endpoint_database(const struct pg_endpoint *e)
{
    const char *database = pg_endpoint_option(e, "dbname");

    return database == NULL ? pg_endpoint_user(e) : database; /* libpq's rule */
}

struct pg_endpoint *pg_endpoint_with_database(struct arena *a, const struct pg_endpoint *e, const char *database)
{
    struct pg_endpoint *other = ARENA_NEW(a, struct pg_endpoint);

    other->side = e->side;
    other->password = e->password;
    other->options = arena_alloc(a, (e->n_options + 2) * sizeof *other->options);
    for (unsigned i = 0; i < e->n_options; i++)
        if (strcmp(e->options[i].keyword, "dbname") != 0)
            other->options[other->n_options++] = e->options[i];
    other->options[other->n_options++] = (struct pg_option){.keyword = "dbname", .value = arena_strdup(a, database)};
    other->name = name_of(a, other);
    other->key = other->name;
    return other;
}

static void append_escaped(struct buffer *b, const char *text, const char *special)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (strchr(special, *p) != NULL)
            buffer_append_char(b, '\\');
        buffer_append_char(b, *p);
    }
}

static void append_option(struct buffer *conninfo, const char *keyword, const char *value)
{
    buffer_printf(conninfo, "%s%s='", conninfo->length == 0 ? "" : " ", keyword);
    append_escaped(conninfo, value, "\\'");
    buffer_append_char(conninfo, '\'');
}

/* Written and wiped. */
static struct error *write_secret(const char *path, struct buffer *text)
{
    struct error *err = file_replace(path, text->bytes, text->length);

    explicit_bzero(text->bytes, text->length);
    return err;
}

static struct error *write_passfile(const struct pg_endpoint *e, const char *path)
{
    CLEANUP(buffer_free) struct buffer *line = buffer_new();

    buffer_append_text(line, "*:*:*:*:");
    append_escaped(line, secret_reveal(e->password), "\\:");
    buffer_append_char(line, '\n');
    return write_secret(path, line);
}

/* The one way to hand an sslpassword to another program that is neither argv nor the environment. */
static struct error *write_service(const char *sslpassword, const char *path)
{
    CLEANUP(buffer_free) struct buffer *lines = buffer_new();

    buffer_printf(lines, "[pgtide]\nsslpassword=%s\n", sslpassword);
    return write_secret(path, lines);
}

struct error *pg_endpoint_for_program(struct arena *a, const struct pg_endpoint *e, const char *folder,
                                      struct pg_program_login *out_login)
{
    CLEANUP(buffer_free) struct buffer *conninfo = buffer_new();
    struct pg_program_login login = {.environment = NULL};
    const char *sslpassword = pg_endpoint_option(e, "sslpassword");

    for (const struct pg_option *o = e->options; o->keyword != NULL; o++)
        if ((e->password == NULL || strcmp(o->keyword, "passfile") != 0) && strcmp(o->keyword, "sslpassword") != 0)
            append_option(conninfo, o->keyword, o->value);

    if (e->password != NULL) {
        login.files[0] = arena_printf(a, "%s/passfile", folder);
        TRY(write_passfile(e, login.files[0]));
        append_option(conninfo, "passfile", login.files[0]);
    }
    if (sslpassword != NULL) {
        login.files[1] = arena_printf(a, "%s/servicefile", folder);
        TRY(write_service(sslpassword, login.files[1]));
        append_option(conninfo, "service", "pgtide");
        login.environment = arena_printf(a, "PGSERVICEFILE=%s", login.files[1]);
    }
    login.conninfo = arena_strdup(a, buffer_text(conninfo));
    *out_login = login;
    return NULL;
}
