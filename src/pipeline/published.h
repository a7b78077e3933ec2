/*
 * published.h
 *		SQL text: the tables that publications publish, from catalogs alone.
 *
 * It says what pg_publication_tables says, which from PostgreSQL 16 on locks
 * every table of a publication: one that is rewritten would hold up commands
 * about the others, and decoders.  For the same reason the partitions are
 * followed here, and not by pg_partition_tree.
 */
#ifndef FIREHOSE_PIPELINE_PUBLISHED_H
#define FIREHOSE_PIPELINE_PUBLISHED_H

/* Columns that are published without being listed, of pg_attribute a. */
#if PG_VERSION_NUM >= 180000
#define PUBLISHED_UNLISTED " AND (a.attgenerated = '' OR a.attgenerated = b.pubgencols)"
#elif PG_VERSION_NUM >= 160000
#define PUBLISHED_UNLISTED " AND a.attgenerated = ''"
#else
#define PUBLISHED_UNLISTED ""
#endif

/*
 * A subquery in parentheses, for a search_path of pg_catalog: for each of the
 * publications $1 and each of its tables pubid, relid, the names of columns
 * (attnames), and the row filter (qual, pg_node_tree).
 *
 * named: what the publication names itself.  tree: and the partitions of it,
 * unless changes are published by the root.  Then a partition that is named
 * beside its root is left out.  Column lists and row filters count only where
 * the table itself is named, and not also all tables or all of its schema.
 */
#define PUBLISHED_TABLES \
	"(WITH RECURSIVE named (pubid, viaroot, relid) AS (" \
	"SELECT b.oid, b.pubviaroot, r.prrelid FROM pg_publication b" \
	" JOIN pg_publication_rel r ON r.prpubid = b.oid" \
	" WHERE b.pubname = ANY ($1) AND NOT b.puballtables" \
	" UNION SELECT b.oid, b.pubviaroot, c.oid FROM pg_publication b" \
	" JOIN pg_publication_namespace s ON s.pnpubid = b.oid JOIN pg_class c ON c.relnamespace = s.pnnspid" \
	" WHERE b.pubname = ANY ($1) AND NOT b.puballtables AND pg_relation_is_publishable(c.oid)" \
	" UNION SELECT b.oid, b.pubviaroot, c.oid FROM pg_publication b, pg_class c" \
	" WHERE b.pubname = ANY ($1) AND b.puballtables AND pg_relation_is_publishable(c.oid)" \
	" AND CASE WHEN b.pubviaroot THEN NOT c.relispartition ELSE c.relkind = 'r' END" \
	"), tree (pubid, viaroot, relid) AS (" \
	"SELECT pubid, viaroot, relid FROM named" \
	" UNION SELECT t.pubid, t.viaroot, i.inhrelid FROM tree t" \
	" JOIN pg_class c ON c.oid = t.relid AND c.relkind = 'p'" \
	" JOIN pg_inherits i ON i.inhparent = t.relid AND NOT i.inhdetachpending" \
	" WHERE NOT t.viaroot" \
	") SELECT t.pubid, t.relid, l.prqual AS qual," \
	" ARRAY(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = t.relid AND a.attnum > 0" \
	" AND NOT a.attisdropped" \
	" AND CASE WHEN l.prattrs IS NULL THEN true" PUBLISHED_UNLISTED " ELSE a.attnum = ANY (l.prattrs) END) AS attnames" \
	" FROM tree t JOIN pg_publication b ON b.oid = t.pubid JOIN pg_class c ON c.oid = t.relid" \
	" LEFT JOIN pg_publication_rel l ON l.prpubid = t.pubid AND l.prrelid = t.relid AND NOT b.puballtables" \
	" AND NOT EXISTS (SELECT FROM pg_publication_namespace s WHERE s.pnpubid = t.pubid AND s.pnnspid = c.relnamespace)" \
	" WHERE CASE WHEN t.viaroot THEN NOT (c.relispartition AND EXISTS (" \
	"SELECT FROM pg_partition_ancestors(c.oid) u JOIN named n ON n.relid = u.relid" \
	" WHERE n.pubid = t.pubid AND n.relid <> c.oid))" \
	" ELSE c.relkind <> 'p' END)"

/*
 * Tables of publications $1, with a column of each that it publishes, except
 * for the extension's own in FOR ALL TABLES.
 */
#define PUBLISHED_COLUMNS \
	"FROM " PUBLISHED_TABLES " p" \
	" JOIN pg_publication b ON b.oid = p.pubid" \
	" JOIN pg_class c ON c.oid = p.relid" \
	" JOIN pg_namespace n ON n.oid = c.relnamespace" \
	" JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = ANY (p.attnames)" \
	" WHERE NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid" \
	" WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'" \
	" AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'firehose')"

#endif							/* FIREHOSE_PIPELINE_PUBLISHED_H */
