/*
 * The repair of rows that stand in each other's way: a unique value that has changed its row, several that have changed places, rows of a
 * table that refer to each other.
 *
 * One statement after the other fails there, in whatever order, because the server holds each row against those that are not changed yet. So
 * the new rows are staged in a temporary table, and then one statement takes all old ones out of the table and puts all new ones in. Foreign
 * keys (NO ACTION) are checked at the end of that statement, when what they refer to is there again.
 *
 *     prepare -> stage, each row -> measure -> fill      in one transaction; the temporary table ends with it
 *
 * SQL in the arena given; without semicolon. Columns that only the target has keep their values.
 */
#pragma once

#include "pg/compare_plan.h"

/* False: rows that one side alone has are not for the stage, because there are columns that get their defaults, or rows without a key. */
bool compare_exchange_takes_all(const struct compare_plan *p);

char *compare_exchange_prepare(struct arena *a, const struct compare_plan *p);

/* One row; cells as in compare_plan.h, NULL where it is missing. It touches exactly one row. */
char *compare_exchange_stage(struct arena *a, const struct compare_plan *p, char *const *source_cells,
                             char *const *target_cells);

char *compare_exchange_measure(struct arena *a);

/* Puts rows in, as many as were staged to be, or, unless all of the staged ones' old ones were taken out, not one. */
char *compare_exchange_fill(struct arena *a, const struct compare_plan *p);

/*
 * Where foreign keys act: ERROR_DATA when one that refers to the table would delete or change rows of others for those that are
 * taken out.
 */
MUST_USE struct error *compare_exchange_check(struct pg_conn *target, const struct compare_plan *p);
