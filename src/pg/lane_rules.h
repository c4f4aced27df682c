/*
 * How tables are divided over lanes (target_table.lane_rule), kept on the target while lanes may stand apart.
 *
 * Lanes that died apart must be brought together by the rules by which they were divided, also when somebody made another index
 * meanwhile. So the rule of a table is written, and durable, before a row of it is divided, and does not change until lanes stand
 * together at the beginning of a session; a table whose rule would have to change is written alone until then.
 *
 * One thread; its session is made at the first need, tries once.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "pg/endpoint.h"
#include "ports/target.h"
#include "sys/stop.h"

struct lane_rules_options {
    const struct pg_endpoint *endpoint; /* the target */
    const char *application_name;
    const char *encoding; /* of the source */
    const char *task;
    const struct stop *stop;
};

struct lane_rules;

/* Close it before `a` is freed. */
struct lane_rules *lane_rules_new(struct arena *a, struct lane_rules_options options);
void lane_rules_close(struct lane_rules *r);
DEFINE_CLEANUP(struct lane_rules, lane_rules_close);

/* The rules of the last session, to be kept to the letter until lane_rules_forget. */
MUST_USE struct error *lane_rules_read(struct lane_rules *r);

/* Lanes stand together: every table may have a new rule. */
MUST_USE struct error *lane_rules_forget(struct lane_rules *r);

/* Sets table->lane_rule, which says what would be possible now, to what is in force. */
MUST_USE struct error *lane_rules_fix(struct lane_rules *r, struct target_table *table);
