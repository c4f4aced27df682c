#include "base/error.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { PLACES_MAX = 8 };

struct place {
    const char *file;
    int line;
};

struct error {
    enum error_kind kind;
    char *message;
    char *hint;
    struct place places[PLACES_MAX];
    unsigned n_places;
};

/* Used when there is no memory left to describe an error. Never freed. */
static struct error no_memory = {.kind = ERROR_TRANSIENT, .message = (char[]){"out of memory"}};

PRINTF(1, 0)
static char *vformat(const char *fmt, va_list ap)
{
    char *text = NULL;

    return vasprintf(&text, fmt, ap) < 0 ? NULL : text;
}

struct error *(error_new)(enum error_kind kind, const char *fmt, ...)
{
    struct error *err = calloc(1, sizeof *err);
    va_list ap;

    if (err == NULL)
        return &no_memory;

    va_start(ap, fmt);
    err->message = vformat(fmt, ap);
    va_end(ap);
    err->kind = kind;

    if (err->message == NULL) {
        free(err);
        return &no_memory;
    }
    return err;
}

struct error *(error_wrap)(struct error *cause, const char *fmt, ...)
{
    va_list ap;
    char *joined = NULL;

    if (cause == &no_memory)
        return cause;

    va_start(ap, fmt);
    char *context = vformat(fmt, ap);
    va_end(ap);

    if (context != NULL && asprintf(&joined, "%s: %s", context, cause->message) >= 0) {
        free(cause->message);
        cause->message = joined;
    }
    free(context);
    return cause;
}

struct error *(error_hint)(struct error *cause, const char *fmt, ...)
{
    va_list ap;

    if (cause == &no_memory)
        return cause;

    va_start(ap, fmt);
    char *hint = vformat(fmt, ap);
    va_end(ap);

    free(cause->hint);
    cause->hint = hint;
    return cause;
}

enum error_kind error_kind(const struct error *err)
{
    return err->kind;
}

const char *error_kind_name(enum error_kind kind)
{
    static const char *const names[ERROR_KIND_COUNT] = {
        /* clang-format off */
        [ERROR_BUG] = "bug",
        [ERROR_CONFIG] = "config",
        [ERROR_TRANSIENT] = "transient",
        [ERROR_DATA] = "data",
        [ERROR_CANCELLED] = "cancelled",
        [ERROR_USAGE] = "usage",
        [ERROR_HISTORY] = "history",
        [ERROR_REFUSED] = "refused",
        /* clang-format on */
    };

    return names[kind];
}

const char *error_message(const struct error *err)
{
    return err->message;
}

const char *error_hint_text(const struct error *err)
{
    return err->hint;
}

void error_free(struct error *err)
{
    if (err == NULL || err == &no_memory)
        return;
    free(err->message);
    free(err->hint);
    free(err);
}

struct error *(error_passed)(struct error *err, const char *file, int line)
{
    if (err != &no_memory && err->n_places < PLACES_MAX)
        err->places[err->n_places++] = (struct place){file, line};
    return err;
}

void error_dump(const struct error *err, FILE *out)
{
    fprintf(out, "%s: %s\n", error_kind_name(err->kind), err->message);
    for (unsigned i = 0; i < err->n_places; i++)
        fprintf(out, "    passed %s:%d\n", err->places[i].file, err->places[i].line);
}
