#include "pg/schema.h"

#include "base/buffer.h"
#include "base/fault.h"
#include "base/log.h"
#include "pg/cells.h"
#include "pg/error.h"
#include "pg/schema_dialect.h"
#include "pg/schema_roles.h"
#include "pg/schema_select.h"

enum {
    ENTRIES_PER_TRANSACTION = 200,
    STATEMENT_SHOWN = 200,                /* bytes of a failing statement */
    UNCHECKED_PARTITIONED_SINCE = 180000, /* a partitioned table's foreign key may be NOT VALID */
};

struct schema_target {
    const char *task;
    int version;
    enum existing may_stay;
    struct role_list roles;
    struct left_out *left_out;
    struct pg_rows extension_comments; /* statements that need not be run: an extension brings its comment along */
};

struct error *schema_target_new(struct pg_conn *target, struct arena *a, const char *task, enum existing may_stay,
                                struct left_out *left_out, struct schema_target **out)
{
    struct schema_target *t = ARENA_NEW(a, struct schema_target);

    t->task = arena_strdup(a, task);
    t->version = pg_conn_version(target);
    t->may_stay = may_stay;
    t->left_out = left_out;
    TRY(schema_roles_read(target, a, &t->roles));
    TRY(pg_query(target, a, "reading the comments of extensions",
                 "SELECT format('COMMENT ON EXTENSION %I IS %L;', name, comment) FROM pg_available_extensions", NULL, 0,
                 &t->extension_comments));
    *out = t;
    return NULL;
}

/* ---- what is run for an entry ---- */

/* What an entry becomes on this target: some statements are left out, some are said otherwise. */
struct job {
    const struct entry *entry;
    unsigned n_statements;
    const char **statements;
};

/* As this target takes it. A schema that is there is as good as made: every new database has "public", and others may have been prepared. */
static void add_statement(const struct schema_target *t, struct arena *a, struct job *job, const char *statement)
{
    static const char create[] = "CREATE SCHEMA ";
    const char *after = NULL;

    if (job->entry->kind == ENTRY_SCHEMA && strncmp(statement, create, strlen(create)) == 0)
        statement = arena_printf(a, "CREATE SCHEMA IF NOT EXISTS %s", statement + strlen(create));
    job->statements[job->n_statements++] = schema_statement_for(a, statement, t->version, &after);
    if (after != NULL)
        job->statements[job->n_statements++] = after;
}

static bool comes_with_extension(const struct schema_target *t, const char *statement)
{
    for (unsigned i = 0; i < t->extension_comments.n_rows; i++)
        if (strcmp(t->extension_comments.rows[i][0], statement) == 0)
            return true;
    return false;
}

static struct job job_for(const struct schema_target *t, struct arena *a, const struct entry *e)
{
    struct job job = {.entry = e, .statements = arena_alloc(a, (2U * e->n_statements + 1U) * sizeof(char *))};
    struct role_filter filter = {.roles = &t->roles};

    for (unsigned i = 0; i < e->n_statements; i++) {
        const char *reason = role_filter_reason(&filter, a, e->statements[i]);

        if (reason == NULL)
            add_statement(t, a, &job, e->statements[i]);
        else if (!comes_with_extension(t, e->statements[i]))
            left_out_tell(t->left_out, e->statements[i], reason);
    }
    return job;
}

/* ---- running ---- */

/* SQLSTATEs that mean "it is there already", some only for some entries. */
static const struct {
    const char *sqlstate;
    const char *type; /* NULL: any */
} already_there[] = {
    {"42P07", NULL},           /* table, index, view, sequence */
    {"42710", NULL},           /* type, constraint, trigger, rule, policy, … */
    {"42723", NULL},           /* function */
    {"42P06", NULL},           /* schema */
    {"42P16", "CONSTRAINT"},   /* multiple primary keys */
    {"42809", "TABLE ATTACH"}, /* is already a partition */
    {"55000", "SEQUENCE"},     /* is already an identity column */
};

static bool is_already_there(const PGresult *result, const struct entry *e)
{
    for (size_t i = 0; i < COUNT_OF(already_there); i++)
        if (pg_result_is(result, already_there[i].sqlstate) &&
            (already_there[i].type == NULL || strcmp(already_there[i].type, e->type) == 0))
            return true;
    return false;
}

