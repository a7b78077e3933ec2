/*
 * error_policy.c
 *		Decide what an error of a decoder means for its pipeline.
 *
 * Decoder process only, after the error: nothing here looks into a catalog.
 *
 * One table says for each class of SQLSTATE what an error means, by the place
 * where it happened.  Amid a commit it may be that commit which cannot be
 * decoded, now or ever; only there can a decoder continue without the failing
 * part, by leaving out that commit alone.  Amid another record nothing can be
 * left out, because its change may belong to any transaction: it is tried
 * again until it passes.  Outside of records, while the decoder starts, the
 * cause is the definition or the server, which an administrator can mend.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "decoder/error_policy.h"

/* The same error at the same place so many times in a row does not pass. */
#define ENOUGH_TRIES	3

typedef enum ErrorMeaning
{
	PASSING,					/* tried again for ever, with backoff */
	OF_TRANSACTION,				/* the commit cannot be decoded */
	OF_DEFINITION				/* passes once an administrator has mended the
								 * cause */
} ErrorMeaning;

typedef struct ErrorPolicy
{
	const char *class;			/* the beginning of SQLSTATEs */
	ErrorMeaning in_commit;
	ErrorMeaning outside;
} ErrorPolicy;

/* The first that fits; the last fits all. */
static const ErrorPolicy policies[] = {
	{"08", PASSING, PASSING},	/* connection exception */
	{"40", PASSING, PASSING},	/* transaction rollback */
	{"53", PASSING, PASSING},	/* insufficient resources: disk, memory */
	{"55", PASSING, PASSING},	/* object not in prerequisite state */
	{"57", PASSING, PASSING},	/* operator intervention */
	{"58", PASSING, PASSING},	/* system error: input and output */
	{"XX", OF_TRANSACTION, PASSING},	/* internal error */
	{"", OF_TRANSACTION, OF_DEFINITION}
};

/* Classes of errors whose messages quote values. */
static const char *const quoting_classes[] = {"22", "P0"};

/* The text that stands for them. */
static const struct
{
	int			sqlstate;
	const char *name;
}			condition_names[] =
{
	{ERRCODE_DIVISION_BY_ZERO, "division by zero"},
	{ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, "numeric value out of range"},
	{ERRCODE_INVALID_TEXT_REPRESENTATION, "invalid text representation"},
	{ERRCODE_INVALID_BINARY_REPRESENTATION, "invalid binary representation"},
	{ERRCODE_CHARACTER_NOT_IN_REPERTOIRE, "character not in repertoire"},
	{ERRCODE_UNTRANSLATABLE_CHARACTER, "untranslatable character"},
	{ERRCODE_DATETIME_FIELD_OVERFLOW, "datetime field overflow"},
	{ERRCODE_INVALID_PARAMETER_VALUE, "invalid parameter value"},
	{ERRCODE_STRING_DATA_RIGHT_TRUNCATION, "string data right truncation"},
	{ERRCODE_SUBSTRING_ERROR, "substring error"}
};

static bool
is_of_class(int sqlstate, const char *class)
{
	return strncmp(unpack_sql_state(sqlstate), class, strlen(class)) == 0;
}

static ErrorMeaning
meaning_of(int sqlstate, const WalPlace *place)
{
	const ErrorPolicy *policy = policies;

	while (!is_of_class(sqlstate, policy->class))
		policy++;
	if (place->lsn == InvalidXLogRecPtr)
		return policy->outside;
	return place->can_be_skipped ? policy->in_commit : PASSING;
}

bool
error_policy_passes(int sqlstate)
{
	const ErrorPolicy *policy = policies;

	while (!is_of_class(sqlstate, policy->class))
		policy++;
	return policy->in_commit == PASSING;
}

/*
 * Outside of records no row is near: errors about settings say what they like.
 */
bool
error_policy_hides_text(const ErrorData *error, const WalPlace *place)
{
	if (place->lsn == InvalidXLogRecPtr)
		return false;
	for (int i = 0; i < lengthof(quoting_classes); i++)
	{
		if (is_of_class(error->sqlerrcode, quoting_classes[i]))
			return true;
	}
	return false;
}

