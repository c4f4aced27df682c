#include "worker/prepare.h"

#include "base/backoff.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/log.h"
#include "pg/accounts.h"
#include "pg/binary.h"
#include "pg/database.h"
#include "pg/ddl_capture.h"
#include "pg/pgoutput.h"
#include "pg/precheck.h"
#include "pg/slot.h"
#include "pg/snapshot.h"
#include "pg/standby.h"
#include "sync/commit_log.h"
#include "sync/spool.h"
#include "worker/accepted.h"
#include "worker/drift.h"
#include "worker/full.h"
#include "worker/selecting.h"
#include "worker/spool_folder.h"

enum { SLOT_TRIES = 10, LOCK_TRIES = 100, LOCK_EVERY_MS = 100, PUBLISHES_PARTITIONED_SINCE = 130000 };

#define TEST_DECODING "test_decoding"

bool prepare_finds_task(const struct task *t)
{
    return t->record != NULL && !t->record->is_completed;
}

/* "a,b": as --accept takes it. NULL for none. */
static const char *item_names(struct arena *a, const struct check_item *items, unsigned n, enum check_result result)
{
    const char *names = NULL;

    for (unsigned i = 0; i < n; i++)
        if (items[i].result == result && !items[i].is_accepted)
            names = names == NULL ? items[i].id : arena_printf(a, "%s,%s", names, items[i].id);
    return names;
}

static bool is_accepted(const struct sync_options *options, const char *id)
{
    for (const char *const *accepted = options->accept; *accepted != NULL; accepted++)
        if (strcmp(*accepted, "all") == 0 || strcmp(*accepted, id) == 0)
            return true;
    return false;
}

struct error *prepare_report(struct arena *a, struct precheck_options options, struct precheck_report *out)
{
    TRY(precheck_run(a, options, out));
    for (unsigned i = 0; i < out->n_items; i++)
        out->items[i].is_accepted = out->items[i].result == CHECK_ALARM && is_accepted(options.sync, out->items[i].id);
    return NULL;
}

struct error *prepare_judge(struct arena *a, const struct precheck_report *report)
{
    if (check_allows_start(report->items, report->n_items))
        return NULL;

    const char *failed = item_names(a, report->items, report->n_items, CHECK_FAILED);
    const char *alarms = item_names(a, report->items, report->n_items, CHECK_ALARM);
    if (failed != NULL)
        return error_hint(error_new(ERROR_REFUSED, "the precheck failed: %s; nothing was begun on either side", failed),
                          "Mend what the report says, then run the same command again.");
    return error_hint(error_new(ERROR_REFUSED,
                                "the precheck has alarms that were not accepted: %s; nothing was begun on either side",
                                alarms),
                      "Mend what the report says, or accept it: --accept %s", alarms);
}

struct error *prepare_check(struct task *t, struct arena *a, struct selection *selection, struct chosen **out_chosen)
{
    const struct precheck_options options = {
        .source = t->source, .target = t->target, .sync = t->options, .selection = selection, .stop = t->stop};
    struct precheck_report report;

    TRY(prepare_report(a, options, &report));
    *out_chosen = report.chosen;
    if (t->hooks.checked != NULL)
        t->hooks.checked(t->hooks.self, report.items, report.n_items);
    TRY(prepare_judge(a, &report));
    return accepted_record(a, t->folder, report.items, report.n_items);
}

/* Before anything that they own; by a session on any database of the target. */
MUST_USE static struct error *carry_accounts(struct task *t, struct pg_conn *source, struct pg_conn *target)
{
    unsigned n = 0;

    if (!t->options->with_accounts)
        return NULL;
    TRY(accounts_carry(source, target, t->left_out, &n));
    if (n > 0)
        log_info("made %u roles on the target", n);
    return NULL;
}