static struct error *name_failure(struct pg_conn *target, const PGresult *result, const struct job *job,
                                  const char *statement)
{
    const struct entry *e = job->entry;
    struct error *err = pg_error(pg_conn_handle(target), result, "restoring it failed");

    return error_wrap(err, "target \"%s\": %s \"%s\"%s%s%s (%.*s%s)", pg_endpoint_name(pg_conn_endpoint(target)),
                      e->type, e->name, strcmp(e->schema, "-") == 0 ? "" : " in schema \"",
                      strcmp(e->schema, "-") == 0 ? "" : e->schema, strcmp(e->schema, "-") == 0 ? "" : "\"",
                      STATEMENT_SHOWN, statement, strlen(statement) > STATEMENT_SHOWN ? " ..." : "");
}

static void pgresult_clear_cleanup_(PGresult **result)
{
    PQclear(*result); /* accepts NULL */
}

static bool is_owner_statement(const char *statement)
{
    return strncmp(statement, "ALTER ", strlen("ALTER ")) == 0 && strstr(statement, " OWNER TO ") != NULL;
}

struct outcome {
    struct error *failure; /* the statement's, when the session is fine */
    bool is_already_there;
    bool is_owner_denied;  /* the new owner has no CREATE in the schema, which only a superuser need not care about */
    bool is_refused_whole; /* the text of all jobs, because of the grammar of one of them */
    bool is_grant_denied;  /* rights on what belongs to another: of the system, of an extension */
};

/* The job and statement that the n-th result of a batch belongs to. */
static const struct job *job_of_result(const struct job *jobs, unsigned n_jobs, unsigned n, const char **out_statement)
{
    for (unsigned i = 0; i < n_jobs; i++) {
        if (n < jobs[i].n_statements) {
            *out_statement = jobs[i].statements[n];
            return &jobs[i];
        }
        n -= jobs[i].n_statements;
    }
    *out_statement = "";
    return &jobs[n_jobs - 1];
}

/*
 * Who has some right, but not that of giving it, gets a warning and no error. libpq tells of it at once, maybe before the result of the statement
 * before: only of a single statement it is known what it is about.
 */
struct listener {
    const struct job *jobs;
    unsigned n_jobs;
    unsigned n_results; /* that came */
    char *warning;      /* the first one; freed by free() */
};

static void hear_warning(void *self, const PGresult *notice)
{
    struct listener *l = self;
    const char *text = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);

    if (l->warning == NULL && text != NULL && (pg_result_is(notice, "01006") || pg_result_is(notice, "01007")))
        l->warning = strdup(text);
}

MUST_USE static struct error *take_results(struct pg_conn *target, struct listener *l, struct outcome *out)
{
    for (;; l->n_results++) {
        CLEANUP(pgresult_clear) PGresult *result = NULL;

        TRY(pg_conn_result(target, &result));
        if (result == NULL)
            return NULL;
        bool is_good = PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
        if (is_good || out->failure != NULL)
            continue;
        const char *statement;
        const struct job *job = job_of_result(l->jobs, l->n_jobs, l->n_results, &statement);
        bool is_denied = pg_result_is(result, "42501");

        out->failure = name_failure(target, result, job, statement);
        out->is_already_there = is_already_there(result, job->entry);
        out->is_owner_denied = is_denied && is_owner_statement(statement);
        out->is_grant_denied = is_denied && job->entry->kind == ENTRY_ACL;
        out->is_refused_whole = pg_result_is(result, "42601") && l->n_results == 0;
    }
}

/* Of several statements: they are to be run one by one. */
static void heed_warning(const struct schema_target *t, const struct listener *l, struct outcome *out)
{
    if (l->warning == NULL || out->failure != NULL)
        return;
    if (l->n_jobs == 1 && l->jobs[0].n_statements == 1) {
        left_out_tell(t->left_out, l->jobs[0].statements[0], l->warning);
        return;
    }
    out->failure = error_new(ERROR_CONFIG, "%s", l->warning);
    out->is_grant_denied = true;
}

