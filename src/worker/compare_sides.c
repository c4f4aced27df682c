#include "worker/compare_sides.h"

#include <jansson.h>

#include "base/clock.h"
#include "control/client.h"
#include "control/json.h"
#include "pg/snapshot.h"
#include "worker/task_folder.h"

static const char standby_position[] = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text END";

enum { CALL_MS = 5000, POLL_MS = 5, BUSY_MS = 60000, BUSY_EVERY_MS = 100 };

struct error *compare_sides_open(struct arena *a, const struct sync_options *options, bool is_alone, struct stop *stop,
                                 struct compare_sides *out)
{
    struct compare_sides s = {.arena = a, .stop = stop, .is_alone = is_alone};

    TRY(pg_endpoint_parse(a, "source", options->source, &s.source));
    TRY(pg_endpoint_parse(a, "target", options->target, &s.target));
    s.folder = task_folder_path(a, options->state_dir, pg_endpoint_key(s.source), pg_endpoint_key(s.target));
    if (!is_alone)
        TRY(control_connect(s.folder, &s.sync));
    *out = s;
    return NULL;
}

void compare_sides_close(struct compare_sides *s)
{
    int64_t pause_us;

    if (s->is_held) {
        CLEANUP(error_free) struct error *err = compare_sides_release(s, &pause_us);
        (void)err; /* its lease ends by itself */
    }
    if (s->sync != NULL)
        control_close(TAKE(s->sync));
}

MUST_USE static struct error *connect_side(struct compare_sides *s, const struct pg_endpoint *e, struct pg_conn **out)
{
    CLEANUP(pg_conn_close) struct pg_conn *c = NULL;

    TRY(pg_connect(
        e, (struct pg_connect_options){.application_name = "pgtide compare", .encoding = "UTF8", .stop = s->stop}, &c));
    /* Such a server has bytes that may be no text in any encoding: they are compared as they are. */
    const char *encoding = PQparameterStatus(pg_conn_handle(c), "server_encoding");
    if (encoding != NULL && strcmp(encoding, "SQL_ASCII") == 0)
        TRY(pg_execute(c, "setting the session's encoding", "SET client_encoding = 'SQL_ASCII'"));
    *out = TAKE(c);
    return NULL;
}

/* Another comparison may be at it: its turn ends soon. */
MUST_USE static struct error *begin_align(struct compare_sides *s, bool hold)
{
    CLEANUP(json_decref) json_t *arguments = json_pack("{s:b}", "hold", (int)hold);
    int64_t deadline_us = clock_now_us() + (int64_t)BUSY_MS * 1000;

    for (;;) {
        CLEANUP(json_decref) json_t *reply = NULL;
        struct error *err = control_call(s->sync, "align", arguments, CALL_MS, &reply);

        if (err == NULL || error_kind(err) != ERROR_TRANSIENT || clock_now_us() > deadline_us)
            return err;
        error_free(err);
        if (stop_wait_ms(s->stop, BUSY_EVERY_MS))
            return stop_check(s->stop);
    }
}

static int64_t number_in(const json_t *document, const char *name)
{
    return (int64_t)json_integer_value(json_object_get(document, name));
}

static const char *text_in(const json_t *document, const char *name)
{
    const char *text = json_string_value(json_object_get(document, name));

    return text == NULL ? "" : text;
}

/* Until both sides stand. */
MUST_USE static struct error *wait_aligned(struct compare_sides *s, json_t **out_view)
{
    for (;;) {
        CLEANUP(json_decref) json_t *view = NULL;

        TRY(control_call(s->sync, "aligned", NULL, CALL_MS, &view));
        if (json_is_true(json_object_get(view, "ready"))) {
            *out_view = TAKE(view);
            return NULL;
        }
        if (stop_wait_ms(s->stop, POLL_MS))
            return stop_check(s->stop);
    }
}

MUST_USE static struct error *import_all(struct compare_sessions *sessions, unsigned n, const char *source_id,
                                         const char *target_id)
{
    for (unsigned i = 0; i < n; i++) {
        TRY(pg_snapshot_import(sessions[i].source, source_id));
        TRY(pg_snapshot_import(sessions[i].target, target_id));
    }
    return NULL;
}

