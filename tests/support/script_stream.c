#include "support/script_stream.h"

#include <assert.h>

#include "support/rows.h"

enum { RECORDS_MAX = 20000, FIRST_LSN = 1000, GAP = 16, COMMIT_LENGTH = 8 };

struct script {
    struct arena *arena;
    struct feed_record *records;
    struct event *events;
    size_t n;
    uint64_t lsn;
    size_t begin; /* of the open transaction */
    bool is_open;
    uint32_t n_versions;
};

struct script *script_new(struct arena *a)
{
    struct script *s = ARENA_NEW(a, struct script);

    s->arena = a;
    s->lsn = FIRST_LSN;
    s->records = (void *)arena_bytes(a, RECORDS_MAX * sizeof *s->records);
    s->events = (void *)arena_bytes(a, RECORDS_MAX * sizeof *s->events);
    return s;
}

const struct stream_relation *script_relation(struct script *s, uint32_t oid, const char *name, unsigned n_columns,
                                              enum replica_identity identity, unsigned n_identity)
{
    struct stream_relation *r = ARENA_NEW(s->arena, struct stream_relation);
    struct stream_column *columns = arena_alloc(s->arena, n_columns * sizeof *columns);

    for (unsigned i = 0; i < n_columns; i++)
        columns[i] = (struct stream_column){
            .name = arena_printf(s->arena, "%c", 'a' + (int)i), .type = 17, .in_identity = i < n_identity};
    *r = (struct stream_relation){
        .oid = oid,
        .version = ++s->n_versions,
        .schema = "public",
        .name = name,
        .identity = identity,
        .n_columns = n_columns,
        .columns = columns,
    };
    return r;
}

static void add(struct script *s, enum feed_kind kind, struct event event)
{
    uint64_t n = s->n;

    assert(s->n < RECORDS_MAX);
    s->events[s->n] = event;
    s->records[s->n++] = (struct feed_record){
        .kind = kind,
        .bytes = memcpy(arena_alloc(s->arena, sizeof n), &n, sizeof n),
        .length = sizeof n,
        .at = {s->lsn},
        .received_us = (int64_t)s->lsn,
    };
}

void script_raw(struct script *s, struct event event)
{
    add(s, FEED_MESSAGE, event);
}

void script_begin(struct script *s, uint32_t xid)
{
    assert(!s->is_open);
    s->is_open = true;
    s->begin = s->n;
    add(s, FEED_MESSAGE, (struct event){.kind = EVENT_BEGIN, .xid = xid});
}

void script_insert(struct script *s, const struct stream_relation *r, const char *row)
{
    add(s, FEED_MESSAGE,
        (struct event){.kind = EVENT_INSERT, .relation = r, .new_row = row_from_text(s->arena, row, r->n_columns)});
}

void script_update(struct script *s, const struct stream_relation *r, enum old_row kind, const char *old_row,
                   const char *new_row)
{
    add(s, FEED_MESSAGE,
        (struct event){.kind = EVENT_UPDATE,
                       .relation = r,
                       .old_kind = kind,
                       .old_row = kind == OLD_ABSENT ? NULL : row_from_text(s->arena, old_row, r->n_columns),
                       .new_row = row_from_text(s->arena, new_row, r->n_columns)});
}

void script_delete(struct script *s, const struct stream_relation *r, enum old_row kind, const char *old_row)
{
    add(s, FEED_MESSAGE,
        (struct event){.kind = EVENT_DELETE,
                       .relation = r,
                       .old_kind = kind,
                       .old_row = kind == OLD_ABSENT ? NULL : row_from_text(s->arena, old_row, r->n_columns)});
}

void script_truncate(struct script *s, const struct stream_relation *const *relations, unsigned n)
{
    size_t size = n * sizeof(struct stream_relation *);

    add(s, FEED_MESSAGE,
        (struct event){.kind = EVENT_TRUNCATE,
                       .truncated = memcpy(arena_alloc(s->arena, size), relations, size),
                       .n_truncated = n});
}

void script_message(struct script *s, bool is_transactional, const char *prefix, const char *content)
{
    add(s, FEED_MESSAGE,
        (struct event){.kind = EVENT_MESSAGE,
                       .is_transactional = is_transactional,
                       .message_at = {s->lsn},
                       .prefix = prefix,
                       .content = content,
                       .content_length = (uint32_t)strlen(content)});
}

