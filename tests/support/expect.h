/*
 * What unit tests say about errors: that there is none, or of which kind it is and what its message holds.
 *
 * Included after <cmocka.h>. Frees the error.
 */
#pragma once

#include "base/error.h"

static inline void expect_ok_at(struct error *err, const char *file, int line)
{
    if (err != NULL) {
        print_error("%s\n", error_message(err));
        error_free(err);
        _fail(file, line);
    }
}

static inline void expect_error_at(struct error *err, enum error_kind kind, const char *text, const char *file,
                                   int line)
{
    if (err == NULL) {
        print_error("no error, but one with \"%s\" was expected\n", text);
        _fail(file, line);
        return;
    }
    if (error_kind(err) != kind || strstr(error_message(err), text) == NULL) {
        print_error("%s: %s\nbut expected was %s: …%s…\n", error_kind_name(error_kind(err)), error_message(err),
                    error_kind_name(kind), text);
        error_free(err);
        _fail(file, line);
        return;
    }
    error_free(err);
}

#define expect_ok(expr)                expect_ok_at((expr), __FILE__, __LINE__)
#define expect_error(expr, kind, text) expect_error_at((expr), (kind), (text), __FILE__, __LINE__)
