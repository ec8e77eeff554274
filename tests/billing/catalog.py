"""What PostgreSQL's catalog says of a database, as sorted lines: two schemas are equal when the lines are."""

from __future__ import annotations

from typing import Any

OURS = "n.nspname = 'public'"
# Partitions of a month depend on the day of the migration; so do their indexes, which carry their names.
TABLES = OURS + r" AND c.relname !~ '_20\d\d_\d\d'"
QUERIES = {
    "relation": f"""
        SELECT c.relname || ' ' || c.relkind::text || ' partition=' || c.relispartition
            || ' of ' || coalesce(pg_get_expr(c.relpartbound, c.oid), '-')
            || ' by ' || coalesce(pg_get_partkeydef(c.oid), '-')
            || ' options=' || coalesce(c.reloptions::text, '-')
            || ' acl=' || coalesce((SELECT string_agg(a::text, ',' ORDER BY a::text)
                                    FROM unnest(c.relacl) AS a), '-')
            || ' comment=' || coalesce(obj_description(c.oid, 'pg_class'), '-')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {TABLES}""",
    "column": f"""
        SELECT c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
            || ' notnull=' || a.attnotnull || ' identity=' || a.attidentity::text
            || ' generated=' || a.attgenerated::text
            || ' default=' || coalesce(pg_get_expr(d.adbin, d.adrelid), '-')
            || ' acl=' || coalesce(a.attacl::text, '-')
            || ' comment=' || coalesce(col_description(c.oid, a.attnum), '-')
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE {TABLES} AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'c')""",
    "constraint": f"""
        SELECT c.relname || ' ' || k.conname || ' ' || pg_get_constraintdef(k.oid)
            || ' valid=' || k.convalidated
        FROM pg_constraint k
        JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {TABLES}""",
    "index": f"""
        SELECT pg_get_indexdef(i.indexrelid) || ' valid=' || i.indisvalid
        FROM pg_index i
        JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {TABLES}""",
    "trigger": f"""
        SELECT pg_get_triggerdef(t.oid) || ' enabled=' || t.tgenabled::text
        FROM pg_trigger t
        JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {TABLES} AND NOT t.tgisinternal""",
    "function": f"""
        SELECT pg_get_functiondef(p.oid) || ' acl=' || coalesce(p.proacl::text, '-')
            || ' comment=' || coalesce(obj_description(p.oid, 'pg_proc'), '-')
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {OURS}""",
    "view": "SELECT viewname || ' ' || definition FROM pg_views WHERE schemaname = 'public'",
    "type": f"""
        SELECT t.typname || ' ' || t.typtype::text
            || coalesce(' ' || (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder)
                                FROM pg_enum e WHERE e.enumtypid = t.oid), '')
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE {OURS} AND t.typtype IN ('e', 'd')""",
}


async def catalog(connection: Any) -> list[str]:
    lines = []
    for kind, query in QUERIES.items():
        lines += [f"{kind}: {row[0]}" for row in await connection.fetch(query)]
    return sorted(lines)
