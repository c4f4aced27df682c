/*
 * Names and texts as parts of a statement. The only quoting in the program.
 *
 * Pure: any bytes but NUL; what is returned lives in `a`.
 */
#pragma once

#include "base/arena.h"

/* Quoted identifier, "schema"."name", quoted literal. */
char *pg_quote_identifier(struct arena *a, const char *name);
char *pg_quote_name(struct arena *a, const char *schema, const char *name);
char *pg_quote_literal(struct arena *a, const char *text);

/* {"a.b","\"c\".d"}: a parameter of type text[]. */
const char *pg_text_array(struct arena *a, const char *const *texts, unsigned n);
