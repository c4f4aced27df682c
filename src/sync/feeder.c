#include "sync/feeder.h"

#include <inttypes.h>

enum { ROW_OVERHEAD = 128, FIRST_TABLES = 64 };

struct feeder {
    struct arena *task;
    struct arena *scratch; /* one record of a transaction that is not taken */
    struct decoder decoder;
    struct table_resolver resolver;
    struct record_source source;

    struct target_table **tables; /* by relation version; NULL: not asked yet */
    uint32_t n_tables;

    struct lsn position; /* (P2) COMMIT end of the last transaction taken or applied */
    struct lsn until;
    unsigned dml;
    struct lsn reached;   /* everything committed before it was read: a COMMIT's end or a keepalive */
    struct lsn last_change; /* commit record of the newest transaction seen that changes rows */
    bool is_beyond_until; /* a transaction was refused */
    uint64_t n_transactions;

    bool in_transaction;
    bool is_skipping; /* that transaction was applied before */
    struct event begin;
};

struct feeder *feeder_new(struct arena *task, struct decoder decoder, struct table_resolver tables)
{
    struct feeder *f = ARENA_NEW(task, struct feeder);

    f->task = task;
    f->scratch = arena_new(task, "feeder record");
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

    struct target_table **tables = arena_alloc(f->task, wider * sizeof(struct target_table *));
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
        struct error *err = f->resolver.table(f->resolver.self, f->task, relation, &table);

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
    if (f->in_transaction)
        return error_new(ERROR_BUG, "transaction %" PRIu32 " begins inside transaction %" PRIu32 " of the stream",
                         event->xid, f->begin.xid);
    f->is_skipping = was_applied(f, event->commit);
    if (!f->is_skipping && is_past_until(f, event->commit)) {
        f->is_beyond_until = true;
        return NULL;
    }
    f->in_transaction = true;
    f->begin = *event;
    if (!f->is_skipping)
        window_begin(w, event->xid, event->commit, event->committed_us, false);
    return NULL;
}

MUST_USE static struct error *take_commit(struct feeder *f, struct window *w, const struct event *event,
                                          int64_t received_us)
{
    if (!lsn_equal(event->commit, f->begin.commit))
        return error_new(ERROR_BUG, "transaction %" PRIu32 " begins as the one at %s and ends as the one at %s",
                         f->begin.xid, lsn_format(f->begin.commit).text, lsn_format(event->commit).text);
    f->in_transaction = false;
    if (!f->is_skipping) {
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
    if (table == NULL || table->mode != TABLE_IGNORED)
        f->last_change = lsn_max(f->last_change, f->begin.commit);
}

MUST_USE static struct error *take_change(struct feeder *f, struct window *w, const struct event *event)
{
    struct target_table *table;

    if (f->is_skipping)
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

    if (f->is_skipping)
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
                                          int64_t received_us)
{
    if (!f->in_transaction)
        return error_new(ERROR_BUG, "the stream has event %d outside of a transaction", (int)event->kind);
    if (event->kind == EVENT_COMMIT)
        return take_commit(f, w, event, received_us);
    if (event->kind == EVENT_TRUNCATE)
        return take_truncate(f, w, event);
    return take_change(f, w, event);
}

MUST_USE static struct error *take_event(struct feeder *f, struct window *w, const struct event *event,
                                         int64_t received_us)
{
    switch (event->kind) {
    case EVENT_BEGIN:
        return take_begin(f, w, event);
    case EVENT_COMMIT:
    case EVENT_INSERT:
    case EVENT_UPDATE:
    case EVENT_DELETE:
    case EVENT_TRUNCATE:
        return take_inside(f, w, event, received_us);
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
        if (!f->is_skipping)
            window_count_bytes(w, record->length + ROW_OVERHEAD);
        TRY(f->decoder.ops->decode(f->decoder.self, a, record->bytes, record->length, &event));
        return take_event(f, w, &event, record->received_us);
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

struct error *feeder_step(struct feeder *f, struct window *w, unsigned budget, enum feeder_state *out_state)
{
    for (; !is_at_end(f) && !window_is_full(w); budget--) {
        struct feed_record record;
        struct arena *a = f->is_skipping ? f->scratch : window_arena(w);

        if (budget == 0) {
            *out_state = FEEDER_MORE;
            return NULL;
        }
        arena_reset(f->scratch);
        TRY(f->source.next(f->source.self, a, &record));
        if (record.kind == FEED_NONE) {
            *out_state = FEEDER_IDLE;
            return NULL;
        }
        continue_transaction(f, w);

        struct error *err = take_record(f, w, a, &record);
        if (err != NULL)
            return error_wrap(err, "reading the change stream at %s", lsn_format(record.at).text);
    }
    *out_state = is_at_end(f) ? FEEDER_AT_END : FEEDER_FULL;
    return NULL;
}

bool feeder_at_boundary(const struct feeder *f)
{
    return !f->in_transaction;
}

struct lsn feeder_position(const struct feeder *f)
{
    return f->position;
}

struct lsn feeder_last_change(const struct feeder *f)
{
    return f->last_change;
}

uint64_t feeder_n_transactions(const struct feeder *f)
{
    return f->n_transactions;
}
