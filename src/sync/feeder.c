#include "sync/feeder.h"

#include <inttypes.h>

enum { ROW_OVERHEAD = 128, FIRST_TABLES = 64 };

/* DDL in the open transaction. Places are numbers of records after its BEGIN. */
struct feeder_ddl {
    const char *table; /* NULL: none is carried */
    const struct gate *gate;

    bool has_run;     /* in the open transaction */
    bool is_barrier;  /* the window just filled ends with it, or with its COMMIT */
    bool must_forget; /* after a barrier the plans of tables mean nothing */
    struct arena *held_arena;
    const char *held; /* a record that waits for a window of its own; else NULL */
    size_t held_length;
    struct arena *said_arena;
    struct value said; /* the newest statement, or string of statements, that was told in words */

    bool is_seeking;    /* ahead, for the statement that made the table whose rows come now */
    bool is_returning;  /* to the rows, */
    struct event home;  /* in the transaction that began with this */
    uint64_t seek_from; /* the place of the mark before the rows */
    uint64_t run_at;    /* the place of the last statement that was run ahead of its rows; 0: none */
};

struct feeder {
    struct arena *task;
    struct arena *plans;   /* of `tables` */
    struct arena *scratch; /* one record of a transaction that is not taken */
    struct decoder decoder;
    struct table_resolver resolver;
    struct record_source source;

    struct target_table **tables; /* by relation version; NULL: not asked yet */
    uint32_t n_tables;

    struct lsn position; /* (P2) COMMIT end of the last transaction taken or applied */
    struct lsn until;
    unsigned dml;
    struct lsn reached;     /* everything committed before it was read: a COMMIT's end or a keepalive */
    struct lsn last_change; /* commit record of the newest transaction seen that changes rows */
    bool is_beyond_until;   /* a transaction was refused */
    struct lsn refused;     /* its commit record */
    uint64_t n_transactions;
    uint64_t n_left_out;

    bool in_transaction;
    bool is_skipping; /* that transaction was applied before */
    struct event begin;
    uint64_t n_records; /* of that transaction so far */
    struct feeder_ddl ddl;
};

struct feeder *feeder_new(struct arena *task, struct decoder decoder, struct table_resolver tables)
{
    struct feeder *f = ARENA_NEW(task, struct feeder);

    f->task = task;
    f->plans = arena_new(task, "feeder tables");
    f->scratch = arena_new(task, "feeder record");
    f->ddl.held_arena = arena_new(task, "feeder statement");
    f->ddl.said_arena = arena_new(task, "feeder string");
    f->decoder = decoder;
    f->resolver = tables;
    f->dml = DML_ALL;
    return f;
}

void feeder_restart(struct feeder *f, struct record_source source, struct lsn position)
{
    f->source = source;
    f->position = position;
    f->reached = position;
    f->is_beyond_until = false;
    f->in_transaction = false;
    f->is_skipping = false;
    f->ddl = (struct feeder_ddl){.table = f->ddl.table,
                                 .gate = f->ddl.gate,
                                 .held_arena = f->ddl.held_arena,
                                 .said_arena = f->ddl.said_arena,
                                 .must_forget = true};
}

void feeder_set_ddl(struct feeder *f, const char *table, const struct gate *gate)
{
    f->ddl.table = table;
    f->ddl.gate = gate;
}

bool feeder_is_inside_ddl(const struct feeder *f)
{
    return f->in_transaction && f->ddl.has_run;
}

void feeder_set_until(struct feeder *f, struct lsn until)
{
    f->until = until;
}

void feeder_set_dml(struct feeder *f, unsigned dml)
{
    f->dml = dml;
}

static bool is_carried(const struct feeder *f, enum event_kind kind)
{
    static const unsigned kinds[EVENT_KIND_COUNT] = {
        [EVENT_INSERT] = DML_INSERT,
        [EVENT_UPDATE] = DML_UPDATE,
        [EVENT_DELETE] = DML_DELETE,
        [EVENT_TRUNCATE] = DML_TRUNCATE,
    };

    return (f->dml & kinds[kind]) != 0;
}

