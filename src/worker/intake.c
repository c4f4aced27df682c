#include "worker/intake.h"

#include <stdlib.h>

#include "pg/relation_book.h"
#include "pg/test_decoding.h"
#include "sync/assembly.h"
#include "sync/spool.h"
#include "worker/spool_folder.h"

struct intake {
    const struct task *task;
    struct arena *arena;
    struct arena *session; /* the translator's; reset with each */
    struct segment_store store;
    struct assembly *assembly;
    struct pg_relation_book *book;
    struct test_decoding *translator;
    bool is_waiting;
    uint32_t xid;
    struct lsn at; /* of what is being given to the spool */
    int64_t received_us;
};

struct error *intake_open(const struct task *t, struct intake **out_intake)
{
    CLEANUP(intake_close) struct intake *in = calloc(1, sizeof *in);

    if (in == NULL)
        abort();
    in->task = t;
    in->arena = arena_new(NULL, "intake");
    in->session = arena_new(in->arena, "intake session");
    TRY(spool_folder_open(in->arena, arena_printf(in->arena, "%s/held", t->folder), &in->store));
    TRY(assembly_open(in->store, &in->assembly));
    in->book = pg_relation_book_new(
        in->arena, (struct pg_relation_book_options){.endpoint = t->source,
                                                     .application_name = task_session_name(in->arena, t, "columns"),
                                                     .encoding = t->source_facts.encoding,
                                                     .stop = t->stream_stop});
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
    in->translator = test_decoding_new(in->session, pg_relation_book_port(in->book));
    in->is_waiting = false;
    return assembly_reset(in->assembly);
}

static struct error *give_to_spool(void *self, const char *bytes, size_t length)
{
    struct intake *in = self;

    return spool_append(in->task->spool, bytes, length, in->at, in->received_us);
}

static struct error *hold_or_give(void *self, const char *bytes, size_t length)
{
    struct intake *in = self;

    return in->is_waiting ? assembly_add(in->assembly, in->xid, in->xid, bytes, length)
                          : give_to_spool(in, bytes, length);
}

MUST_USE static struct error *commit(struct intake *in, const struct translated *what)
{
    char frame[TRANSLATED_FRAME_BYTES];

    TRY(give_to_spool(in, frame, test_decoding_begin(what, in->at, frame)));
    TRY(assembly_commit(in->assembly, in->xid, (struct assembly_sink){.take = give_to_spool, .self = in}));
    TRY(give_to_spool(in, frame, test_decoding_commit(what, in->at, frame)));
    in->is_waiting = false;
    return NULL;
}

MUST_USE static struct error *out_of_place(const char *what, uint32_t xid)
{
    return error_new(ERROR_DATA, "the source sent %s of transaction %u out of place", what, xid);
}

struct error *intake_take(struct intake *in, const char *bytes, size_t length, struct lsn at, int64_t received_us)
{
    struct translated what;

    in->at = at;
    in->received_us = received_us;
    TRY(test_decoding_translate(in->translator, bytes, length, at,
                                (struct translation_sink){.take = hold_or_give, .self = in}, &what));
    switch (what.kind) {
    case TRANSLATED_BEGIN:
        if (in->is_waiting)
            return out_of_place("the begin", what.xid);
        in->is_waiting = true;
        in->xid = what.xid;
        return NULL;
    case TRANSLATED_COMMIT:
        return in->is_waiting && what.xid == in->xid ? commit(in, &what) : out_of_place("the commit", what.xid);
    case TRANSLATED_CHANGE:
        return in->is_waiting ? NULL : out_of_place("a change outside", 0);
    case TRANSLATED_OUTSIDE:
        return NULL;
    }
    return NULL;
}

bool intake_is_waiting(const struct intake *in)
{
    return in->is_waiting;
}
