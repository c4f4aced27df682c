/*
 * Which relations a task or a comparison is about (SPEC section 3, table level): the one language of rules.
 *
 * A rule is SCHEMA.NAME, NAME alone (in any schema), or either behind `!`, which leaves out. In it `*` stands for any characters and
 * `?` for one; everything between double quotes is the name itself ("" is one quote), so `"odd.name".*` and `sales."a*b"` can be said. Names
 * are those of the catalog: nothing is folded to lower case.
 *
 * Of several rules the last that matches decides. What none matches is left out, or, when all rules leave out, chosen. Exact rules
 * are looked up and only those with `*` or `?` are tried one by one, so that lists of 100,000 names work.
 *
 * A selection counts what each rule matched, so one thread uses it at a time. Everything lives in the arena given.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"

struct selection_rule {
    const char *text;  /* as it was said; of a file's names the same rule written out */
    const char *where; /* "option \"--select\"", "\"list.csv\", line 3" */
    bool excludes;
    const char *schema; /* as patterns: `\` before what stands for itself */
    const char *name;
    bool is_exact; /* no `*` and no `?`: schema and name are the names */
};

/* Grows in its arena. */
struct selection_rules {
    unsigned n, room;
    struct selection_rule *rules;
};

/* One rule. ERROR_USAGE saying where. */
MUST_USE struct error *selection_add(struct arena *a, struct selection_rules *rules, const char *text,
                                     const char *where);

/* Several, with commas between them that are not inside quotes. */
MUST_USE struct error *selection_add_list(struct arena *a, struct selection_rules *rules, const char *text,
                                          const char *where);

/*
 * A file's text: JSON when it begins with [ or {, CSV when its name ends in .csv, else a rule a line; empty lines and those that
 * begin with # are nothing. ERROR_USAGE with file and line (or number of the entry).
 *
 *   CSV   schema,table; a first line that names these columns says which they are, others are ignored. What CSV quotes is the name
 *         itself, else `*` and `?` mean what they mean in rules.
 *   JSON  an array of rules as strings, and of objects {"schema": S, "table": T} (or "name"; "exclude": true), whose texts are names
 */
MUST_USE struct error *selection_add_file(struct arena *a, struct selection_rules *rules, const char *file,
                                          const char *text, size_t length);

/* The rule that a name is, quoted where it must be. */
char *selection_exact(struct arena *a, const char *schema, const char *name);

struct selection;

RETURNS_NONNULL struct selection *selection_new(struct arena *a, const struct selection_rules *rules);

enum selection_verdict {
    SELECTION_SILENT, /* no rule says anything about it */
    SELECTION_CHOSEN,
    SELECTION_LEFT_OUT,
};

/* What the rules say, and counts it for selection_complaints. *out_place (NULL: not asked for) is that of the rule, -1: none. */
enum selection_verdict selection_decide(struct selection *s, const char *schema, const char *name, int *out_place);

/* What becomes of relations about which no rule says anything. */
bool selection_takes_silent(const struct selection *s);

/* All rules as they were said, one a line: equal texts are equal selections. */
char *selection_text(struct arena *a, const struct selection *s);

/* What selection_text has given. ERROR_USAGE. */
MUST_USE struct error *selection_add_text(struct arena *a, struct selection_rules *rules, const char *text,
                                          const char *where);

/* A rule for a server: schema and name as patterns of LIKE. */
struct selection_like {
    bool excludes;
    const char *schema;
    const char *name;
};
/* All of them, in their order; returns how many. */
unsigned selection_likes(struct arena *a, const struct selection *s, struct selection_like **out);

/* Rules that did nothing of what was decided so far. NULL: none. In the order of the rules. */
struct selection_complaint {
    const struct selection_rule *rule;
    bool matched; /* something, but later rules decided otherwise about all of it */
};
unsigned selection_complaints(struct arena *a, const struct selection *s, struct selection_complaint **out);
