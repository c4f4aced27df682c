/*
 * Table level: what of a dumped structure belongs to chosen relations. Pure, by the archive's own dependencies.
 *
 * Kept are the chosen relations; what belongs to them (indexes, constraints, defaults, triggers, rules, policies, comments, grants, …) unless
 * it also belongs to, or is about, a relation that is not chosen, as a foreign key may be; and whatever these need that is no relation:
 * schemas, extensions, types, functions, with their comments and grants. Everything else is forgotten: event triggers and default
 * privileges, too. Publications come with the chosen tables that they name; what they have beyond these is told.
 */
#pragma once

#include "pg/schema.h"

/* Neither a relation nor part of one: others than the chosen relations may need it, too. */
bool schema_entry_is_shared(const struct entry *e);

struct schema_choice {
    bool (*is_chosen)(const void *self, uint32_t oid);
    const void *self;
    struct left_out *left_out; /* where it is told which publications, or parts of them, go */
};

void schema_select(struct schema *schema, const struct schema_choice *choice);
