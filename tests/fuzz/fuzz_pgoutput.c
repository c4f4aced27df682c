/*
 * pg/pgoutput: a session's messages, each after its length (u32, big-endian). The corpus was recorded from a PostgreSQL
 * 15: text and binary values, transactions in pieces (streamed), and what we do not ask for (two_phase).
 *
 * Any input gives events or ERROR_DATA; events hold what they promise, and boundary says of a message what decode does. What
 * frames make of pieces goes the same way.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/cursor.h"
#include "pg/pgoutput.h"
#include "pg/pgoutput_frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void demand(bool holds)
{
    if (!holds)
        abort();
}

/* True when it was an error, which can only be the bytes' fault. */
static bool refused(struct error *err)
{
    if (err == NULL)
        return false;
    demand(error_kind(err) == ERROR_DATA);
    error_free(err);
    return true;
}

/* Every value lies in the message. */
static void check_row(const struct stream_relation *r, const struct value *row, const char *bytes, size_t length)
{
    for (unsigned i = 0; row != NULL && i < r->n_columns; i++) {
        demand(row[i].state < VALUE_STATE_COUNT);
        if (value_has_bytes(&row[i]))
            demand(row[i].bytes >= bytes && row[i].bytes + row[i].length <= bytes + length);
        else
            demand(row[i].bytes == NULL);
    }
}

static void check_event(const struct event *e, const char *bytes, size_t length)
{
    if (e->kind == EVENT_INSERT || e->kind == EVENT_UPDATE || e->kind == EVENT_DELETE) {
        demand(e->relation != NULL);
        demand((e->old_row == NULL) == (e->old_kind == OLD_ABSENT));
        demand((e->new_row == NULL) == (e->kind == EVENT_DELETE));
        check_row(e->relation, e->old_row, bytes, length);
        check_row(e->relation, e->new_row, bytes, length);
    }
    for (unsigned i = 0; e->kind == EVENT_TRUNCATE && i < e->n_truncated; i++)
        demand(e->truncated[i]->oid != 0);
    if (e->kind == EVENT_RELATION)
        demand(e->relation->version > 0 && strlen(e->relation->schema) > 0);
}

static void check_boundary(const struct event *e, const struct boundary *b)
{
    demand((e->kind == EVENT_BEGIN) == (b->kind == BOUNDARY_BEGIN));
    demand((e->kind == EVENT_COMMIT) == (b->kind == BOUNDARY_COMMIT));
    demand((e->kind == EVENT_RELATION || e->kind == EVENT_TYPE) == (b->kind == BOUNDARY_RELATION));
    demand(e->kind != EVENT_COMMIT || lsn_equal(e->end, b->end));
    demand(e->kind != EVENT_BEGIN || e->xid == b->xid);
    demand(e->kind != EVENT_RELATION || e->relation->oid == b->oid);
}

static void check_message(struct decoder d, struct arena *scratch, const char *bytes, size_t length)
{
    struct boundary boundary = {0};
    struct event event = {0};
    bool boundary_refused = refused(d.ops->boundary(d.self, bytes, length, &boundary));

    if (refused(d.ops->decode(d.self, scratch, bytes, length, &event)))
        return;
    demand(!boundary_refused);
    check_event(&event, bytes, length);
    check_boundary(&event, &boundary);
}

static void check_frame(struct decoder d, struct frames *frames, struct arena *scratch, const char *bytes,
                        size_t length)
{
    struct frame f;
    char begin[FRAME_BEGIN_BYTES];
    char commit[FRAME_COMMIT_BYTES];

    if (refused(pgoutput_frame(frames, scratch, bytes, length, &f)))
        return;
    switch (f.kind) {
    case FRAME_WHOLE:
        demand(f.bytes == bytes && f.length == length);
        return check_message(d, scratch, f.bytes, f.length);
    case FRAME_PIECE:
        demand(f.xid == frames->xid && f.length > 0 && f.length <= length);
        return check_message(d, scratch, f.bytes, f.length);
    case FRAME_COMMIT:
        pgoutput_frame_begin(&f, begin);
        pgoutput_frame_commit(&f, commit);
        check_message(d, scratch, begin, sizeof begin);
        return check_message(d, scratch, commit, sizeof commit);
    case FRAME_START:
    case FRAME_STOP:
    case FRAME_ABORT:
        demand(frames->is_open == (f.kind == FRAME_START));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct frames frames = {.is_open = false};
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "session");
    struct arena *scratch = arena_new(a, "message");
    struct decoder d = pgoutput_decoder(a);
    struct cursor c = cursor_over(bytes, length);

    while (cursor_left(&c) >= sizeof(uint32_t)) {
        size_t wanted = cursor_u32(&c);
        size_t size = wanted < cursor_left(&c) ? wanted : cursor_left(&c);
        char *message = memcpy(arena_bytes(scratch, size), cursor_bytes(&c, size), size);

        check_frame(d, &frames, scratch, message, size);
        arena_reset(scratch);
    }
    return 0;
}