static bool is_past_until(const struct feeder *f, struct lsn at)
{
    return !lsn_is_none(f->until) && !lsn_before(at, f->until);
}

static void make_room_for_version(struct feeder *f, uint32_t version)
{
    uint32_t wider = f->n_tables == 0 ? FIRST_TABLES : f->n_tables;

    if (version < f->n_tables)
        return;
    while (wider <= version)
        wider *= 2;

    struct target_table **tables = arena_alloc(f->plans, wider * sizeof(struct target_table *));
    if (f->n_tables > 0)
        memcpy(tables, f->tables, f->n_tables * sizeof(struct target_table *));
    f->tables = tables;
    f->n_tables = wider;
}

/* Asked at the first change, not at RELATION: a segment of the spool begins with all relations there are. */
MUST_USE static struct error *find_table(struct feeder *f, const struct stream_relation *relation,
                                         struct target_table **out)
{
    make_room_for_version(f, relation->version);
    if (f->tables[relation->version] == NULL) {
        struct target_table *table;
        struct error *err = f->resolver.table(f->resolver.self, f->plans, relation, &table);

        if (err != NULL)
            return error_wrap(err, "looking for table \"%s.%s\" on the target", relation->schema, relation->name);
        f->tables[relation->version] = table;
    }
    *out = f->tables[relation->version];
    return NULL;
}

/*
 * (P2) Whether a transaction was applied is a matter of where its COMMIT ends, which BEGIN does not say. But records do not
 * overlap and the position is the end of a commit record (or, before the first, the slot's consistent point, which lies
 * between records). So a commit record that begins before the position ends at or before it: applied. One that begins
 * at or after it ends after it: not applied. take_commit checks the one case where this would lose something.
 */
static bool was_applied(const struct feeder *f, struct lsn commit)
{
    return lsn_before(commit, f->position);
}

MUST_USE static struct error *take_begin(struct feeder *f, struct window *w, const struct event *event)
{
    if (f->ddl.is_returning && lsn_equal(event->commit, f->ddl.home.commit)) {
        f->in_transaction = true;
        f->begin = f->ddl.home;
        f->n_records = 0;
        return NULL;
    }
    if (f->in_transaction)
        return error_new(ERROR_BUG, "transaction %" PRIu32 " begins inside transaction %" PRIu32 " of the stream",
                         event->xid, f->begin.xid);
    f->is_skipping = was_applied(f, event->commit);
    if (!f->is_skipping && is_past_until(f, event->commit)) {
        f->is_beyond_until = true;
        f->refused = event->commit;
        return NULL;
    }
    f->in_transaction = true;
    f->begin = *event;
    if (f->is_skipping)
        return NULL;
    f->n_records = 0;
    f->ddl.run_at = 0;
    window_begin(w, event->xid, event->commit, event->committed_us, false);
    return NULL;
}

MUST_USE static struct error *take_commit(struct feeder *f, struct window *w, const struct event *event,
                                          int64_t received_us)
{
    if (!lsn_equal(event->commit, f->begin.commit))
        return error_new(ERROR_BUG, "transaction %" PRIu32 " begins as the one at %s and ends as the one at %s",
                         f->begin.xid, lsn_format(f->begin.commit).text, lsn_format(event->commit).text);
    if (f->ddl.is_seeking)
        return error_new(ERROR_BUG, "transaction %" PRIu32 " begins to make a table from a query and does not end it",
                         f->begin.xid);
    f->in_transaction = false;
    if (!f->is_skipping) {
        f->ddl.is_barrier = f->ddl.has_run;
        f->ddl.has_run = false;
        window_commit(w, event->end, received_us);
        f->position = event->end;
        f->n_transactions++;
    } else if (lsn_before(f->position, event->end)) {
        return error_new(ERROR_BUG, "transaction %" PRIu32 " ends at %s, beyond the position %s, and began before it",
                         f->begin.xid, lsn_format(event->end).text, lsn_format(f->position).text);
    }
    f->is_skipping = false;
    f->reached = lsn_max(f->reached, event->end);
    return NULL;
}

