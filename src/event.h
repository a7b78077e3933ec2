/*
 * event.h
 *		A change as columns and values, whatever read it (a trigger today, the
 *		WAL decoder later), and the formats that turn it into a record.
 *
 * Formats know no queue and no process: they read an Event and append bytes
 * to a StringInfo.
 */
#ifndef FIREHOSE_EVENT_H
#define FIREHOSE_EVENT_H

#include "access/tupdesc.h"
#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

typedef enum EventOp
{
	EVENT_INSERT,				/* c */
	EVENT_UPDATE,				/* u */
	EVENT_DELETE,				/* d */
	EVENT_READ,					/* r: a snapshot row */
	EVENT_TRUNCATE				/* t */
} EventOp;

#endif							/* FIREHOSE_EVENT_H */