/* The target's database, made like the source's when it is missing. */
MUST_USE static struct error *create_database(struct task *t, struct pg_conn *source)
{
    CLEANUP(pg_conn_close) struct pg_conn *conn = NULL;
    const struct pg_connect_options options = {.application_name = task_session_name(t->arena, t, "create database"),
                                               .stop = t->stop};

    TRY(pg_connect(pg_endpoint_with_database(t->arena, t->target, "postgres"), options, &conn));
    char *exists = NULL;
    TRY(pg_query_text(conn, t->arena, "looking for the target database",
                      "SELECT count(*)::text FROM pg_database WHERE datname = $1",
                      (const char *const[]){pg_endpoint_database(t->target)}, 1, &exists));
    if (strcmp(exists, "0") != 0)
        return NULL;
    TRY(carry_accounts(t, source, conn));
    log_info("creating database \"%s\" on the target", pg_endpoint_database(t->target));
    TRY(catalog_create_database(conn, t->arena, pg_endpoint_database(t->target), &t->source_facts));
    return database_give(source, conn, pg_endpoint_database(t->target), t->left_out);
}

MUST_USE static struct error *open_target(struct task *t, struct pg_conn *source, struct pg_conn **out_conn)
{
    struct error *err = task_connect_target(t, "control", t->stop, out_conn);

    if (err == NULL || error_kind(err) == ERROR_CANCELLED)
        return err;
    /* Whether it is the database that is missing, asking tells; the first error says what else it may be. */
    CLEANUP(error_free) struct error *create_err = create_database(t, source);
    if (create_err != NULL)
        return err;
    error_free(err);
    return task_connect_target(t, "control", t->stop, out_conn);
}

/* A session of a dead process may need a moment to notice. */
MUST_USE static struct error *take_lock(struct task *t, struct pg_conn *target)
{
    for (unsigned i = 0; i < LOCK_TRIES; i++) {
        bool taken = false;

        TRY(state_lock(target, t->record->id, &taken));
        if (taken)
            return NULL;
        TRY(state_fence(target, t->record->id, NULL, 0));
        if (stop_wait_ms(t->stop, LOCK_EVERY_MS))
            return stop_check(t->stop);
    }
    return error_new(ERROR_CONFIG, "another session holds the lock of task %s on the target", t->record->id);
}

/* Another pgtide, with a state folder elsewhere, may be writing the same source's rows to this target. */
MUST_USE static struct error *refuse_others(struct task *t, struct pg_conn *target)
{
    struct state_task *tasks = NULL;
    unsigned n = 0;

    TRY(state_tasks(target, t->arena, &tasks, &n));
    for (unsigned i = 0; i < n; i++)
        if (strcmp(tasks[i].task, t->record->id) != 0 &&
            strcmp(tasks[i].source_system, t->source_facts.system_identifier) == 0 &&
            tasks[i].source_database_oid == t->source_facts.database_oid)
            return error_hint(
                error_new(ERROR_CONFIG, "the target is already being synchronized from database \"%s\" by task %s",
                          tasks[i].source_database, tasks[i].task),
                "Its state folder is elsewhere (another machine, user or --state-dir). Go on with it there, or "
                "remove what it left with \"pgtide slots gc\" on both servers.");
    return NULL;
}

static const char *task_tag_text(struct task *t)
{
    return arena_printf(t->arena, "%s %s", t->record->id, t->record->slot);
}

static void note_commit(void *self, uint32_t xid, struct lsn end, int64_t committed_us, int64_t received_us)
{
    struct task *t = self;
    struct progress_counters *c = t->counters;

    commit_log_note(t->commits, xid, end);
    task_commit_came(t, end, committed_us);
    atomic_store_explicit(&c->receive_us, received_us + atomic_load(&c->clock_offset_us) - committed_us,
                          memory_order_relaxed);
}

static void ring_news(void *self)
{
    wake_ring(self);
}