/* All statements of all jobs in one round trip. The server answers one by one and stops at the first that fails. */
static struct error *run_jobs(struct pg_conn *target, const struct schema_target *t, const struct job *jobs,
                              unsigned n_jobs, struct outcome *out)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    struct listener listener = {.jobs = jobs, .n_jobs = n_jobs};

    *out = (struct outcome){.failure = NULL};
    for (unsigned i = 0; i < n_jobs; i++)
        for (unsigned s = 0; s < jobs[i].n_statements; s++)
            buffer_printf(sql, "%s\n", jobs[i].statements[s]);
    if (sql->length == 0)
        return NULL;
    if (PQsendQuery(pg_conn_handle(target), buffer_text(sql)) == 0)
        return pg_error(pg_conn_handle(target), NULL, "restoring the structure");

    PQnoticeReceiver before = PQsetNoticeReceiver(pg_conn_handle(target), hear_warning, &listener);
    struct error *err = take_results(target, &listener, out);
    PQsetNoticeReceiver(pg_conn_handle(target), before, NULL);
    heed_warning(t, &listener, out);
    free(listener.warning);
    return err;
}

static struct error *record(struct pg_conn *target, const struct schema_target *t, const struct job *jobs,
                            unsigned n_jobs)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "record of entries");
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    const char *task = pg_quote_literal(scratch, t->task);

    buffer_append_text(sql, "INSERT INTO pgtide.done (task, dump_id) VALUES ");
    for (unsigned i = 0; i < n_jobs; i++)
        buffer_printf(sql, "%s(%s, %d)", i == 0 ? "" : ", ", task, jobs[i].entry->id);
    return pg_execute(target, "recording what of the structure is done", buffer_text(sql));
}

static struct error *run_transaction(struct pg_conn *target, const struct schema_target *t, const struct job *jobs,
                                     unsigned n_jobs, struct outcome *out)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "prelude");

    TRY(pg_execute(target, "beginning to restore the structure", "BEGIN; SET LOCAL synchronous_commit = off"));
    TRY(pg_execute(target, "setting up to restore the structure",
                   schema_prelude_for(scratch, jobs[0].entry->prelude, t->version)));
    TRY(run_jobs(target, t, jobs, n_jobs, out));
    if (out->failure != NULL)
        return pg_execute(target, "giving up a part of the structure", "ROLLBACK");
    FAULT_POINT("schema.before_record");
    TRY(record(target, t, jobs, n_jobs));
    FAULT_POINT("schema.before_commit");
    return pg_execute(target, "committing a part of the structure", "COMMIT");
}

static bool may_stay(const struct schema_target *t, const struct entry *e)
{
    return t->may_stay == EXISTING_ALL || (t->may_stay == EXISTING_SHARED && schema_entry_is_shared(e));
}

/* The right is lent for the moment of the change: what grants there are comes at the end of the structure. */
static struct job lend_schema(struct arena *a, const struct job *job)
{
    struct job lent = {.entry = job->entry,
                       .statements = arena_alloc(a, (3UL * job->n_statements + 1) * sizeof(char *))};
    const char *schema = pg_quote_identifier(a, job->entry->schema);
    const char *owner = pg_quote_identifier(a, job->entry->owner);

    for (unsigned i = 0; i < job->n_statements; i++) {
        bool lends = is_owner_statement(job->statements[i]) && strcmp(job->entry->schema, "-") != 0;

        if (lends)
            lent.statements[lent.n_statements++] = arena_printf(a, "GRANT CREATE ON SCHEMA %s TO %s;", schema, owner);
        lent.statements[lent.n_statements++] = job->statements[i];
        if (lends)
            lent.statements[lent.n_statements++] =
                arena_printf(a, "REVOKE CREATE ON SCHEMA %s FROM %s;", schema, owner);
    }
    return lent;
}

static struct job without_owner(const struct schema_target *t, struct arena *a, const struct job *job)
{
    struct job kept = {.entry = job->entry, .statements = arena_alloc(a, (job->n_statements + 1UL) * sizeof(char *))};

    for (unsigned i = 0; i < job->n_statements; i++)
        if (is_owner_statement(job->statements[i]))
            left_out_tell(t->left_out, job->statements[i],
                          strcmp(job->entry->schema, "-") == 0 ? "the role may not own it"
                                                               : "the role may not own it in that schema");
        else
            kept.statements[kept.n_statements++] = job->statements[i];
    return kept;
}

