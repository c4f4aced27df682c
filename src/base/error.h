/*
 * Errors as values.
 *
 * A function that can fail returns `struct error *`: NULL is success, anything else is owned by the caller, who must
 * pass it up (TRY), add what it knows (error_wrap), or decide what to do and free it (error_free). Nothing below the
 * process's main loop logs an error; whoever decides is the one who logs, once.
 */
#pragma once

#include <stdio.h>

#include "base/macros.h"

/* What the caller can do about it. Policy switches on the kind and never on the message. */
enum error_kind {
    ERROR_BUG,       /* an invariant is broken */
    ERROR_CONFIG,    /* an operator has to change something */
    ERROR_TRANSIENT, /* the same call may succeed later */
    ERROR_DATA,      /* this row or table cannot be applied as it is */
    ERROR_CANCELLED, /* someone asked us to stop */
    ERROR_USAGE,     /* the command line is wrong */
    ERROR_HISTORY,   /* the recorded position does not belong to this source, slot or target any more (P6) */
    ERROR_REFUSED,   /* a precheck failed or an alarm was not accepted: nothing was begun */
    ERROR_KIND_COUNT,
};

struct error;

/* Message style: lower case, no full stop, says what was attempted: "could not read slot \"%s\"". */
MUST_USE RETURNS_NONNULL COLD PRINTF(2, 3)
struct error *error_new(enum error_kind kind, const char *fmt, ...);

/* Puts context in front: "copying table \"public.orders\": <cause>". Returns the same error. */
MUST_USE RETURNS_NONNULL COLD PRINTF(2, 3)
struct error *error_wrap(struct error *cause, const char *fmt, ...);

/* A full sentence that tells the operator what to try. The last hint wins. */
MUST_USE RETURNS_NONNULL COLD PRINTF(2, 3)
struct error *error_hint(struct error *cause, const char *fmt, ...);

enum error_kind error_kind(const struct error *err);
const char *error_kind_name(enum error_kind kind);
const char *error_message(const struct error *err);
const char *error_hint_text(const struct error *err); /* NULL when there is none */

void error_free(struct error *err);
DEFINE_CLEANUP(struct error, error_free);

/* Remember a place on the way up; shown by `error_dump` in debug logs. Used by TRY. */
MUST_USE RETURNS_NONNULL COLD struct error *error_passed(struct error *err, const char *file, int line);
void error_dump(const struct error *err, FILE *out);

/* Return early on failure. Safe in any function because resources are released by CLEANUP. */
#define TRY(expr)                                              \
    do {                                                       \
        struct error *try_err_ = (expr);                       \
        if (try_err_ != NULL)                                  \
            return error_passed(try_err_, __FILE__, __LINE__); \
    } while (0)

#ifdef __clang_analyzer__
/*
 * clang's analyzer does not believe RETURNS_NONNULL and would go on after a TRY that failed, with nothing in the outputs.
 * Macros with arguments: error.c still defines the functions, with their names in parentheses.
 */
static inline struct error *error_is_there(struct error *err)
{
    __builtin_assume(err != NULL);
    return err;
}
#define error_new(...)    error_is_there((error_new)(__VA_ARGS__))
#define error_wrap(...)   error_is_there((error_wrap)(__VA_ARGS__))
#define error_hint(...)   error_is_there((error_hint)(__VA_ARGS__))
#define error_passed(...) error_is_there((error_passed)(__VA_ARGS__))
#endif