MUST_USE static struct error *open_spool(struct task *t)
{
    const char *tag = task_tag_text(t);

    TRY(spool_folder_open(t->arena, arena_printf(t->arena, "%s/spool", t->folder), &t->spool_store));
    return spool_open(t->spool_store, pgoutput_decoder(t->arena),
                      (struct spool_options){.task_tag = hash_bytes(tag, strlen(tag), 0),
                                             .limit_bytes = t->options->max_spool,
                                             .on_visible = ring_news,
                                             .on_commit = note_commit,
                                             .commit_self = t,
                                             .self = t->news},
                      &t->spool);
}

MUST_USE static struct error *select_ddl(const struct task *t, struct pg_conn *source)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "rules");
    struct selection *rules = NULL;

    if (t->chosen == NULL)
        return NULL;
    TRY(selecting_rules(t, scratch, &rules));
    return ddl_capture_select(
        source, t->record->id,
        &(struct ddl_choice){.chosen = t->chosen, .rules = rules, .with_publications = t->record->has_publications});
}

/* (R1) Before the slot: it waits for transactions that run now, so those it sends have met the capture. */
MUST_USE static struct error *install_capture(struct task *t, struct pg_conn *source)
{
    bool was_whole;

    if (!t->options->with_ddl || !t->source_facts.user_is_superuser || t->source_facts.is_in_recovery ||
        t->options->type == SYNC_FULL)
        return NULL;
    if (!t->record->owns_publication) {
        log_warn("DDL is not carried: publication \"%s\" is not ours and does not have the table that tells of it",
                 t->record->publication);
        return NULL;
    }
    t->record->has_ddl = true;
    TRY(task_record_write(t->folder, t->record));
    log_info("installing the capture of DDL on the source: event triggers \"!pgtide_%s_...\"", t->record->id);
    FAULT_POINT("prepare.before_capture");
    TRY(select_ddl(t, source));
    TRY(ddl_capture_install(source, t->record->id, t->record->has_publications, &was_whole));
    FAULT_POINT("prepare.after_capture");
    return NULL;
}

/* What somebody removed could not tell of DDL since: nobody knows what was run. */
MUST_USE static struct error *verify_capture(struct task *t, struct pg_conn *source)
{
    bool was_whole;

    if (!t->record->has_ddl)
        return NULL;
    TRY(select_ddl(t, source));
    TRY(ddl_capture_install(source, t->record->id, t->record->has_publications, &was_whole));
    if (!was_whole)
        log_warn(
            "the capture of DDL was not whole on the source and is installed again: DDL that was run meanwhile is not "
            "known; run it on the target by hand");
    return NULL;
}

/*
 * Partitioned tables that are published as such, so that partitions made later come along: when all of their partitions are
 * chosen, and cannot be harmed by it: a primary key is what future ones will have, too. By place among the relations.
 */
static bool *find_whole(struct task *t, const struct catalog *catalog)
{
    const struct chosen *c = t->chosen;
    bool *is_whole = arena_alloc(t->arena, (c->n_relations + 1UL) * sizeof *is_whole);

    if (t->source_facts.version_number < PUBLISHES_PARTITIONED_SINCE)
        return is_whole;
    for (unsigned i = 0; i < c->n_relations; i++)
        is_whole[i] = c->relations[i].kind == 'p' && c->relations[i].parent == 0 && c->relations[i].is_chosen &&
                      c->relations[i].has_primary_key;
    for (unsigned i = 0; i < c->n_relations; i++)
        if (!c->relations[i].is_chosen)
            is_whole[chosen_top(c, &c->relations[i]) - c->relations] = false;
    for (unsigned i = 0; i < catalog->n_tables; i++) {
        const struct chosen_relation *r = chosen_find(c, catalog->tables[i].oid);

        if (r != NULL && (!catalog->tables[i].has_usable_identity || catalog->tables[i].persistence != 'p'))
            is_whole[chosen_top(c, r) - c->relations] = false;
    }
    return is_whole;
}

