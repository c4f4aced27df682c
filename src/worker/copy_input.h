/*
 * What a copy is made of: the source's tables and the dump's indexes and constraints, as worker/copy_jobs takes them.
 *
 * Lives in the task's arena. One thread, before the copy begins.
 */
#pragma once

#include "pg/catalog.h"
#include "pg/schema.h"
#include "worker/copy_jobs.h"
#include "worker/task.h"

/* What becomes the copy's plan. */
struct copy_input {
    struct task *task;
    const struct schema *schema;
    struct catalog catalog; /* of the source, only tables that the dump has */
    struct copy_jobs_table *tables;
    uint32_t n_tables;
    struct copy_jobs_entry *entries;
    uint32_t n_entries;
    uint64_t altered_since; /* 0: the target follows no DDL */
    bool *put_off;          /* of tables */
    bool names_are_targets; /* read with the dump's snapshot */
};

/* Fills `catalog`, `tables` and `entries`, and says of the dump's entries which are of the copy (is_of_copy). Asks both servers. */
MUST_USE struct error *copy_input_read(struct copy_input *in);

/* Of the tables that `catalog` has: they are on the target with all that belongs to them, nothing is built. */
MUST_USE struct error *copy_input_list_late(struct copy_input *in, struct pg_conn *source, struct pg_conn *target);

/* The place of the table with this oid, or COPY_NONE. */
uint32_t copy_input_place(const struct copy_input *in, uint32_t oid);

/* In the progress, before the copy begins: all of it, as if nothing had been copied by an earlier run. */
void copy_input_show(const struct copy_input *in);