static struct error *restore_owned(struct pg_conn *target, const struct schema_target *t, const struct job *job)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "owner");
    struct outcome outcome = {.failure = NULL};
    struct job other = lend_schema(scratch, job);

    TRY(run_transaction(target, t, &other, 1, &outcome));
    if (outcome.failure == NULL || !outcome.is_owner_denied)
        return outcome.failure;
    error_free(outcome.failure);
    outcome = (struct outcome){.failure = NULL};
    other = without_owner(t, scratch, job);
    TRY(run_transaction(target, t, &other, 1, &outcome));
    return outcome.failure;
}

MUST_USE static struct error *try_grant(struct pg_conn *target, const struct schema_target *t, const struct entry *e,
                                        const char *statement)
{
    const struct job job = {.entry = e, .n_statements = 1, .statements = &statement};
    struct outcome outcome = {.failure = NULL};

    TRY(pg_execute(target, "a savepoint", "SAVEPOINT pgtide"));
    TRY(run_jobs(target, t, &job, 1, &outcome));
    if (outcome.failure == NULL)
        return pg_execute(target, "a savepoint", "RELEASE pgtide");
    if (!outcome.is_grant_denied)
        return outcome.failure;
    left_out_tell(t->left_out, statement, error_message(outcome.failure));
    error_free(outcome.failure);
    return pg_execute(target, "a savepoint", "ROLLBACK TO pgtide");
}

MUST_USE static struct error *try_grants(struct pg_conn *target, const struct schema_target *t, struct arena *a,
                                         const struct job *job)
{
    TRY(pg_execute(target, "setting up to grant rights", schema_prelude_for(a, job->entry->prelude, t->version)));
    for (unsigned i = 0; i < job->n_statements; i++)
        TRY(try_grant(target, t, job->entry, job->statements[i]));
    return record(target, t, job, 1);
}

/* One by one: those that only somebody else may give are left out. */
MUST_USE static struct error *restore_grants(struct pg_conn *target, const struct schema_target *t,
                                             const struct job *job)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "rights");

    TRY(pg_execute(target, "beginning to grant rights", "BEGIN"));
    struct error *err = try_grants(target, t, scratch, job);
    if (err == NULL)
        return pg_execute(target, "committing rights", "COMMIT");
    if (!pg_conn_is_broken(target))
        error_free(pg_execute(target, "giving up to grant rights", "ROLLBACK")); /* the first error says why */
    return err;
}

/*
 * The answer to COMMIT must be COMMIT, but after errors we never send one (P5): a failed transaction cannot get
 * there.
 */
static struct error *restore_jobs(struct pg_conn *target, const struct schema_target *t, const struct job *jobs,
                                  unsigned n_jobs)
{
    struct outcome outcome = {.failure = NULL};
    struct error *err = run_transaction(target, t, jobs, n_jobs, &outcome);

    if (err != NULL || outcome.failure == NULL) {
        error_free(outcome.failure);
        return err;
    }
    bool may_be_there =
        outcome.is_already_there && t->may_stay != EXISTING_NONE && (n_jobs > 1 || may_stay(t, jobs[0].entry));
    if (!may_be_there && !outcome.is_owner_denied && !outcome.is_grant_denied &&
        (n_jobs == 1 || !outcome.is_refused_whole))
        return outcome.failure;
    error_free(outcome.failure);

    if (n_jobs == 1 && outcome.is_grant_denied)
        return restore_grants(target, t, &jobs[0]);
    if (n_jobs == 1 && outcome.is_owner_denied)
        return restore_owned(target, t, &jobs[0]);
    if (n_jobs == 1) {
        log_debug("%s \"%s\" exists on the target already and is left as it is", jobs[0].entry->type,
                  jobs[0].entry->name);
        return record(target, t, jobs, 1);
    }
    for (unsigned i = 0; i < n_jobs; i++)
        TRY(restore_jobs(target, t, &jobs[i], 1));
    return NULL;
}

struct done_set {
    unsigned n;
    int *ids;
};

static int by_number(const void *left, const void *right)
{
    const int *l = left, *r = right;

    return (*l > *r) - (*l < *r);
}

