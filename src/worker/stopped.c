#include "worker/stopped.h"

#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/json.h"
#include "sys/file.h"

enum { FORMAT_VERSION = 1 };

static const char *const choice_names[RESUME_CHOICE_COUNT] = {
    [RESUME_AS_IS] = "as-is",
    [RESUME_SKIP_CHANGE] = "skip-change",
    [RESUME_SKIP_TRANSACTION] = "skip-transaction",
    [RESUME_OVERWRITE] = "overwrite",
    [RESUME_REPLACE] = "replace-with",
};

static const char *path_of(struct arena *a, const char *folder)
{
    return arena_printf(a, "%s/stopped", folder);
}

/* Positions and counts are texts: numbers of JSON do not hold 64 bits. */
static json_t *place_document(struct apply_place place)
{
    char ordinal[24];

    snprintf(ordinal, sizeof ordinal, "%llu", (unsigned long long)place.ordinal);
    return json_pack("{s:s, s:s}", "commit", lsn_format(place.commit).text, "ordinal", ordinal);
}

static bool place_parse(const json_t *document, struct apply_place *out)
{
    const char *commit = json_string_value(json_object_get(document, "commit"));
    const char *ordinal = json_string_value(json_object_get(document, "ordinal"));

    if (commit == NULL || ordinal == NULL || !lsn_parse(commit, &out->commit))
        return false;
    out->ordinal = strtoull(ordinal, NULL, 10);
    return true;
}

const char *stopped_choice_name(enum resume_choice choice)
{
    return choice_names[choice];
}

bool stopped_choice_parse(const char *name, enum resume_choice *out)
{
    for (enum resume_choice i = 0; i < RESUME_CHOICE_COUNT; i++)
        if (strcmp(choice_names[i], name) == 0) {
            *out = i;
            return true;
        }
    return false;
}

static bool choice_member(const json_t *document, enum resume_choice *out)
{
    const char *name = json_string_value(json_object_get(document, "choice"));

    return name != NULL && stopped_choice_parse(name, out);
}

static const char *member(struct arena *a, const json_t *document, const char *name)
{
    const char *text = json_string_value(json_object_get(document, name));

    return arena_strdup(a, text == NULL ? "" : text);
}

MUST_USE static struct error *parse(struct arena *a, const json_t *document, struct stopped *out)
{
    const json_t *stop = json_object_get(document, "stop"), *decisions = json_object_get(document, "decisions");

    if (json_integer_value(json_object_get(document, "version")) != FORMAT_VERSION)
        return error_new(ERROR_DATA, "it is of another version of pgtide");
    if (json_is_object(stop)) {
        out->is_stopped = true;
        out->stop.xid = (uint32_t)json_integer_value(json_object_get(stop, "xid"));
        out->stop.statement = member(a, stop, "statement");
        out->stop.is_ddl = json_is_true(json_object_get(stop, "ddl"));
        out->cause = member(a, stop, "cause");
        out->at = member(a, stop, "at");
        if (!place_parse(stop, &out->stop.place))
            return error_new(ERROR_DATA, "it does not say where");
    }
    out->decisions = arena_alloc(a, (json_array_size(decisions) + 1) * sizeof *out->decisions);
    for (size_t i = 0; i < json_array_size(decisions); i++) {
        struct apply_decision *d = &out->decisions[out->n_decisions++];

        if (!place_parse(json_array_get(decisions, i), &d->place) ||
            !choice_member(json_array_get(decisions, i), &d->what.choice))
            return error_new(ERROR_DATA, "decision %zu cannot be read", i + 1);
        d->what.instead = member(a, json_array_get(decisions, i), "instead");
    }
    return NULL;
}

struct error *stopped_read(struct arena *a, const char *folder, struct stopped *out)
{
    const char *path = path_of(a, folder);
    char *text = NULL;
    size_t length = 0;
    json_error_t where;
    struct stopped found = {.is_stopped = false};

    TRY(file_read(a, path, &text, &length));
    if (text != NULL) {
        CLEANUP(json_decref) json_t *document = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where);
        struct error *err = document == NULL ? error_new(ERROR_DATA, "line %d: %s", where.line, where.text)
                                             : parse(a, document, &found);

        if (err != NULL)
            return error_hint(
                error_wrap(err, "could not read file \"%s\"", path),
                "It holds decisions about conflicts. Remove it, and pgtide stops again at the change that "
                "could not be applied; nothing is lost.");
    }
    *out = found;
    return NULL;
}

