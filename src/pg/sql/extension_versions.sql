-- On the target, bytewise sorted: name, the version that is installed or would be, whether it is installed, whether only a superuser
-- may install it (trusted ones came with 13).
select e.name::text,
       coalesce(e.installed_version, e.default_version),
       (e.installed_version is not null)::text,
       coalesce((select (v.superuser and not coalesce((to_jsonb(v) ->> 'trusted')::boolean, false))::text
                   from pg_available_extension_versions v
                  where v.name = e.name and v.version = e.default_version), 'true')
  from pg_available_extensions e
 order by e.name::text collate "C"