static bool is_part_of_whole(const struct task *t, const bool *is_whole, uint32_t oid)
{
    const struct chosen_relation *r = is_whole == NULL ? NULL : chosen_find(t->chosen, oid);

    return r != NULL && is_whole[chosen_top(t->chosen, r) - t->chosen->relations];
}

static void add_whole(const struct task *t, const bool *is_whole, struct pg_publication_table *tables, unsigned *n)
{
    for (unsigned i = 0; is_whole != NULL && i < t->chosen->n_relations; i++)
        if (is_whole[i])
            tables[(*n)++] = (struct pg_publication_table){.schema = t->chosen->relations[i].schema,
                                                           .name = t->chosen->relations[i].name};
}

/* Tables of extensions are not in the catalog: a publication of all tables would have them, and they could not be updated any more. */
MUST_USE static struct error *extensions_have_identity(struct task *t, struct pg_conn *source, bool *out)
{
    static const char sql[] =
        "SELECT count(*)::text FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = "
        "c.oid AND d.deptype = 'e'"
        " WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.relreplident IN ('d', 'n') AND NOT "
        "(c.relreplident = 'd' AND"
        "       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate))";
    char *n = NULL;

    TRY(pg_query_text(source, t->arena, "looking at the tables of extensions", sql, NULL, 0, &n));
    *out = strcmp(n, "0") == 0;
    return NULL;
}

/* (G1) Complete before the slot. Tables without identity are published for INSERT and TRUNCATE only: the precheck asked. */
MUST_USE static struct error *publish_tables(struct task *t, struct pg_conn *source)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "tables to publish");
    struct pg_publication_plan plan = {.name = t->record->publication};
    struct catalog catalog;
    bool all_have_identity = true;

    TRY(catalog_read(source, scratch, &catalog));
    chosen_filter_catalog(t->chosen, &catalog);
    const bool *is_whole = t->chosen == NULL ? NULL : find_whole(t, &catalog);
    struct pg_publication_table *tables = arena_alloc(
        scratch, (catalog.n_tables + (t->chosen == NULL ? 0 : t->chosen->n_relations) + 1UL) * sizeof *tables);
    if (t->record->has_ddl)
        tables[plan.n_tables++] = (struct pg_publication_table){
            .schema = "pgtide", .name = ddl_capture_table(t->arena, t->record->id), .inserts_only = false};
    for (unsigned i = 0; i < catalog.n_tables; i++) {
        const struct catalog_table *table = &catalog.tables[i];

        if (table->persistence != 'p' || is_part_of_whole(t, is_whole, table->oid))
            continue;
        tables[plan.n_tables++] = (struct pg_publication_table){
            .schema = table->schema, .name = table->name, .inserts_only = !table->has_usable_identity};
        all_have_identity = all_have_identity && table->has_usable_identity;
    }
    add_whole(t, is_whole, tables, &plan.n_tables);
    plan.tables = tables;
    if (t->chosen == NULL && all_have_identity)
        TRY(extensions_have_identity(t, source, &all_have_identity));
    if (t->chosen == NULL && all_have_identity && t->source_facts.user_is_superuser) {
        plan.all_tables = true;
        plan.n_tables = 0;
    }
    t->publications = pg_publication_names(t->arena, &plan);
    log_info("making publication \"%s\" on the source", plan.name);
    return pg_publication_create(source, &plan);
}

/* The stream's source: a publication, or test_decoding where none can be made. */
MUST_USE static struct error *make_publication(struct task *t, struct pg_conn *source)
{
    bool may_publish = false;

    if (!t->record->owns_publication) {
        t->publications = (struct pg_publication_names){.n = 1, .names = {t->record->publication}};
        return NULL;
    }
    TRY(pg_publication_may_be_made(source, t->chosen, &may_publish));
    t->is_test_decoding = !may_publish;
    if (may_publish)
        return publish_tables(t, source);
    if (t->source_facts.is_in_recovery)
        log_info("on a standby no publication can be made: changes are read with test_decoding");
    else
        log_info("user \"%s\" cannot make a publication on the source: changes are read with test_decoding",
                 t->source_facts.user);
    return NULL;
}