static void script_change(struct script *s, const struct stream_relation *r, char *change)
{
    char *row = strchr(change, '>');
    const char *old_row = change + 1;

    if (row != NULL)
        *row++ = '\0';
    switch (*change) {
    case 'I':
        script_insert(s, r, old_row);
        break;
    case 'U':
        script_update(s, r, OLD_ABSENT, NULL, old_row);
        break;
    case 'K':
        script_update(s, r, OLD_KEY, old_row, row);
        break;
    case 'F':
        script_update(s, r, OLD_FULL, old_row, row);
        break;
    case 'D':
        script_delete(s, r, OLD_KEY, old_row);
        break;
    case 'E':
        script_delete(s, r, OLD_FULL, old_row);
        break;
    default:
        assert(*change == 'T');
        script_truncate(s, &r, 1);
        break;
    }
}

void script_changes(struct script *s, const struct stream_relation *r, const char *changes)
{
    char *copy = arena_strdup(s->arena, changes);
    char *rest;

    for (char *at = strtok_r(copy, " ", &rest); at != NULL; at = strtok_r(NULL, " ", &rest))
        script_change(s, r, at);
}

struct lsn script_commit(struct script *s)
{
    struct event *begin = &s->events[s->begin];
    int64_t committed_us = (int64_t)s->lsn * 10;

    assert(s->is_open);
    s->is_open = false;
    begin->commit = (struct lsn){s->lsn + GAP};
    begin->committed_us = committed_us;
    s->lsn += GAP + COMMIT_LENGTH;
    add(s, FEED_MESSAGE,
        (struct event){.kind = EVENT_COMMIT, .commit = begin->commit, .end = {s->lsn}, .committed_us = committed_us});
    return (struct lsn){s->lsn};
}

struct lsn script_keepalive(struct script *s)
{
    s->lsn += GAP;
    add(s, FEED_KEEPALIVE, (struct event){0});
    s->records[s->n - 1].length = 0;
    return (struct lsn){s->lsn};
}

struct lsn script_lsn(const struct script *s)
{
    return (struct lsn){s->lsn};
}

size_t script_n_records(const struct script *s)
{
    return s->n;
}

static struct error *source_next(void *self, struct arena *a, struct feed_record *out)
{
    struct script_reader *r = self;

    TRY(fault_maybe(r->fault, "next"));
    if (r->cursor >= r->script->n || r->cursor >= r->visible) {
        *out = (struct feed_record){.kind = FEED_NONE};
        return NULL;
    }
    *out = r->script->records[r->cursor++];
    out->bytes = memcpy(arena_alloc(a, out->length + 1), out->bytes, out->length);
    return NULL;
}

/* From the start: what is at or before `from` is for the feeder to skip. */
static struct error *source_again(void *self, struct lsn from)
{
    struct script_reader *r = self;

    (void)from;
    r->cursor = 0;
    return NULL;
}

struct record_source script_source(struct script_reader *r)
{
    return (struct record_source){.next = source_next, .again = source_again, .self = r};
}

/* Copied, so that AddressSanitizer sees what is used for too long. */
static struct error *decode(void *self, struct arena *a, const char *bytes, size_t length, struct event *out)
{
    struct script *s = self;
    uint64_t n;

    assert(length == sizeof n);
    memcpy(&n, bytes, sizeof n);
    *out = s->events[n];
    if (out->old_row != NULL)
        out->old_row = row_copy(a, out->old_row, out->relation->n_columns);
    if (out->new_row != NULL)
        out->new_row = row_copy(a, out->new_row, out->relation->n_columns);
    return NULL;
}

static struct error *boundary(void *self, const char *bytes, size_t length, struct boundary *out)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "boundary");
    struct event event;

    TRY(decode(self, a, bytes, length, &event));
    *out = (struct boundary){.end = event.end, .xid = event.xid};
    if (event.kind == EVENT_BEGIN)
        out->kind = BOUNDARY_BEGIN;
    else if (event.kind == EVENT_COMMIT)
        out->kind = BOUNDARY_COMMIT;
    return NULL;
}

struct decoder script_decoder(struct script *s)
{
    static const struct decoder_ops ops = {.boundary = boundary, .decode = decode};

    return (struct decoder){&ops, s};
}
