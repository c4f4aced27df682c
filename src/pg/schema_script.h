/*
 * Takes a script of pg_restore --verbose apart into the entries of its archive, exactly.
 *
 * Pure. The script is read as psql would read it (sql_lexer.h, and psql's rule for BEGIN ATOMIC bodies), so a header
 * is only looked for between statements, never inside a string, a name or a body; there nothing but pg_restore can
 * write comments (names in them have their newlines replaced: sanitize_line). Each header must be that of an entry
 * of pg_restore --list (dump id, catalog, oid) that has not come yet, and in the end all must have come.
 *
 * SET commands between entries are state: each entry carries what is in force for it. The order of the script is
 * kept: it is not that of the list (ACLs and event triggers come last). psql's own \restrict lines (since 2025) are
 * left out. Everything lives in the arena.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

enum entry_kind {
    ENTRY_OTHER,
    ENTRY_SCHEMA,
    ENTRY_TABLE,        /* TABLE */
    ENTRY_INDEX,        /* INDEX */
    ENTRY_INDEX_ATTACH, /* a partition's index to its parent's */
    ENTRY_CONSTRAINT,   /* CONSTRAINT: primary key, unique, exclusion */
    ENTRY_FOREIGN_KEY,  /* FK CONSTRAINT */
    ENTRY_CHECK,        /* CHECK CONSTRAINT: one that was NOT VALID */
    ENTRY_TRIGGER,
    ENTRY_EVENT_TRIGGER,
    ENTRY_RULE,
    ENTRY_POLICY,
    ENTRY_STATISTICS,
    ENTRY_MATVIEW,      /* MATERIALIZED VIEW: made WITH NO DATA */
    ENTRY_MATVIEW_DATA, /* REFRESH */
    ENTRY_PUBLICATION,
    ENTRY_PUBLICATION_MEMBER, /* PUBLICATION TABLE, PUBLICATION TABLES IN SCHEMA */
    ENTRY_COMMENT,
    ENTRY_ACL, /* ACL, DEFAULT ACL */
};

struct entry {
    int id; /* dump id: unique in one archive, means nothing in another */
    uint32_t catalog;
    uint32_t oid; /* of the object on the source; 0 for what has none (ACL, COMMENT, INDEX ATTACH) */
    enum entry_kind kind;
    const char *type;   /* pg_dump's words: "FK CONSTRAINT" */
    const char *name;   /* for people: newlines are replaced, a constraint or trigger is "table name" */
    const char *schema; /* "-" when it has none */
    const char *owner;  /* "" when it has none */
    unsigned n_dependencies;
    const int *dependencies; /* dump ids; some are not in the script (other section) */
    const char *prelude;     /* SET commands in force, ready to run; shared by neighbours */
    unsigned n_statements;
    const char **statements; /* each with its semicolon */

    /* Filled by schema_resolve for INDEX, CONSTRAINT, FOREIGN_KEY, INDEX_ATTACH, TRIGGER; 0 and false before. */
    uint32_t table_oid; /* of the source; for FOREIGN_KEY the referencing one */
    bool table_is_partitioned;
    bool is_gone;         /* dropped on the source since the dump; table_oid is the dump's (schema_adopt_dropped) */
    bool is_unique;       /* an index or constraint that can identify rows */
    bool is_identity;     /* primary key or replica identity */
    uint64_t index_bytes; /* on the source; 0 for a partitioned one */

    /* Of worker/full and full_objects. */
    bool is_of_copy;      /* built with the rows */
    bool is_made;         /* on the target, or known to be nothing to make */
    bool is_checked;      /* a foreign key whose VALIDATE was tried */
    bool is_left_out;     /* a publication that the target did not take: nothing that is about it can be made */
    bool is_broken;       /* a foreign key that rows break: NOT VALID on the target */
    uint64_t table_bytes; /* a foreign key: of its table on the source, for the progress */
};

struct script {
    unsigned n_entries;
    struct entry *entries; /* in the order in which they must run */
    struct entry **by_id;
};

/*
 * `list` is the output of pg_restore --list for the same section. ERROR_DATA, naming the entry, when both do not fit.
 */
MUST_USE struct error *schema_script_parse(struct arena *a, const char *list, const char *text, struct script *out);

/* NULL when there is none. */
struct entry *script_find(const struct script *s, int id);

/* Forgets the entries that are not kept: one answer for each, in order. */
void script_keep(struct script *s, const bool *kept);

/* ---- one statement ---- */

enum token_kind {
    TOKEN_END,
    TOKEN_WORD,       /* keyword or plain identifier, folded to lower case */
    TOKEN_IDENTIFIER, /* quoted: `text` is the name itself */
    TOKEN_STRING,     /* any literal; `text` is the source text */
    TOKEN_SYMBOL,     /* one byte of anything else */
};

struct token {
    enum token_kind kind;
    const char *text;
};

/* All tokens, comments left out, ending with TOKEN_END. In `a`. */
struct token *statement_tokens(struct arena *a, const char *statement, unsigned *out_n);
