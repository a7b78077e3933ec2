/*
 * record_shape.h
 *		A record's bytes, and how its stream's delimiter changes them on their
 *		way into the queue or the WAL.
 */
#ifndef FIREHOSE_QUEUE_RECORD_SHAPE_H
#define FIREHOSE_QUEUE_RECORD_SHAPE_H

/* A record's bytes. */
typedef struct RecordBytes
{
	const char *data;
	Size		length;
} RecordBytes;

/* The changes. */
typedef struct RecordShape
{
	bool		newline;		/* append one unless the record ends in one */
	/* turn line breaks (json's white space) into blanks */
	bool		one_line;
} RecordShape;

static inline Size
record_shaped_length(const RecordBytes *record, RecordShape shape)
{
	return record->length +
		(shape.newline && (record->length == 0 || record->data[record->length - 1] != '\n'));
}

static inline void
record_blank_line_breaks(char *data, Size length)
{
	char	   *p = data;
	char	   *end = data + length;

	while ((p = memchr(p, '\n', end - p)) != NULL)
		*p++ = ' ';
	p = data;
	while ((p = memchr(p, '\r', end - p)) != NULL)
		*p++ = ' ';
}

/*
 * Write record_shaped_length() bytes.  The delimiter is not one of the
 * record's line breaks.
 */
static inline void
record_write_shaped(char *to, const RecordBytes *record, RecordShape shape)
{
	Size		shaped = record_shaped_length(record, shape);

	memcpy(to, record->data, record->length);
	if (shape.newline)
		to[shaped - 1] = '\n';
	if (shape.one_line)
		record_blank_line_breaks(to, shaped - shape.newline);
}

#endif							/* FIREHOSE_QUEUE_RECORD_SHAPE_H */