const char *
error_policy_text(const ErrorData *error, const WalPlace *place)
{
	StringInfoData text;
	const char *name = NULL;

	initStringInfo(&text);
	for (int i = 0; i < lengthof(condition_names); i++)
	{
		if (condition_names[i].sqlstate == error->sqlerrcode)
			name = condition_names[i].name;
	}
	if (!error_policy_hides_text(error, place))
		appendStringInfoString(&text, error->message);
	else if (name != NULL)
		appendStringInfoString(&text, name);
	else
		appendStringInfo(&text, "a value could not be read or written (SQLSTATE %s)",
						 unpack_sql_state(error->sqlerrcode));
	if (place->table[0] != '\0')
		appendStringInfo(&text, " (table %s)", place->table);
	return text.data;
}

/* Remember an error; returns how often the same has happened in a row. */
static int
remember_error(PipelineEntry *entry, const ErrorData *error, const WalPlace *place,
			   const char *text)
{
	int			times;

	LWLockAcquire(pipeline_table->lock, LW_EXCLUSIVE);
	if (error->sqlerrcode == entry->last_sqlstate && place->lsn == entry->last_error_lsn)
		entry->same_error++;
	else
		entry->same_error = 1;
	times = entry->same_error;
	entry->last_sqlstate = error->sqlerrcode;
	entry->last_error_lsn = place->lsn;
	entry->last_error_at = GetCurrentTimestamp();
	strlcpy(entry->last_error, text, sizeof(entry->last_error));
	LWLockRelease(pipeline_table->lock);
	return times;
}

/* Show that there will be another try, and why. */
static void
show_retry(PipelineEntry *entry, ErrorMeaning meaning, const char *text)
{
	const char *remedy = meaning == OF_DEFINITION ?
		"; this goes on by itself once it is mended" : "";

	pipeline_set_state(entry, PIPELINE_STARTING,
					   psprintf("restarting after an error: %s%s", text, remedy));
}

/* The record at a place cannot be decoded. Can it be left out? */
static void
fail_place(PipelineEntry *entry, const WalPlace *place, const char *what)
{
	char	   *name = quote_literal_cstr(NameStr(entry->name));

	char	   *way = "";

	if (place->can_be_skipped)
	{
		LWLockAcquire(pipeline_table->lock, LW_EXCLUSIVE);
		entry->reported_lsn = place->lsn;
		LWLockRelease(pipeline_table->lock);
		way = psprintf(", or leave it out with SELECT firehose_resume_pipeline(%s, skip_lsn => '%X/%X')",
					   name, LSN_FORMAT_ARGS(place->lsn));
	}
	pipeline_fail(entry, psprintf("%s; retry with SELECT firehose_resume_pipeline(%s)%s; or give up all that is not sent yet with from_now => true",
								  what, name, way));
}

void
error_policy_brake(PipelineEntry *entry, const WalPlace *place)
{
	char	   *what = psprintf("the server crashed repeatedly while the WAL at %X/%X was decoded, which is not tried again",
								LSN_FORMAT_ARGS(place->lsn));

	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("firehose decoder: pipeline \"%s\" fails: %s", NameStr(entry->name), what)));
	fail_place(entry, place, what);
}

void
error_policy_note(PipelineEntry *entry, const ErrorData *error, const WalPlace *place)
{
	ErrorMeaning meaning = meaning_of(error->sqlerrcode, place);
	const char *text = error_policy_text(error, place);
	int			times = remember_error(entry, error, place, text);

	if (times < ENOUGH_TRIES || meaning == PASSING || meaning == OF_DEFINITION)
		show_retry(entry, meaning, text);
	else
		fail_place(entry, place,
				   psprintf("the transaction that commits at %X/%X cannot be decoded: %s",
							LSN_FORMAT_ARGS(place->lsn), text));
}