MUST_USE static struct error *look_aligned(struct compare_sides *s, bool hold, struct compare_sessions *sessions,
                                           unsigned n, struct compare_alignment *out)
{
    CLEANUP(json_decref) json_t *view = NULL;
    struct compare_alignment alignment = {.is_aligned = true};

    TRY(begin_align(s, hold));
    s->is_held = true;
    TRY(wait_aligned(s, &view));
    if (!lsn_parse(text_in(view, "position"), &alignment.position))
        return error_new(ERROR_BUG, "the running sync named no position");
    TRY(import_all(sessions, n, text_in(view, "source_snapshot"), text_in(view, "target_snapshot")));
    alignment.tries = (unsigned)number_in(view, "tries");
    if (!hold)
        TRY(compare_sides_release(s, &alignment.pause_us));
    *out = alignment;
    return NULL;
}

/* Before the snapshot: what is replayed later is seen by has_moved. */
MUST_USE static struct error *export_side(struct compare_sides *s, struct pg_conn *conn, struct pg_snapshot *out,
                                          struct compare_moment *out_moment)
{
    char *replayed = NULL;

    TRY(pg_query_text(conn, s->arena, "reading a standby's position", standby_position, NULL, 0, &replayed));
    TRY(pg_snapshot_export(conn, s->arena, (struct pg_snapshot_wish){.may_be_standby = true}, out));
    bool is_idle = out->gate.snapshot.xmin == out->gate.snapshot.xmax;
    *out_moment = (struct compare_moment){.snapshot = out->text, .replayed = is_idle ? NULL : replayed};
    return NULL;
}

/* The first pair of sessions exports what the others import. */
MUST_USE static struct error *look_alone(struct compare_sides *s, struct compare_sessions *sessions, unsigned n,
                                         struct compare_alignment *out)
{
    struct pg_snapshot source, target;

    TRY(export_side(s, sessions[0].source, &source, &s->at_source));
    TRY(export_side(s, sessions[0].target, &target, &s->at_target));
    TRY(import_all(sessions + 1, n - 1, source.id, target.id));
    *out = (struct compare_alignment){0};
    return NULL;
}

struct error *compare_sides_look(struct compare_sides *s, bool hold, struct compare_sessions *sessions, unsigned n,
                                 struct compare_alignment *out)
{
    for (unsigned i = 0; i < n; i++) {
        TRY(connect_side(s, s->source, &sessions[i].source));
        TRY(connect_side(s, s->target, &sessions[i].target));
    }
    return s->sync == NULL ? look_alone(s, sessions, n, out) : look_aligned(s, hold, sessions, n, out);
}

struct error *compare_sides_connect_writer(struct compare_sides *s, struct pg_conn **out_conn)
{
    return connect_side(s, s->target, out_conn);
}

struct error *compare_sides_release(struct compare_sides *s, int64_t *out_pause_us)
{
    CLEANUP(json_decref) json_t *reply = NULL;

    s->is_held = false;
    TRY(control_call(s->sync, "align-release", NULL, CALL_MS, &reply));
    *out_pause_us = number_in(reply, "pause_us");
    return NULL;
}

struct error *compare_sides_keep(struct compare_sides *s)
{
    CLEANUP(json_decref) json_t *view = NULL;

    return s->is_held ? control_call(s->sync, "aligned", NULL, CALL_MS, &view) : NULL;
}

/* Some transaction that had an id has ended since: a snapshot of now is another one. */
MUST_USE static struct error *has_moved(struct compare_sides *s, const struct pg_endpoint *e,
                                        const struct compare_moment *then, bool *out_moved)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "moved");
    CLEANUP(pg_conn_close) struct pg_conn *conn = NULL;
    char *answer = NULL, *replayed = NULL;

    TRY(connect_side(s, e, &conn));
    TRY(pg_query_text(conn, scratch, "asking whether the server has moved", "SELECT txid_current_snapshot()::text",
                      NULL, 0, &answer));
    TRY(pg_query_text(conn, scratch, "reading a standby's position", standby_position, NULL, 0, &replayed));
    *out_moved = strcmp(answer, then->snapshot) != 0 ||
                 (then->replayed != NULL && (replayed == NULL || strcmp(replayed, then->replayed) != 0));
    return NULL;
}

struct error *compare_sides_have_moved(struct compare_sides *s, struct compare_alignment *out)
{
    TRY(has_moved(s, s->source, &s->at_source, &out->source_has_moved));
    TRY(has_moved(s, s->target, &s->at_target, &out->target_has_moved));
    out->has_looked = true;
    return NULL;
}

void compare_sessions_close(struct compare_sessions *sessions, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        pg_conn_close(TAKE(sessions[i].source));
        pg_conn_close(TAKE(sessions[i].target));
    }
}