/* (C2) `table` is NULL for kinds of changes that are not carried: the source was written to all the same. */
static void note_change(struct feeder *f, const struct target_table *table)
{
    if (table != NULL && table->mode == TABLE_IGNORED)
        f->n_left_out++;
    else
        f->last_change = lsn_max(f->last_change, f->begin.commit);
}

static bool is_statement(const struct feeder *f, const struct stream_relation *r)
{
    return f->ddl.table != NULL && strcmp(r->name, f->ddl.table) == 0 && strcmp(r->schema, FEEDER_DDL_SCHEMA) == 0;
}

/* NULL where there is no such column. */
static const struct value *value_of(const struct event *event, const char *column)
{
    const struct stream_relation *r = event->relation;

    for (unsigned i = 0; i < r->n_columns; i++)
        if (strcmp(r->columns[i].name, column) == 0)
            return &event->new_row[i];
    return NULL;
}

static bool is_start(const struct event *event)
{
    static const char start[] = "start";
    const struct value *phase = value_of(event, "phase");

    return phase != NULL && phase->length == strlen(start) && memcmp(phase->bytes, start, strlen(start)) == 0;
}

/* A long string of statements comes with the first one; the others of the transaction name it by a "=" before their number. */
static void note_said(struct feeder_ddl *d, const struct event *event)
{
    const struct value *said = value_of(event, "statement");

    if (said == NULL || !value_has_bytes(said))
        return;
    arena_reset(d->said_arena);
    d->said = *said;
    d->said.has_nul = false;
    d->said.bytes = memcpy(arena_bytes(d->said_arena, (size_t)said->length + 1), said->bytes, said->length);
}

/* The string in words, as if it had come with each. */
static void give_said(const struct feeder_ddl *d, struct arena *a, struct event *event)
{
    const struct value *said = value_of(event, "statement"), *nth = value_of(event, "nth");
    size_t size = event->relation->n_columns * sizeof(struct value);

    if (said == NULL || value_has_bytes(said) || nth == NULL || !value_has_bytes(nth) || *nth->bytes != '=')
        return;
    struct value *row = memcpy(arena_alloc(a, size), event->new_row, size);
    struct value *given = &row[said - event->new_row];
    *given = d->said;
    if (value_has_bytes(given))
        given->bytes = memcpy(arena_bytes(a, (size_t)given->length + 1), d->said.bytes, given->length);
    event->new_row = row;
}

/* (G2) What the dump of the structure has seen is there already. */
static bool is_news(const struct feeder *f)
{
    return f->ddl.gate == NULL || gate_lets_through(f->ddl.gate, f->begin.xid, f->begin.commit);
}

/* The rows in that table are deleted at once: nobody needs to know. */
static void take_statement(struct feeder *f, const struct event *event, const struct feed_record *record)
{
    struct feeder_ddl *d = &f->ddl;

    if (f->is_skipping || event->kind != EVENT_INSERT || !is_news(f))
        return;
    note_said(d, event);
    if (f->n_records == d->run_at)
        return;
    if (is_start(event)) {
        d->is_seeking = true;
        d->seek_from = f->n_records;
        return;
    }
    note_change(f, NULL);
    d->held = memcpy(arena_bytes(d->held_arena, record->length + 1), record->bytes, record->length);
    d->held_length = record->length;
    if (d->is_seeking) {
        d->is_seeking = false;
        d->is_returning = true;
        d->run_at = f->n_records;
    }
}

/* The statement alone in its window, and the transaction stays open. */
MUST_USE static struct error *place_statement(struct feeder *f, struct window *w)
{
    struct arena *a = window_arena(w);
    const char *bytes = memcpy(arena_bytes(a, f->ddl.held_length + 1), f->ddl.held, f->ddl.held_length);
    struct target_table *table = ARENA_NEW(a, struct target_table);
    struct event event = {0};

    TRY(f->decoder.ops->decode(f->decoder.self, a, bytes, f->ddl.held_length, &event));
    give_said(&f->ddl, a, &event);
    *table = (struct target_table){.relation = event.relation, .mode = TABLE_DDL};
    window_begin(w, f->begin.xid, f->begin.commit, f->begin.committed_us, true);
    window_change(w, table, &event);
    f->ddl.held = NULL;
    arena_reset(f->ddl.held_arena);
    f->ddl.has_run = true;
    f->ddl.is_barrier = true;
    return NULL;
}

