/*
 * Which of a string's statements an event trigger spoke of.
 *
 * A client may send several statements as one string, and all that the server knows while one runs is the string, the statement's
 * command tag, and how many with this tag ran before it and were not rolled back. Pure; allocates in the arena given.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"

struct ddl_statement_wish {
    const char *text; /* what was sent */
    const char *tag;  /* "CREATE TABLE" */
    unsigned nth;     /* of those with this tag, from 1; 0: not known */
    unsigned place;   /* of all in the text, from 1; 0: not known */
    const char
        *object; /* "public.t", as the server identifies what was made or altered: it decides where the count cannot */
};

/*
 * The statement as it can be run inside a transaction: without CONCURRENTLY. NULL when the string does not say which it is, and
 * then *out_why says why, as the end of a sentence.
 */
const char *ddl_statement_find(struct arena *a, struct ddl_statement_wish wish, const char **out_why);

/*
 * An ALTER TABLE that adds foreign keys, with each of them NOT VALID; "" in place of one that does nothing but VALIDATE CONSTRAINT. NULL for
 * any other statement, and where nothing is to be changed.
 */
const char *ddl_statement_unchecked(struct arena *a, const char *statement);

/* Whether a statement of the text begins, ends or marks a transaction, or the text cannot be read. */
bool ddl_statement_ends_transaction(const char *text);
