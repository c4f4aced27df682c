/*
 * The command line as two tables: commands and options (SPEC section 11, a contract). Parsing, --help, shell completion
 * and the manual pages all come from them. Constant; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/compare.h"
#include "model/cutover.h"
#include "model/options.h"
#include "worker/worker.h"

enum command {
    COMMAND_SYNC,
    COMMAND_CHECK,
    COMMAND_STATUS,
    COMMAND_WAIT,
    COMMAND_STOP,
    COMMAND_SLOTS,
    COMMAND_COMPARE,
    COMMAND_CUTOVER,
    COMMAND_RESUME,
    COMMAND_CONFLICTS,
    COMMAND_SPEED,
    COMMAND_PAUSE,
    COMMAND_COMPLETION,
    COMMAND_HELP,
    COMMAND_COUNT,
};

enum slots_action {
    SLOTS_LIST,
    SLOTS_GC,
};

enum shell {
    SHELL_BASH,
};

/* What was asked for. Made by command_line_parse; texts live in its arena. */
struct command_line {
    enum command command;
    bool wants_help;                  /* --help: `command` says about what, COMMAND_HELP about all */
    bool wants_version;               /* --version */
    struct sync_options sync;         /* of every command that takes SOURCE and TARGET; state_dir NULL when not given */
    const char *server;               /* slots */
    enum slots_action slots;          /* slots */
    enum shell shell;                 /* completion */
    enum wait_for wait_for;           /* wait */
    unsigned timeout_s;               /* wait; 0: none */
    struct compare_options compare;   /* compare */
    const char *const *compare_kinds; /* compare: words; NULL: not given */
    const char *report;               /* compare: a file; NULL: none */
    bool has_force;                   /* stop, slots gc */
    bool skips_change, skips_transaction, overwrites; /* resume: at most one, */
    const char *replacement;                          /* or this: a file's name or SQL; NULL: not given */
    const char *table;                                /* conflicts; NULL: all */
    struct cutover_options cutover;                   /* cutover; what it compares is made of the next */
    const char *const *cutover_compare;               /* all, none or rules; NULL: all */
    bool says_yes;                                    /* cutover: without being asked */
    bool wants_fix;                                   /* check */
    bool wants_json;
    bool is_quiet;
};

/* A word that an option or argument takes. */
struct word {
    const char *word;
    unsigned value;
};

/* An argument without a name in front of it, by place. */
struct argument_spec {
    const char *name;         /* "SOURCE"; NULL ends the list */
    size_t offset;            /* in struct command_line: const char *, or the enum of `words` */
    const struct word *words; /* NULL: any text but the empty one. Ended by a NULL word */
    bool is_rate;             /* struct rate_plan */
};

enum { ARGUMENTS_MAX = 4 }; /* the NULL included */

struct command_spec {
    const char *name;
    const char *summary; /* one line */
    const char *details; /* what --help adds; whole lines */
    struct argument_spec arguments[ARGUMENTS_MAX];
    const char *const *examples; /* NULL-terminated pairs: command line, what it does */
};

enum option_kind {
    OPTION_FLAG,     /* bool */
    OPTION_FLAG_OFF, /* bool: the option says no */
    OPTION_WORD,     /* an enum, by `words` */
    OPTION_NUMBER,   /* unsigned, `least` to `most` */
    OPTION_SIZE,     /* uint64_t bytes: "64kB", "256MB", "10GB"; at least `least` kB */
    OPTION_TEXT,     /* const char *, not empty */
    OPTION_SET,      /* unsigned, a bit each of `words`; with commas, may be repeated */
    OPTION_LIST,     /* const char *const *, NULL-terminated; may be repeated or have commas */
    OPTION_TEXTS,    /* const char *const *, NULL-terminated; may be repeated */
    OPTION_UNTIL,    /* sync.until and sync.until_lsn */
    OPTION_RATE,     /* struct rate_plan */
    OPTION_HELP,
};

struct option_spec {
    const char *name;  /* without the dashes */
    const char *value; /* what stands for the value in help; NULL: takes none */
    const char *help;
    unsigned commands; /* bit 1 << enum command for each that has it */
    enum option_kind kind;
    size_t offset; /* in struct command_line */
    const struct word *words;
    unsigned least, most;
    bool is_required;
};

const struct command_spec *command_spec(enum command command);

/* NULL when there is none of that name. */
const struct command_spec *command_find(const char *name);
enum command command_of(const struct command_spec *spec);

extern const struct option_spec option_specs[];
extern const size_t n_option_specs;

/* NULL when no command has an option of that name. */
const struct option_spec *option_find(const char *name);
bool option_belongs_to(const struct option_spec *option, enum command command);
