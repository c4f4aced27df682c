/*
 * What pg_dump writes for newer servers, as older ones take it. Pure; what is returned lives in the arena, or is what was given.
 */
#pragma once

#include "base/arena.h"

/* The settings in force before a statement, without those that a server of this version does not know. */
const char *schema_prelude_for(struct arena *a, const char *prelude, int version);

/*
 * A statement without what servers of this version cannot read and do not need: in CREATE TABLE the items "[CONSTRAINT name] NOT NULL
 * column" (18), with which a table says so of a column that it inherits; in CREATE TYPE … AS RANGE the name of the multirange (14);
 * the FUNCTION that a trigger executes is a PROCEDURE (11). *out_after is a statement that says behind it what was taken out, or NULL.
 */
const char *schema_statement_for(struct arena *a, const char *statement, int version, const char **out_after);
