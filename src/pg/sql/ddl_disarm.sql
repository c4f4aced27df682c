-- The event triggers of ddl_install.sql for one task (@: its id). In a transaction of its own, before ddl_remove.sql: from its end on
-- nobody's DDL touches our table any more, so that nobody stands in the queue behind the lock that dropping the table waits for.
-- On a server that never had them, nothing is touched.
drop event trigger if exists "!pgtide_@_start";
drop event trigger if exists "!pgtide_@_rewrite";
drop event trigger if exists "!pgtide_@_drop";
drop event trigger if exists "!pgtide_@_end";
