/*
 * A relation as the change stream describes it: one version of one table of the source.
 *
 * pgoutput sends a Relation message before the first change of a table in a session and again after each DDL on it
 * (protocol: "Logical Replication Message Formats"). Each such message makes a new version; changes point to the version
 * that was in force at their place. Immutable once made.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum replica_identity {
    IDENTITY_DEFAULT, /* the primary key, or nothing when there is none */
    IDENTITY_NOTHING,
    IDENTITY_FULL,
    IDENTITY_INDEX,
};

struct stream_column {
    const char *name;
    uint32_t type; /* oid on the source */
    int32_t typmod;
    bool in_identity; /* with IDENTITY_FULL: every column */
};

struct stream_relation {
    uint32_t oid;       /* on the source; with publish_via_partition_root=false: the leaf's */
    uint32_t version;   /* dense, from 1, in the order in which this process decoded them */
    const char *schema; /* "pg_catalog" where the message has an empty one */
    const char *name;
    enum replica_identity identity;
    unsigned n_columns;
    const struct stream_column *columns;
};
