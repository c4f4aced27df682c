/*
 * What a comparison of two databases is asked for, and what it found (SPEC section 7).
 *
 * (C1) The answer is three-valued: equal, different (which), not compared (why). "Equal" is said of two snapshots, and whether those
 * show one position of the source is part of the answer.
 *
 * A result is made by one thread, filled by several (guarded inside), and read when all have ended. Its memory is bounded: of
 * COMPARE_KEPT_EACH differences an entry and COMPARE_KEPT differences in all the details are kept, the others are only counted;
 * the sink sees every one.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "model/lsn.h"

enum compare_kind {
    COMPARE_OBJECTS, /* definitions of everything in the catalogs */
    COMPARE_ROWS,    /* number of rows of each table */
    COMPARE_VALUES,  /* every row and column */
    COMPARE_ACCOUNTS,
    COMPARE_KIND_COUNT,
};

enum verdict {
    VERDICT_EQUAL,
    VERDICT_DIFFERENT,
    VERDICT_NOT_COMPARED,
    VERDICT_COUNT,
};

struct compare_options {
    bool kinds[COMPARE_KIND_COUNT]; /* none: objects and values */
    unsigned jobs;                  /* tables at a time; default 4 */
    bool repair;
    bool is_alone; /* no sync is asked to align: the caller is a sync that has no stream */
};

enum difference_side {
    ONLY_ON_SOURCE,
    ONLY_ON_TARGET,
    ON_BOTH, /* and not the same */
    DIFFERENCE_SIDE_COUNT,
};

/* Values are shortened; NULL is SQL's NULL or nothing at all. */
struct difference_column {
    const char *name;
    const char *source;
    const char *target;
};

struct difference {
    enum difference_side side;
    const char *what;     /* values: "schema.table"; objects and accounts: the kind of object ("index") */
    const char *identity; /* values: the key, "id = '4'", or the row as text; else the object's name */
    unsigned n_columns;   /* ON_BOTH: those that differ; objects and accounts: one, the definition */
    const struct difference_column *columns;
    const char *select_source, *select_target; /* values: shows the row; else NULL */
    const char *repair;                        /* values: makes the target's row that of the source; else NULL */
};

/* A table of kind rows or values, or one kind of object. */
struct compare_entry {
    enum compare_kind kind;
    const char *name;
    enum verdict verdict;
    const char *reason;                  /* why it was not compared, or what the counts do not say; NULL */
    uint64_t source_count, target_count; /* rows or objects */
    uint64_t n_differences[DIFFERENCE_SIDE_COUNT];
    unsigned n_kept; /* differences with details, in the order of finding */
    const struct difference **kept;
};

enum { COMPARE_KEPT_EACH = 200, COMPARE_KEPT = 5000 };

/* How the two snapshots relate to each other. */
struct compare_alignment {
    bool is_aligned; /* both sides show `position` of the source */
    struct lsn position;
    unsigned tries;
    int64_t pause_us;      /* for how long apply stood still */
    bool has_looked;       /* not aligned: the next two are known; false when it was interrupted before */
    bool source_has_moved; /* transactions were written on the source's server while we compared */
    bool target_has_moved;
};

struct compare_result {
    struct compare_alignment alignment;
    unsigned n_entries;
    struct compare_entry **entries; /* by kind and name once compare_result_close was called */
    bool was_cancelled;
    uint64_t n_repaired;                        /* rows */
    int64_t repair_pause_us;                    /* for how long apply stood still for the repair */
    const struct compare_result *before_repair; /* NULL: nothing was to be repaired */
    const char *const *notes;                   /* sentences that belong to the answer, NULL-terminated */
    const char *source, *target;                /* "host:port/database" */
    int64_t elapsed_us;
};

struct compare_sink {
    void (*found)(void *self, enum compare_kind kind,
                  const struct difference *d); /* one call at a time; NULL for none */
    void *self;
};

/* What a display shows meanwhile. */
struct compare_progress {
    _Atomic uint64_t entries_done, entries_total;
    _Atomic uint64_t rows;                    /* read, of the source */
    _Atomic uint64_t bytes_done, bytes_total; /* sizes of tables on the source */
    _Atomic uint64_t n_differences;
    _Atomic int step; /* enum compare_step */
};

enum compare_step {
    COMPARE_STARTING,
    COMPARE_ALIGNING,
    COMPARE_COMPARING,
    COMPARE_REPAIRING,
    COMPARE_AGAIN, /* after the repair */
    COMPARE_STEP_COUNT,
};

const char *compare_kind_name(enum compare_kind kind); /* "object", "rows", "values", "accounts" */
const char *verdict_name(enum verdict verdict);        /* "equal", "different", "not compared" */
const char *difference_side_name(enum difference_side side);
const char *compare_step_name(enum compare_step step);

/* Collects entries from several threads; lives in `a`, which nobody else may use until compare_result_close. */
struct compare_collector;
RETURNS_NONNULL struct compare_collector *compare_collector_new(struct arena *a, struct compare_sink sink,
                                                                struct compare_progress *progress);

/*
 * An entry that counts as not compared until compare_entry_done: nothing that was interrupted is ever called equal. Thread-safe, as
 * all of the following. The name is copied.
 */
RETURNS_NONNULL struct compare_entry *compare_entry_begin(struct compare_collector *c, enum compare_kind kind,
                                                          const char *name);

/* All of it was compared: equal, unless something else was said. */
void compare_entry_done(struct compare_collector *c, struct compare_entry *e);

/* Counts the difference, keeps what there is room for, and hands it to the sink. */
void compare_entry_differs(struct compare_collector *c, struct compare_entry *e, const struct difference *d);

/* Different, and no row or object says why: "column "x" is missing on the target". */
void compare_entry_is_different(struct compare_collector *c, struct compare_entry *e, const char *reason);
void compare_entry_not_compared(struct compare_collector *c, struct compare_entry *e, const char *reason);
void compare_note(struct compare_collector *c, const char *sentence);

/* Sorts the entries; the result lives in the collector's arena. */
void compare_result_close(struct compare_collector *c, struct compare_result *out);

/* Different if anything is, else not compared if anything was not (or it was cancelled), else equal. */
enum verdict compare_verdict(const struct compare_result *r);

/* At most `max` bytes of text, cut between characters of UTF-8, with "…" in the end when it was cut. In `a`; NULL stays. */
const char *compare_shortened(struct arena *a, const char *text, size_t max);