static struct error *read_done(struct pg_conn *target, struct arena *a, const struct schema_target *t,
                               struct done_set *out)
{
    struct pg_rows answer;

    TRY(pg_query(target, a, "reading what of the structure is done",
                 "SELECT dump_id::text FROM pgtide.done WHERE task = $1 ORDER BY done.dump_id", &t->task, 1, &answer));
    out->n = answer.n_rows;
    out->ids = arena_alloc(a, (answer.n_rows + 1U) * sizeof *out->ids);
    for (unsigned r = 0; r < answer.n_rows; r++)
        out->ids[r] = cell_int(answer.rows[r][0]);
    return NULL;
}

static bool is_done(const struct done_set *done, int id)
{
    return done->n > 0 && bsearch(&id, done->ids, done->n, sizeof id, by_number) != NULL;
}

struct error *schema_restore_pre(struct pg_conn *target, struct schema_target *t, const struct schema *schema,
                                 void (*done)(void *self, unsigned n_entries), void *self)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "restore");
    struct done_set before = {.n = 0};
    const struct script *pre = &schema->pre;

    TRY(read_done(target, scratch, t, &before));
    for (unsigned at = 0; at < pre->n_entries;) {
        CLEANUP(arena_free) struct arena *part = arena_new(scratch, "part of the structure");
        struct job jobs[ENTRIES_PER_TRANSACTION];
        unsigned n_jobs = 0;
        const char *prelude = "";

        if (pg_conn_stop(target) != NULL)
            TRY(stop_check(pg_conn_stop(target)));
        while (at < pre->n_entries && n_jobs < ENTRIES_PER_TRANSACTION) {
            const struct entry *e = &pre->entries[at];

            if (n_jobs > 0 && strcmp(e->prelude, prelude) != 0)
                break;
            prelude = e->prelude;
            if (!is_done(&before, e->id))
                jobs[n_jobs++] = job_for(t, part, e);
            at++;
        }
        if (n_jobs > 0)
            TRY(restore_jobs(target, t, jobs, n_jobs));
        if (done != NULL)
            done(self, at);
    }
    return NULL;
}

/* ---- post-data ---- */

static bool has_words(const struct token *tokens, const char *first, const char *second)
{
    for (; tokens->kind != TOKEN_END; tokens++)
        if (tokens[0].kind == TOKEN_WORD && tokens[1].kind == TOKEN_WORD && strcmp(tokens[0].text, first) == 0 &&
            strcmp(tokens[1].text, second) == 0)
            return true;
    return false;
}

bool schema_takes_unchecked_keys(const struct schema_target *t)
{
    return t->version >= UNCHECKED_PARTITIONED_SINCE;
}

bool schema_can_validate_later(const struct entry *e, int target_version)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "foreign key");
    unsigned n;

    if (e->kind != ENTRY_FOREIGN_KEY || e->n_statements == 0 ||
        (e->table_is_partitioned && target_version < UNCHECKED_PARTITIONED_SINCE))
        return false;
    /* One that is not valid or not enforced on the source stays so. */
    const struct token *tokens = statement_tokens(scratch, e->statements[0], &n);
    return !has_words(tokens, "not", "valid") && !has_words(tokens, "not", "enforced");
}

/* "ALTER TABLE ONLY s.t ADD CONSTRAINT c FOREIGN KEY …": who validates says the same names again. */
static struct error *validate_statement(struct arena *a, const struct entry *e, const char **out)
{
    unsigned n;
    const struct token *t = statement_tokens(a, e->statements[0], &n);
    unsigned at = n > 2 && strcmp(t[2].text, "only") == 0 && t[2].kind == TOKEN_WORD ? 3 : 2;

    if (n < at + 6 || strcmp(t[at + 1].text, ".") != 0 || strcmp(t[at + 3].text, "add") != 0 ||
        strcmp(t[at + 4].text, "constraint") != 0)
        return error_new(ERROR_BUG, "cannot read the foreign key \"%s\": %s", e->name, e->statements[0]);
    *out = arena_printf(a, "ALTER TABLE %s VALIDATE CONSTRAINT %s;", pg_quote_name(a, t[at].text, t[at + 2].text),
                        pg_quote_identifier(a, t[at + 5].text));
    return NULL;
}