static json_t *stop_document(const struct stopped *s)
{
    json_t *document = s->is_stopped ? place_document(s->stop.place) : json_null();

    if (s->is_stopped) {
        json_object_set_new(document, "xid", json_integer(s->stop.xid));
        json_object_set_new(document, "statement", json_text(s->stop.statement));
        json_object_set_new(document, "ddl", json_boolean(s->stop.is_ddl));
        json_object_set_new(document, "cause", json_text(s->cause));
        json_object_set_new(document, "at", json_text(s->at));
    }
    return document;
}

MUST_USE static struct error *write_all(struct arena *a, const char *folder, const struct stopped *s)
{
    json_t *decisions = json_array();

    for (unsigned i = 0; i < s->n_decisions; i++) {
        json_t *d = place_document(s->decisions[i].place);

        json_object_set_new(d, "choice", json_string(choice_names[s->decisions[i].what.choice]));
        if (s->decisions[i].what.choice == RESUME_REPLACE)
            json_object_set_new(d, "instead", json_text(s->decisions[i].what.instead));
        json_array_append_new(decisions, d);
    }
    CLEANUP(json_decref)
    json_t *document =
        json_pack("{s:i, s:o, s:o}", "version", FORMAT_VERSION, "stop", stop_document(s), "decisions", decisions);
    char *text = document == NULL ? NULL : json_dumps(document, JSON_INDENT(2));

    if (text == NULL)
        return error_new(ERROR_BUG, "where apply stopped cannot be written as JSON");
    struct error *err = file_replace(path_of(a, folder), text, strlen(text));
    free(text);
    return err;
}

static const char *moment(struct arena *a)
{
    CLEANUP(json_decref) json_t *now = json_moment(clock_wall_us());

    return arena_strdup(a, json_string_value(now));
}

struct error *stopped_note(const char *folder, const struct apply_stop *stop, const char *cause)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "stopped");
    struct stopped s;

    TRY(stopped_read(a, folder, &s));
    s.is_stopped = true;
    s.stop = *stop;
    s.cause = cause;
    s.at = moment(a);
    return write_all(a, folder, &s);
}

/* A statement is run or not; it has no row to take. */
MUST_USE static struct error *check_choice(const struct stopped *s, enum resume_choice choice)
{
    if (!s->is_stopped)
        return NULL;
    if (choice == RESUME_REPLACE && !s->stop.is_ddl)
        return error_hint(error_new(ERROR_CONFIG,
                                    "--replace-with is for statements (DDL), and the sync stopped at a row: %s",
                                    s->stop.statement),
                          "For a row: --overwrite, --skip-change or --skip-transaction.");
    if (choice == RESUME_OVERWRITE && s->stop.is_ddl)
        return error_hint(error_new(ERROR_CONFIG, "--overwrite is for rows, and the sync stopped at a statement: %s",
                                    s->stop.statement),
                          "For a statement: --replace-with, --skip-change or --skip-transaction.");
    return NULL;
}

struct error *stopped_decide(const char *folder, struct resume_decision decision)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "stopped");
    struct stopped s;

    TRY(stopped_read(a, folder, &s));
    if (!s.is_stopped && s.n_decisions == 0)
        return error_hint(error_new(ERROR_CONFIG, "there is nothing to decide: the sync did not stop at a change"),
                          "Without a choice, \"pgtide resume\" goes on with an interrupted sync.");
    TRY(check_choice(&s, decision.choice));
    const struct apply_place place = s.is_stopped ? s.stop.place : s.decisions[s.n_decisions - 1].place;
    s.decisions[s.n_decisions++] = (struct apply_decision){.place = place, .what = decision};
    s.is_stopped = false;
    return write_all(a, folder, &s);
}

struct error *stopped_forget(const char *folder)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "stopped");

    return file_remove(path_of(a, folder));
}

/* (P2) A commit record that begins before the position ends at or before it. */
bool stopped_is_past(const struct stopped *s, struct lsn position)
{
    bool is_past = !s->is_stopped || lsn_before(s->stop.place.commit, position);

    for (unsigned i = 0; i < s->n_decisions; i++)
        is_past = is_past && lsn_before(s->decisions[i].place.commit, position);
    return is_past;
}

static const char *ended_path(struct arena *a, const char *folder)
{
    return arena_printf(a, "%s/ended", folder);
}

void ended_note(const char *folder, const char *why)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "ended");
    CLEANUP(error_free) struct error *err = file_replace(ended_path(a, folder), why, strlen(why));

    if (err != NULL)
        log_warn("why it ended could not be written down for \"pgtide status\": %s", error_message(err));
}

struct error *ended_read(struct arena *a, const char *folder, char **out_why)
{
    size_t length = 0;

    return file_read(a, ended_path(a, folder), out_why, &length);
}

struct error *ended_forget(const char *folder)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "ended");

    return file_remove(ended_path(a, folder));
}