/* What must be done once the lane has applied what ended at a barrier. */
MUST_USE static struct error *pass_barrier(struct feeder *f)
{
    if (!f->ddl.must_forget)
        return NULL;
    f->ddl.must_forget = false;
    arena_reset(f->plans);
    f->tables = NULL;
    f->n_tables = 0;
    if (!f->ddl.is_returning)
        return NULL;
    f->in_transaction = false;
    f->ddl.home = f->begin;
    return f->source.again(f->source.self, f->position);
}

/* Of the rows before a statement that was run ahead: everything up to the mark was taken before. */
static bool was_taken(struct feeder *f, const struct feed_record *record)
{
    if (!f->in_transaction || f->is_skipping || record->kind != FEED_MESSAGE)
        return false;
    f->n_records++;
    if (!f->ddl.is_returning)
        return false;
    f->ddl.is_returning = f->n_records < f->ddl.seek_from;
    return true;
}

MUST_USE static struct error *take_change(struct feeder *f, struct window *w, const struct event *event,
                                          const struct feed_record *record)
{
    struct target_table *table;

    if (is_statement(f, event->relation)) {
        take_statement(f, event, record);
        return NULL;
    }
    if (f->is_skipping || f->ddl.is_seeking)
        return NULL;
    if (!is_carried(f, event->kind)) {
        note_change(f, NULL);
        return NULL;
    }
    TRY(find_table(f, event->relation, &table));
    note_change(f, table);
    window_count_bytes(w, (size_t)2 * event->relation->n_columns * sizeof(struct value));
    window_change(w, table, event);
    return NULL;
}

MUST_USE static struct error *take_truncate(struct feeder *f, struct window *w, const struct event *event)
{
    struct arena *a = window_arena(w);
    struct target_table **tables = arena_alloc(a, event->n_truncated * sizeof(struct target_table *));

    if (f->is_skipping || f->ddl.is_seeking)
        return NULL;
    if (!is_carried(f, EVENT_TRUNCATE)) {
        note_change(f, NULL);
        return NULL;
    }
    for (unsigned i = 0; i < event->n_truncated; i++) {
        TRY(find_table(f, event->truncated[i], &tables[i]));
        note_change(f, tables[i]);
    }
    window_truncate(w, tables, event->n_truncated, event->restart_identity);
    return NULL;
}

/* Also out of a transaction that was applied before: its message may have been handed to nobody before the restart. */
static void take_message(struct window *w, const struct event *event)
{
    if (strcmp(event->prefix, FEEDER_MESSAGE_PREFIX) != 0)
        return;
    window_message(w, event->message_at, event->content, event->content_length);
    window_count_bytes(w, event->content_length);
}

MUST_USE static struct error *take_inside(struct feeder *f, struct window *w, const struct event *event,
                                          const struct feed_record *record)
{
    if (!f->in_transaction)
        return error_new(ERROR_BUG, "the stream has event %d outside of a transaction", (int)event->kind);
    if (event->kind == EVENT_COMMIT)
        return take_commit(f, w, event, record->received_us);
    if (event->kind == EVENT_TRUNCATE)
        return take_truncate(f, w, event);
    return take_change(f, w, event, record);
}

MUST_USE static struct error *take_event(struct feeder *f, struct window *w, const struct event *event,
                                         const struct feed_record *record)
{
    switch (event->kind) {
    case EVENT_BEGIN:
        return take_begin(f, w, event);
    case EVENT_COMMIT:
    case EVENT_INSERT:
    case EVENT_UPDATE:
    case EVENT_DELETE:
    case EVENT_TRUNCATE:
        return take_inside(f, w, event, record);
    case EVENT_MESSAGE:
        take_message(w, event);
        return NULL;
    case EVENT_RELATION: /* the decoder remembers it */
    case EVENT_TYPE:
    case EVENT_ORIGIN:
        return NULL;
    case EVENT_KIND_COUNT:
        break;
    }
    return error_new(ERROR_BUG, "the decoder made an event of kind %d", (int)event->kind);
}

