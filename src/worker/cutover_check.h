/*
 * The checklist of a cutover: what somebody should know before the writes are stopped. Changes nothing on either side.
 *
 * One thread. Sessions are the caller's. Manual: pg_stat_activity, pg_prepared_xacts.
 */
#pragma once

#include "model/check.h"
#include "pg/conn.h"
#include "worker/cutover.h"
#include "worker/pair.h"

/* Fills in items and n_items of the report; they live in `a`. `status` is the running sync's status document, or NULL when none runs. */
MUST_USE struct error *cutover_check(const struct pair *p, struct pg_conn *source,
                                     const struct cutover_options *options, const json_t *status, struct arena *a,
                                     struct cutover_report *out);