/* Such a slot may decode what ran meanwhile with a catalog that is too old (pg/slot.h). */
MUST_USE static struct error *refuse_changed_catalog(struct task *t, struct pg_conn *source, const char *mark,
                                                     bool is_last)
{
    bool changed = false;

    TRY(pg_catalog_changed_since(source, t->arena, mark, &changed));
    if (!changed)
        return NULL;
    if (!is_last)
        return error_new(ERROR_TRANSIENT, "DDL was committed on the source while the slot was made");
    log_warn("DDL was committed on the source during each of %d tries to make the slot: rows that were written to the "
             "tables "
             "concerned at that moment may be decoded with their former columns; compare them when the copy is done",
             SLOT_TRIES);
    return NULL;
}

/* The first snapshot is the slot's own; the holder exports it anew, so the replication session may end. */
MUST_USE static struct error *hold_slot_snapshot(struct task *t, const struct pg_slot_created *slot,
                                                 struct pg_conn *watch)
{
    CLEANUP(pg_snapshot_release) struct pg_snapshot_holder *holder = NULL;
    const struct pg_connect_options session = {.application_name = task_session_name(t->arena, t, "holder"),
                                               .encoding = t->source_facts.encoding,
                                               .stop = t->stop};
    const struct pg_snapshot_wish wish = {.import = slot->snapshot,
                                          .consistent_point = watch == NULL ? LSN_NONE : slot->consistent_point};

    TRY(pg_snapshot_hold(t->source, session, wish, &holder));
    if (watch != NULL)
        TRY(pg_standby_watched(watch));
    t->holder = TAKE(holder);
    return NULL;
}

MUST_USE static struct error *try_slot(struct task *t, struct pg_conn *source, bool is_last, struct state_task *out)
{
    CLEANUP(pg_conn_close) struct pg_conn *replication = NULL;
    const struct pg_connect_options walsender = {
        .application_name = task_session_name(t->arena, t, "slot"), .replication = true, .stop = t->stop};
    const struct pg_connect_options watcher = {.application_name = task_session_name(t->arena, t, "watch"),
                                               .stop = t->stop};
    CLEANUP(pg_conn_close) struct pg_conn *watch = NULL;
    struct pg_slot_created slot;
    char *mark = NULL;

    TRY(pg_slot_drop(source, t->record->slot)); /* of an earlier try */
    TRY(pg_connect_patiently(t->source, walsender, &replication));
    if (t->source_facts.is_in_recovery)
        TRY(pg_standby_watch(t->source, watcher, &watch));
    TRY(pg_catalog_mark(source, t->arena, &mark));
    FAULT_POINT("prepare.before_slot");
    TRY(pg_slot_create(replication, t->arena,
                       &(struct pg_slot_create_options){.name = t->record->slot,
                                                        .plugin = t->is_test_decoding ? TEST_DECODING : NULL,
                                                        .observer = source,
                                                        .waiting = pg_standby_tell_waiting},
                       &slot));
    FAULT_POINT("prepare.after_slot");
    TRY(refuse_changed_catalog(t, source, mark, is_last));
    TRY(hold_slot_snapshot(t, &slot, watch));
    out->slot = t->record->slot;
    out->slot_lsn = slot.consistent_point;
    out->slot_snapshot = pg_snapshot_of(t->holder)->text;
    return NULL;
}

