#include "worker/intake.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/fault.h"
#include "pg/pgoutput_frames.h"
#include "pg/relation_book.h"
#include "pg/test_decoding.h"
#include "sync/assembly.h"
#include "sync/spool.h"
#include "worker/spool_folder.h"

enum { BREATHE_EVERY_BYTES = 1024 * 1024 };

struct intake {
    struct intake_options options;
    const struct task *task;
    struct arena *arena;
    struct arena *session; /* the translator's; reset with each */
    struct arena *message; /* reset with each */
    struct segment_store store;
    struct assembly *assembly;
    struct lsn at; /* of what is being given to the spool */
    int64_t received_us;
    size_t given; /* bytes since the last breath */

    struct frames frames; /* pgoutput */

    struct pg_relation_book *book; /* test_decoding; NULL: pgoutput */
    struct test_decoding *translator;
    bool is_waiting;
    uint32_t xid;
};

static struct pg_relation_book *open_book(const struct intake *in)
{
    const struct task *t = in->task;

    return pg_relation_book_new(
        in->arena, (struct pg_relation_book_options){.endpoint = t->source,
                                                     .application_name = task_session_name(in->arena, t, "columns"),
                                                     .encoding = t->source_facts.encoding,
                                                     .stop = t->stream_stop});
}

struct error *intake_open(struct intake_options options, struct intake **out_intake)
{
    CLEANUP(intake_close) struct intake *in = calloc(1, sizeof *in);

    if (in == NULL)
        abort();
    in->options = options;
    in->task = options.task;
    in->arena = arena_new(NULL, "intake");
    in->session = arena_new(in->arena, "intake session");
    in->message = arena_new(in->arena, "intake message");
    TRY(spool_folder_open(in->arena, arena_printf(in->arena, "%s/held", in->task->folder), &in->store));
    TRY(assembly_open(in->store, &in->assembly));
    if (in->task->is_test_decoding)
        in->book = open_book(in);
    *out_intake = TAKE(in);
    return NULL;
}

void intake_close(struct intake *in)
{
    if (in == NULL)
        return;
    test_decoding_end(in->translator);
    pg_relation_book_close(in->book);
    assembly_close(in->assembly);
    spool_folder_close(in->store);
    arena_free(in->arena);
    free(in);
}

struct error *intake_restart(struct intake *in)
{
    test_decoding_end(TAKE(in->translator));
    arena_reset(in->session);
    if (in->book != NULL)
        in->translator = test_decoding_new(in->session, pg_relation_book_port(in->book));
    in->frames = (struct frames){.is_open = false};
    in->is_waiting = false;
    return assembly_reset(in->assembly);
}

static struct error *give_to_spool(void *self, const char *bytes, size_t length)
{
    struct intake *in = self;

    TRY(spool_append(in->task->spool, bytes, length, in->at, in->received_us));
    in->given += length;
    if (in->given < BREATHE_EVERY_BYTES)
        return NULL;
    in->given = 0;
    FAULT_POINT("intake.breathe");
    return in->options.breathe == NULL ? NULL : in->options.breathe(in->options.self);
}

static struct assembly_sink to_spool(struct intake *in)
{
    return (struct assembly_sink){.take = give_to_spool, .self = in};
}

MUST_USE static struct error *out_of_place(const char *what, uint32_t xid)
{
    return error_new(ERROR_DATA, "the source sent %s of transaction %u out of place", what, xid);
}

/* ---- pgoutput ---- */

/* (P2) Here is its place in the order of commits. */
MUST_USE static struct error *commit_pieces(struct intake *in, const struct frame *f)
{
    char begin[FRAME_BEGIN_BYTES];
    char commit[FRAME_COMMIT_BYTES];

    FAULT_POINT("intake.before_commit");
    task_commit_came(in->task, f->end, f->committed_pg_us + CLOCK_PG_EPOCH_US);
    pgoutput_frame_begin(f, begin);
    pgoutput_frame_commit(f, commit);
    TRY(give_to_spool(in, begin, sizeof begin));
    TRY(assembly_commit(in->assembly, f->xid, to_spool(in)));
    return give_to_spool(in, commit, sizeof commit);
}

MUST_USE static struct error *take_pgoutput(struct intake *in, const char *bytes, size_t length)
{
    struct frame f;

    if (in->frames.is_open)
        arena_reset(in->message);
    TRY(pgoutput_frame(&in->frames, in->message, bytes, length, &f));
    switch (f.kind) {
    case FRAME_WHOLE:
        return spool_append(in->task->spool, bytes, length, in->at, in->received_us);
    case FRAME_PIECE:
        return assembly_add(in->assembly, f.xid, f.subxid, f.bytes, f.length);
    case FRAME_ABORT:
        return assembly_abort(in->assembly, f.xid, f.subxid);
    case FRAME_COMMIT:
        return commit_pieces(in, &f);
    case FRAME_START:
    case FRAME_STOP:
        return NULL;
    }
    return NULL;
}

/* ---- test_decoding ---- */

static struct error *hold_or_give(void *self, const char *bytes, size_t length)
{
    struct intake *in = self;

    return in->is_waiting ? assembly_add(in->assembly, in->xid, in->xid, bytes, length)
                          : give_to_spool(in, bytes, length);
}

MUST_USE static struct error *commit_translated(struct intake *in, const struct translated *what)
{
    char frame[TRANSLATED_FRAME_BYTES];

    task_commit_came(in->task, in->at, what->committed_us);
    TRY(give_to_spool(in, frame, test_decoding_begin(what, in->at, frame)));
    TRY(assembly_commit(in->assembly, in->xid, to_spool(in)));
    TRY(give_to_spool(in, frame, test_decoding_commit(what, in->at, frame)));
    in->is_waiting = false;
    return NULL;
}

MUST_USE static struct error *take_test_decoding(struct intake *in, const char *bytes, size_t length)
{
    struct translated what;

    TRY(test_decoding_translate(in->translator, bytes, length, in->at,
                                (struct translation_sink){.take = hold_or_give, .self = in}, &what));
    switch (what.kind) {
    case TRANSLATED_BEGIN:
        if (in->is_waiting)
            return out_of_place("the begin", what.xid);
        in->is_waiting = true;
        in->xid = what.xid;
        return NULL;
    case TRANSLATED_COMMIT:
        return in->is_waiting && what.xid == in->xid ? commit_translated(in, &what)
                                                     : out_of_place("the commit", what.xid);
    case TRANSLATED_CHANGE:
        return in->is_waiting ? NULL : out_of_place("a change outside", 0);
    case TRANSLATED_OUTSIDE:
        return NULL;
    }
    return NULL;
}

struct error *intake_take(struct intake *in, const char *bytes, size_t length, struct lsn at, int64_t received_us)
{
    in->at = at;
    in->received_us = received_us;
    return in->translator != NULL ? take_test_decoding(in, bytes, length) : take_pgoutput(in, bytes, length);
}

bool intake_is_waiting(const struct intake *in)
{
    return in->is_waiting;
}

uint64_t intake_stored_bytes(const struct intake *in)
{
    return assembly_stored_bytes(in->assembly);
}
