-- Roles that everything.sql gives objects and rights to.
CREATE ROLE "Owner One";
CREATE ROLE reader;
CREATE ROLE "select";
CREATE ROLE writer;
