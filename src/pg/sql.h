/* The statements of src/pg/sql/NAME.sql, embedded at build by tools/embed_sql.py. */
#pragma once

extern const char sql_columns[];
extern const char sql_config_tables[];
extern const char sql_compare_accounts[];
extern const char sql_compare_columns[];
extern const char sql_compare_large_objects[];
extern const char sql_compare_objects[];
extern const char sql_compare_passwords[];
extern const char sql_compare_tables[];
extern const char sql_conflicts[];
extern const char sql_ddl_install[];
extern const char sql_ddl_remove[];
extern const char sql_database_properties[];
extern const char sql_describe_relation[];
extern const char sql_entry_tables[];
extern const char sql_large_objects[];
extern const char sql_large_objects_unreadable[];
extern const char sql_long_transactions[];
extern const char sql_matviews[];
extern const char sql_not_owned[];
extern const char sql_not_followed[];
extern const char sql_objects[];
extern const char sql_other_sessions[];
extern const char sql_publication_lacks[];
extern const char sql_roles_used[];
extern const char sql_sequences[];
extern const char sql_server_facts[];
extern const char sql_session_facts[];
extern const char sql_state[];
extern const char sql_tables[];
extern const char sql_target_blocking_index[];
extern const char sql_target_columns[];
extern const char sql_target_indexes[];
extern const char sql_target_relation[];
extern const char sql_types[];
extern const char sql_unreadable[];
