/*
 * The report of a comparison as a file, by the ending of its name:
 *
 *     .html  one self-contained page    .json  as --json
 *     .csv   every difference a line    .sql   every repair a statement
 *
 * HTML and JSON have the differences that are kept (model/compare.h); CSV and SQL are written while they are found, so that ten million
 * of them take no memory. In CSV a line follows for each table that was not compared, or differs as a whole, with the reason.
 */
#pragma once

#include "base/error.h"
#include "model/compare.h"

struct compare_report;

/* ERROR_USAGE for another ending. `progress` tells which differences were found after a repair. */
MUST_USE struct error *compare_report_open(const char *path, struct compare_progress *progress,
                                           struct compare_report **out_report);
void compare_report_close(struct compare_report *r);
DEFINE_CLEANUP(struct compare_report, compare_report_close);

struct compare_sink compare_report_sink(struct compare_report *r);

/* Writes what has to be written in the end. */
MUST_USE struct error *compare_report_finish(struct compare_report *r, const struct compare_result *result);