/* What somebody made: changes are read from where it is. */
MUST_USE static struct error *take_slot(struct task *t, struct pg_conn *source, struct pg_conn *target)
{
    struct state_task task = t->state.task;
    struct pg_slot_facts facts;
    bool exists = false;

    TRY(pg_slot_read(source, t->arena, t->record->slot, &exists, &facts));
    if (!exists)
        return error_new(ERROR_CONFIG, "replication slot \"%s\" is gone from the source", t->record->slot);
    t->is_test_decoding = strcmp(facts.plugin, TEST_DECODING) == 0;
    task.slot = t->record->slot;
    task.slot_lsn = facts.confirmed;
    log_info("reading changes of replication slot \"%s\" from %s on", task.slot, lsn_format(task.slot_lsn).text);
    TRY(spool_reset_to(t->spool, task.slot_lsn));
    TRY(state_set_slot(target, &task));
    t->state.task = task;
    return NULL;
}

/* A busy source may have too many transactions for an exported snapshot, or be restarted just now. */
MUST_USE static struct error *make_slot(struct task *t, struct pg_conn *source, struct pg_conn *target)
{
    struct state_task task = t->state.task;

    if (!t->record->owns_slot)
        return take_slot(t, source, target);
    log_info("making replication slot \"%s\" on the source", t->record->slot);
    for (unsigned i = 1;; i++) {
        struct error *err = try_slot(t, source, i == SLOT_TRIES, &task);

        if (err == NULL)
            break;
        if (error_kind(err) != ERROR_TRANSIENT || i == SLOT_TRIES || pg_conn_is_broken(source))
            return err;
        log_warn("could not make the slot, trying again: %s", error_message(err));
        error_free(err);
        if (stop_wait_ms(t->stop, 1000))
            return stop_check(t->stop);
    }
    /* The spool first: a slot that the target knows has a spool that begins where it does. */
    TRY(spool_reset_to(t->spool, task.slot_lsn));
    FAULT_POINT("prepare.spool_reset");
    TRY(state_set_slot(target, &task));
    t->state.task = task;
    return NULL;
}

/*
 * What the slot was confirmed up to is on the target, so a spool that is gone costs nothing: with --ack target always so.
 * The counts of transactions then no longer begin at the same place.
 */
MUST_USE static struct error *adopt_confirmed(struct task *t, struct lsn confirmed)
{
    if (t->state.n_lanes == 0 || !lsn_before(spool_end(t->spool), confirmed) ||
        lsn_before(state_least(&t->state).end, confirmed))
        return NULL;
    log_warn("the spool ends before %s, where the slot is confirmed; the target has everything up to there: receiving "
             "goes on",
             lsn_format(confirmed).text);
    t->record->counts_are_lost = true;
    TRY(task_record_write(t->folder, t->record));
    return spool_reset_to(t->spool, confirmed);
}

/* (P6) */
MUST_USE static struct error *find_slot(struct task *t, struct pg_conn *source)
{
    const struct state_task *task = &t->state.task;
    const struct history recorded = {
        .system = task->source_system, .timeline = task->source_timeline, .database_oid = task->source_database_oid};
    struct pg_slot_facts facts;
    bool exists = false;

    TRY(history_compare(&recorded, &t->history));
    TRY(pg_slot_read(source, t->arena, t->record->slot, &exists, &facts));
    if (exists)
        TRY(adopt_confirmed(t, facts.confirmed));
    TRY(history_judge_slot(source, t->record->slot, exists ? &facts : NULL, spool_end(t->spool)));
    t->is_test_decoding = strcmp(facts.plugin, TEST_DECODING) == 0;
    t->publications = (struct pg_publication_names){.n = 1, .names = {t->record->publication}};
    if (!t->record->owns_publication)
        return NULL;
    struct pg_publication_facts inserts;
    const char *second = arena_printf(t->arena, "%s_inserts", t->record->publication);
    TRY(pg_publication_read(source, second, &inserts));
    if (inserts.exists)
        t->publications.names[t->publications.n++] = second;
    return NULL;
}

