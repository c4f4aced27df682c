/* The statements of src/pg/sql/NAME.sql, embedded at build by tools/embed_sql.py. */
#pragma once

extern const char sql_server_facts[];
