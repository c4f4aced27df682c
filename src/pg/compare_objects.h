/*
 * Compares what catalogs say: objects by their definitions, values of sequences, the database's properties, accounts.
 *
 * Each answer is read whole and merged by kind and identity: memory grows with the number of objects. Between servers of different
 * majors the same view, rule or parsed function body may be printed with and without its columns' qualification, and with other
 * white space: definitions that agree but for that are equal there. So are versions of extensions: those that come with a server
 * have others in each major.
 */
#pragma once

#include "base/error.h"
#include "model/compare.h"
#include "pg/chosen.h"
#include "pg/conn.h"

enum object_set {
    OBJECT_SET_DEFINITIONS,
    OBJECT_SET_SEQUENCES, /* values, which no snapshot holds: of now */
    OBJECT_SET_DATABASE,
    OBJECT_SET_ACCOUNTS, /* roles that only the target has are no difference */
};

/* What is compared: everything when all are NULL, else definitions and sequences of these relations alone. */
struct object_scope {
    const char *schemas, *names; /* arrays as text, of the same length */
    bool with_publications;      /* also those; of relations given: what names these */
    bool fires_later; /* triggers and rules that fire for replicas do so on the target when the sync has ended */
    struct relation_filter filter;
};

/* One entry for each kind of object. An error leaves both transactions aborted: work under a savepoint. */
MUST_USE struct error *compare_objects_run(struct pg_conn *source, struct pg_conn *target, enum object_set set,
                                           const struct object_scope *scope, struct compare_collector *collector);

/* Between majors; for tests. */
bool definitions_agree_loosely(const char *a, const char *b);
