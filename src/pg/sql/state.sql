-- What a synchronization keeps on its target. Run again on each start: nothing here may harm what exists.
create schema if not exists pgtide;

create table if not exists pgtide.task (
    task text primary key,
    source_system text not null,
    source_timeline bigint not null,
    source_database_oid oid not null,
    source_database text not null,
    slot text,
    slot_lsn pg_lsn,
    slot_snapshot text,
    version text not null,
    started timestamptz not null default clock_timestamp(),
    structure_done boolean not null default false
);

-- (P1) How far each lane is, written with the rows it covers. Room in the page, so that each update is a HOT one.
create table if not exists pgtide.lane (
    task text not null,
    lane integer not null,
    lane_count integer not null,
    end_lsn pg_lsn not null,
    transactions bigint not null,
    committed_us bigint not null,
    updated timestamptz not null default clock_timestamp(),
    primary key (task, lane)
) with (fillfactor = 10);

-- How rows of a table were divided over lanes (sync/division.h) since these last stood together: by the columns of a key, or
-- (null) the table as a whole. Lanes that died apart are brought together by the same rules.
create table if not exists pgtide.lane_table (
    task text not null,
    source_oid oid not null,
    key text,
    primary key (task, source_oid)
);

-- (G2) The gate of each copied table, written with its rows.
create table if not exists pgtide.relation (
    task text not null,
    source_oid oid not null,
    schema_name text not null,
    table_name text not null,
    snapshot text not null,
    upto pg_lsn not null,
    rows bigint not null,
    primary key (task, source_oid)
);

-- Entries of pg_dump's archive that ran; a validated foreign key as its negative id; 0: all that was to be copied and made is there.
create table if not exists pgtide.done (
    task text not null,
    dump_id integer not null,
    primary key (task, dump_id)
);

-- Constraints that are out of the way while rows are copied (pg/set_aside.h), as the statement that makes them again.
create table if not exists pgtide.aside (
    task text not null,
    id bigint generated always as identity,
    statement text not null,
    primary key (task, id)
);

create table if not exists pgtide.conflict (
    task text not null,
    id bigint generated always as identity,
    at timestamptz not null default clock_timestamp(),
    table_name text not null,
    kind text not null,
    policy text not null,
    action text not null,
    key_row text,
    old_row text,
    new_row text,
    lsn pg_lsn,
    xid bigint,
    primary key (task, id)
);