/* The record's memory must live as long as the window. */
static bool is_kept(const struct feeder *f)
{
    return !f->is_skipping && !f->ddl.is_seeking && !f->ddl.is_returning;
}

MUST_USE static struct error *take_record(struct feeder *f, struct window *w, struct arena *a,
                                          const struct feed_record *record)
{
    struct event event = {0};

    switch (record->kind) {
    case FEED_NONE:
        return NULL;
    case FEED_KEEPALIVE:
        if (!f->in_transaction) {
            window_set_upto(w, record->at);
            f->reached = lsn_max(f->reached, record->at);
        }
        return NULL;
    case FEED_MESSAGE:
    case FEED_RELATION:
        if (is_kept(f))
            window_count_bytes(w, record->length + ROW_OVERHEAD);
        TRY(f->decoder.ops->decode(f->decoder.self, a, record->bytes, record->length, &event));
        return was_taken(f, record) ? NULL : take_event(f, w, &event, record);
    }
    return error_new(ERROR_BUG, "the spool has a record of kind %d", (int)record->kind);
}

/* A window that begins while a transaction is open goes on with it. */
static void continue_transaction(const struct feeder *f, struct window *w)
{
    if (f->in_transaction && !f->is_skipping && !window_is_open(w))
        window_begin(w, f->begin.xid, f->begin.commit, f->begin.committed_us, true);
}

static bool is_at_end(const struct feeder *f)
{
    return !f->in_transaction && (f->is_beyond_until || is_past_until(f, f->reached));
}

/* What ends a step; FEEDER_MORE: nothing does. */
static enum feeder_state reason_to_end(struct feeder *f, const struct window *w)
{
    if (f->ddl.is_barrier) {
        f->ddl.is_barrier = false;
        f->ddl.must_forget = true;
        return FEEDER_BARRIER;
    }
    if (is_at_end(f))
        return FEEDER_AT_END;
    return window_is_full(w) || f->ddl.held != NULL ? FEEDER_FULL : FEEDER_MORE;
}

MUST_USE static struct error *read_record(struct feeder *f, struct window *w, bool *out_found)
{
    struct feed_record record;
    struct arena *a = is_kept(f) ? window_arena(w) : f->scratch;

    arena_reset(f->scratch);
    TRY(f->source.next(f->source.self, a, &record));
    *out_found = record.kind != FEED_NONE;
    if (record.kind == FEED_NONE)
        return NULL;
    continue_transaction(f, w);

    struct error *err = take_record(f, w, a, &record);
    return err == NULL ? NULL : error_wrap(err, "reading the change stream at %s", lsn_format(record.at).text);
}

/* Its BEGIN was read already. */
MUST_USE static struct error *return_to_refused(struct feeder *f)
{
    if (!f->is_beyond_until || is_past_until(f, f->refused))
        return NULL;
    f->is_beyond_until = false;
    return f->source.again(f->source.self, f->position);
}

struct error *feeder_step(struct feeder *f, struct window *w, unsigned budget, enum feeder_state *out_state)
{
    bool found = true;

    TRY(pass_barrier(f));
    TRY(return_to_refused(f));
    if (f->ddl.held != NULL && window_is_empty(w))
        TRY(place_statement(f, w));
    for (;; budget--) {
        *out_state = reason_to_end(f, w);
        if (*out_state != FEEDER_MORE || budget == 0)
            return NULL;
        TRY(read_record(f, w, &found));
        if (!found) {
            *out_state = FEEDER_IDLE;
            return NULL;
        }
    }
}

bool feeder_at_boundary(const struct feeder *f)
{
    return !f->in_transaction && !f->ddl.is_returning;
}

struct lsn feeder_position(const struct feeder *f)
{
    return f->position;
}

struct lsn feeder_last_change(const struct feeder *f)
{
    return f->last_change;
}

uint64_t feeder_n_left_out(const struct feeder *f)
{
    return f->n_left_out;
}

uint64_t feeder_n_transactions(const struct feeder *f)
{
    return f->n_transactions;
}