const char *schema_part_statement(struct arena *a, const struct entry *e, enum entry_part part)
{
    const char *validation = NULL, *all = "";
    struct error *err = part == ENTRY_VALIDATE ? validate_statement(a, e, &validation) : NULL;

    if (err == NULL && validation != NULL)
        return validation;
    error_free(err); /* it is no "ALTER TABLE … ADD": the validation itself */
    for (unsigned i = 0; i < e->n_statements; i++)
        all = arena_printf(a, "%s%s%s", all, i == 0 ? "" : "\n", e->statements[i]);
    return all;
}

bool schema_user_is_superuser(const struct schema_target *t)
{
    return t->roles.user_is_superuser;
}

static struct error *job_for_part(const struct schema_target *t, struct arena *a, const struct entry *e,
                                  enum entry_part part, struct job *out)
{
    bool in_two = schema_can_validate_later(e, t->version);

    *out = job_for(t, a, e);
    if (part == ENTRY_VALIDATE) {
        out->n_statements = in_two ? 1 : 0;
        return in_two ? validate_statement(a, e, &out->statements[0]) : NULL;
    }
    if (in_two) {
        const char *statement = e->statements[0];

        out->statements[0] = arena_printf(a, "%.*s NOT VALID;", (int)(strlen(statement) - 1), statement);
    }
    return NULL;
}

/* Waits for another session that is at the same entry, should there be one. */
static struct error *claim(struct pg_conn *target, struct arena *a, const struct schema_target *t, int id,
                           bool *out_is_new)
{
    const char *params[] = {t->task, arena_printf(a, "%d", id)};
    struct pg_rows answer;

    TRY(pg_query(target, a, "recording what of the structure is done",
                 "INSERT INTO pgtide.done (task, dump_id) VALUES ($1, $2::int) ON CONFLICT DO NOTHING RETURNING 1",
                 params, COUNT_OF(params), &answer));
    *out_is_new = answer.n_rows == 1;
    return NULL;
}

static struct error *run_claimed(struct pg_conn *target, const struct schema_target *t, struct arena *a,
                                 const struct job *job, struct outcome *out)
{
    TRY(pg_execute(target, "setting up to restore an entry", schema_prelude_for(a, job->entry->prelude, t->version)));
    TRY(run_jobs(target, t, job, 1, out));
    if (out->failure != NULL)
        return NULL;
    FAULT_POINT("schema.before_entry_commit");
    return pg_execute(target, "committing an entry of the structure", "COMMIT");
}

struct error *schema_run_entry(struct pg_conn *target, const struct schema_target *t, const struct entry *e,
                               enum entry_part part)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "entry");
    int id = part == ENTRY_VALIDATE ? -e->id : e->id;
    struct outcome outcome = {.failure = NULL};
    struct job job;
    bool is_new = false;

    TRY(job_for_part(t, scratch, e, part, &job));
    TRY(pg_execute(target, "beginning to restore an entry", "BEGIN"));
    struct error *err = claim(target, scratch, t, id, &is_new);
    if (err == NULL && is_new)
        err = run_claimed(target, t, scratch, &job, &outcome);
    if (err == NULL && is_new && outcome.failure == NULL)
        return NULL;

    if (err == NULL)
        err = pg_execute(target, "giving up an entry of the structure", "ROLLBACK");
    else if (!pg_conn_is_broken(target))
        error_free(pg_execute(target, "giving up an entry of the structure", "ROLLBACK"));
    if (err != NULL || outcome.failure == NULL) {
        error_free(outcome.failure);
        return err;
    }
    if (outcome.is_grant_denied) {
        error_free(outcome.failure);
        return restore_grants(target, t, &job);
    }
    if (outcome.is_owner_denied && e->kind == ENTRY_PUBLICATION) {
        error_free(outcome.failure);
        return restore_owned(target, t, &job);
    }
    if (!outcome.is_already_there || !may_stay(t, e))
        return outcome.failure;
    error_free(outcome.failure);
    log_debug("%s \"%s\" exists on the target already and is left as it is", e->type, e->name);
    return claim(target, scratch, t, id, &is_new);
}
