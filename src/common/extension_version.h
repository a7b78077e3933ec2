/*
 * extension_version.h
 *		The version of the extension's objects in a database, against that of
 *		the library.
 *
 * A new package brings a new library, which the server runs after a restart,
 * and a script by which ALTER EXTENSION UPDATE gives each database its new
 * objects.  A library knows the objects of all earlier versions: functions
 * keep their C names, and results get columns only at their end.  It cannot
 * know those of later ones.
 */
#ifndef FIREHOSE_COMMON_EXTENSION_VERSION_H
#define FIREHOSE_COMMON_EXTENSION_VERSION_H

/*
 * Error if the extension, as this very command has left it, is of a version
 * that the library cannot know.
 */
extern void extension_version_check(Oid extension);

/* Log, once for each, that this database's objects are of another version. */
extern void extension_version_report(void);

/*
 * For the hint of an error about objects that are not as the library expects:
 * how to make versions agree, or, if they do, what else is to be done.
 */
extern const char *extension_version_remedy(const char *otherwise);

#endif							/* FIREHOSE_COMMON_EXTENSION_VERSION_H */