/* Then slot and dump are made anew. A structure that is partly there binds both: its dump fits no other slot. */
static bool nothing_is_copied(const struct state *state)
{
    bool has_structure = state->n_relations > 0 && state->relations[0].source_oid == TASK_STRUCTURE;

    return state->n_relations == has_structure && state->n_done == 0 && !state->task.structure_done &&
           lsn_is_none(state_least(state).end);
}

/* (G2) What the slot's snapshot saw, every later one must see too. */
MUST_USE static struct error *note_slot_snapshot(struct task *t)
{
    if (t->state.task.slot_snapshot == NULL)
        return NULL;
    TRY(snapshot_parse(t->arena, t->state.task.slot_snapshot, &t->slot_saw));
    t->slot_saw_is_known = true;
    return NULL;
}

MUST_USE static struct error *find_state(struct task *t, struct pg_conn *target)
{
    const struct state_task fresh = {
        .task = t->record->id,
        .source_system = t->history.system,
        .source_timeline = t->history.timeline,
        .source_database_oid = t->history.database_oid,
        .source_database = t->source_facts.database,
        .version = PGTIDE_VERSION,
    };

    TRY(take_lock(t, target));
    TRY(state_fence(target, t->record->id, NULL, 0));
    TRY(refuse_others(t, target));
    TRY(state_read(target, t->arena, t->record->id, &t->state));
    if (t->state.exists)
        return NULL;
    if (t->spool != NULL && !lsn_is_none(spool_end(t->spool)))
        return error_hint(
            error_new(ERROR_HISTORY,
                      "history broken: the target has no state of task %s, though its stream was received",
                      t->record->id),
            "The target was restored, emptied or is another server. Remove what is left with \"pgtide stop "
            "--force\", then start again with an empty target.");
    TRY(state_create(target, &fresh));
    return state_read(target, t->arena, t->record->id, &t->state);
}

/* From 14 on pgoutput can send binary values. */
MUST_USE static struct error *choose_format(struct task *t, struct pg_conn *source)
{
    struct type_list types;

    if (t->source_facts.version_number < 140000)
        return NULL;
    TRY(binary_read_types(source, t->arena, &types));
    const char *reason = binary_stream_reason(t->arena, &types, pg_conn_version(t->guard));
    t->is_binary = reason == NULL;
    if (reason != NULL)
        log_info("changes are received in text format: %s", reason);
    return NULL;
}

/* Of rules: what was made between the precheck and the first snapshot. From then on the capture chooses. */
MUST_USE static struct error *look_again(struct task *t, bool *out_has_grown)
{
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;

    *out_has_grown = false;
    if (t->chosen == NULL || t->holder == NULL || !t->record->owns_publication)
        return NULL;
    TRY(task_connect_source(t, "selection", t->stop, &source));
    TRY(pg_snapshot_import(source, pg_snapshot_of(t->holder)->id));
    TRY(selecting_grow(t, source, out_has_grown));
    return pg_execute(source, "ending the snapshot", "COMMIT");
}

/* (G1) What is chosen under the slot's snapshot has been published since before the slot. */
MUST_USE static struct error *make_stream(struct task *t, struct pg_conn *source)
{
    for (unsigned i = 0; i < SLOT_TRIES; i++) {
        bool has_grown = false;

        TRY(make_publication(t, source));
        TRY(make_slot(t, source, t->guard));
        TRY(look_again(t, &has_grown));
        if (!has_grown)
            return NULL;
        log_info("tables that the rules choose were made while it began: publication and slot are made anew");
        pg_snapshot_release(TAKE(t->holder));
        if (t->record->has_ddl)
            TRY(select_ddl(t, source));
    }
    return error_new(ERROR_TRANSIENT, "tables that the rules choose were made during each of %d tries to begin",
                     SLOT_TRIES);
}

MUST_USE static struct error *prepare_sides(struct task *t, struct pg_conn *source)
{
    TRY(catalog_server(source, t->arena, &t->source_facts));
    TRY(selecting_restore(t, source));
    t->history = history_of(&t->source_facts);
    TRY(open_spool(t));
    TRY(open_target(t, source, &t->guard));
    TRY(carry_accounts(t, source, t->guard));
    TRY(find_state(t, t->guard));
    if (lsn_is_none(t->state.task.slot_lsn) || nothing_is_copied(&t->state)) {
        TRY(install_capture(t, source));
        TRY(make_stream(t, source));
    } else {
        TRY(find_slot(t, source));
        TRY(verify_capture(t, source));
        if (t->state.task.structure_done)
            TRY(drift_check(t, source, true));
        TRY(full_find_whole(t, source));
    }
    TRY(choose_format(t, source));
    if (t->is_whole)
        TRY(task_mark(source, &t->mark));
    return note_slot_snapshot(t);
}

struct error *prepare_guard(struct task *t, struct pg_conn **out_conn)
{
    struct error *err = pg_execute(t->guard, "asking the target", "SELECT 1");

    if (err != NULL) {
        bool is_lost = error_kind(err) == ERROR_TRANSIENT && pg_conn_is_broken(t->guard);

        if (!is_lost)
            return err;
        log_info("the session that holds the task's lock on the target was lost: taking it again");
        error_free(err);
        pg_conn_close(TAKE(t->guard));
        TRY(task_connect_target(t, "control", t->stop, &t->guard));
        TRY(take_lock(t, t->guard));
    }
    *out_conn = t->guard;
    return NULL;
}

void prepare_forget(struct task *t)
{
    pg_snapshot_release(TAKE(t->holder));
    pg_conn_close(TAKE(t->guard));
    pg_conn_close(TAKE(t->control));
    t->mark = LSN_NONE;
    spool_close(TAKE(t->spool));
}

/* The target, its state and an ordinary snapshot; nothing is made on the source. */
MUST_USE static struct error *prepare_once(struct task *t, struct pg_conn *source)
{
    TRY(catalog_server(source, t->arena, &t->source_facts));
    TRY(selecting_restore(t, source));
    t->history = history_of(&t->source_facts);
    TRY(open_target(t, source, &t->guard));
    TRY(carry_accounts(t, source, t->guard));
    TRY(find_state(t, t->guard));
    if (t->source_facts.is_in_recovery)
        log_info("the source is a standby: what it has replayed is copied");
    if (nothing_is_copied(&t->state)) {
        const struct pg_connect_options holder = {.application_name = task_session_name(t->arena, t, "holder"),
                                                  .encoding = t->source_facts.encoding,
                                                  .stop = t->stop};
        return pg_snapshot_hold(t->source, holder, (struct pg_snapshot_wish){.may_be_standby = true}, &t->holder);
    }
    const struct history recorded = {.system = t->state.task.source_system,
                                     .timeline = t->state.task.source_timeline,
                                     .database_oid = t->state.task.source_database_oid};
    log_warn("an interrupted copy goes on with a new snapshot: its tables show different moments of the source");
    return history_compare(&recorded, &t->history);
}

/* Each try finds what the one before has made, as a new process would (R1). */
struct error *prepare_run(struct task *t)
{
    struct backoff backoff = {0};

    for (;;) {
        CLEANUP(pg_conn_close) struct pg_conn *source = NULL;

        TRY(task_connect_source(t, "control", t->stream_stop, &source));
        struct error *err = t->record->is_once ? prepare_once(t, source) : prepare_sides(t, source);
        bool is_cut = pg_conn_is_broken(source) || (t->guard != NULL && pg_conn_is_broken(t->guard));
        if (err == NULL && t->is_whole)
            t->control = TAKE(source);
        if (err == NULL || error_kind(err) != ERROR_TRANSIENT || !is_cut)
            return err;
        log_warn("a server went away while the start was prepared, trying again: %s", error_message(err));
        error_free(err);
        prepare_forget(t);
        if (stop_wait_ms(t->stop, backoff_next_ms(&backoff)))
            return stop_check(t->stop);
    }
}
