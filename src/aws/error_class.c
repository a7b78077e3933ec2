/*-------------------------------------------------------------------------
 *
 * error_class.c
 *	  The class of an error in a response of Firehose.
 *
 * Called by the sender for every response that is not a plain success.  The
 * tables below are the whole policy.  Their sources are the Firehose API
 * reference, the retry lists of the AWS SDKs, and responses of the real
 * service quoted in public issues.
 *
 *-------------------------------------------------------------------------
 */
#include <stdbool.h>
#include <string.h>

#include "aws/error_class.h"

/*
 * The meaning of error codes.  Where the message matters, rows of the same
 * code follow one another and the first match counts; a row without a needle
 * matches every message.
 */
typedef struct CodeRule
{
	const char *code;
	ErrorClass	class;
	const char *needle;			/* lower case; NULL = any message */
} CodeRule;

/*
 * Messages that refuse a size.  "Records size exceeds 4 MB limit" and "... at
 * 'records.97.member.data' failed to satisfy constraint: Member must have
 * length less than or equal to 1024000" were seen from the real service; the
 * others are there because the wording is not documented.
 */
#define SIZE_RULES(code) \
	{code, ERROR_CLASS_TOO_LARGE, "exceed"}, \
	{code, ERROR_CLASS_TOO_LARGE, "length less than or equal to"}, \
	{code, ERROR_CLASS_TOO_LARGE, "too large"}, \
	{code, ERROR_CLASS_TOO_LARGE, "too big"}, \
	{code, ERROR_CLASS_TOO_LARGE, "size limit"}, \
	{code, ERROR_CLASS_TOO_LARGE, "maximum size"}

/*
 * A stream's name that is too long is refused in the same words as a record
 * that is, but halving the batch would send innocent records to the dead
 * letters.
 */
#define NAME_RULE(code) \
	{code, ERROR_CLASS_PARK, "at 'deliverystreamname'"}

static const CodeRule code_rules[] =
{
	/* Slow down; Firehose uses ServiceUnavailableException for it */
	{"ServiceUnavailableException", ERROR_CLASS_THROTTLE, NULL},
	{"Throttling", ERROR_CLASS_THROTTLE, NULL},
	{"ThrottlingException", ERROR_CLASS_THROTTLE, NULL},
	{"ThrottledException", ERROR_CLASS_THROTTLE, NULL},
	{"RequestThrottled", ERROR_CLASS_THROTTLE, NULL},
	{"RequestThrottledException", ERROR_CLASS_THROTTLE, NULL},
	{"TooManyRequestsException", ERROR_CLASS_THROTTLE, NULL},
	{"ProvisionedThroughputExceededException", ERROR_CLASS_THROTTLE, NULL},
	{"RequestLimitExceeded", ERROR_CLASS_THROTTLE, NULL},
	{"BandwidthLimitExceeded", ERROR_CLASS_THROTTLE, NULL},
	{"LimitExceededException", ERROR_CLASS_THROTTLE, NULL},
	{"SlowDown", ERROR_CLASS_THROTTLE, NULL},
	{"PriorRequestNotComplete", ERROR_CLASS_THROTTLE, NULL},
	{"TransactionInProgressException", ERROR_CLASS_THROTTLE, NULL},
	{"EC2ThrottledException", ERROR_CLASS_THROTTLE, NULL},

	/* The service failed */
	{"RequestTimeout", ERROR_CLASS_TRANSIENT, NULL},
	{"RequestTimeoutException", ERROR_CLASS_TRANSIENT, NULL},
	{"InternalFailure", ERROR_CLASS_TRANSIENT, NULL},

	/*
	 * The clocks of this machine and of AWS are more than five minutes apart
	 */
	{"InvalidSignatureException", ERROR_CLASS_CLOCK_SKEW, "signature expired"},
	{"InvalidSignatureException", ERROR_CLASS_CLOCK_SKEW, "not yet current"},
	{"RequestExpired", ERROR_CLASS_CLOCK_SKEW, NULL},
	{"RequestInTheFuture", ERROR_CLASS_CLOCK_SKEW, NULL},
	{"RequestTimeTooSkewed", ERROR_CLASS_CLOCK_SKEW, NULL},

	/* The keys are wrong, or no longer valid */
	{"InvalidSignatureException", ERROR_CLASS_CREDENTIALS, NULL},
	{"SignatureDoesNotMatch", ERROR_CLASS_CREDENTIALS, NULL},
	{"ExpiredToken", ERROR_CLASS_CREDENTIALS, NULL},
	{"ExpiredTokenException", ERROR_CLASS_CREDENTIALS, NULL},
	{"UnrecognizedClientException", ERROR_CLASS_CREDENTIALS, NULL},
	{"InvalidClientTokenId", ERROR_CLASS_CREDENTIALS, NULL},
	{"MissingAuthenticationToken", ERROR_CLASS_CREDENTIALS, NULL},
	{"MissingAuthenticationTokenException", ERROR_CLASS_CREDENTIALS, NULL},
	{"IncompleteSignature", ERROR_CLASS_CREDENTIALS, NULL},
	{"IncompleteSignatureException", ERROR_CLASS_CREDENTIALS, NULL},

	/* Seen with status 400; newer documentation says 403 */
	{"AccessDeniedException", ERROR_CLASS_ACCESS_DENIED, NULL},

	/*
	 * The stream does not exist, or is in a state in which it takes no records
	 */
	{"ResourceNotFoundException", ERROR_CLASS_PARK, NULL},
	{"InvalidKMSResourceException", ERROR_CLASS_PARK, NULL},
	{"InvalidSourceException", ERROR_CLASS_PARK, NULL},
	{"InvalidArgumentException", ERROR_CLASS_PARK, "kinesisstreamassource"},

	/* A size is refused that is within the limits of firehose */
	NAME_RULE("InvalidArgumentException"),
	SIZE_RULES("InvalidArgumentException"),
	NAME_RULE("ValidationException"),
	SIZE_RULES("ValidationException"),

	/* Firehose does not understand the request */
	{"SerializationException", ERROR_CLASS_OUR_BUG, NULL},
};

/* The meaning of a status without a known code */
typedef struct StatusRule
{
	int			first;
	int			last;
	ErrorClass	class;
	bool		throttle_wins;	/* unless the code says to slow down */
} StatusRule;

static const StatusRule status_rules[] =
{
	{200, 200, ERROR_CLASS_NONE, false},
	{300, 399, ERROR_CLASS_REDIRECT, false},
	{408, 408, ERROR_CLASS_TRANSIENT, true},
	{413, 413, ERROR_CLASS_TOO_LARGE, false},
	{429, 429, ERROR_CLASS_TRANSIENT, true},
	{500, 599, ERROR_CLASS_TRANSIENT, true},
};

#define lengthof(array) (sizeof(array) / sizeof((array)[0]))

static inline char
to_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* Does text contain needle, in either case? */
static bool
contains(const char *text, size_t len, const char *needle)
{
	size_t		needle_len = strlen(needle);

	for (size_t i = 0; i + needle_len <= len; i++)
	{
		size_t		n = 0;

		while (n < needle_len && to_lower(text[i + n]) == needle[n])
			n++;
		if (n == needle_len)
			return true;
	}
	return false;
}

/*
 * The class of a code, or fallback for a code or message without a rule.
 */
static ErrorClass
classify_code(const char *code, size_t code_len,
			  const char *message, size_t message_len, ErrorClass fallback)
{
	for (size_t i = 0; i < lengthof(code_rules); i++)
	{
		const CodeRule *rule = &code_rules[i];

		if (strlen(rule->code) == code_len &&
			memcmp(rule->code, code, code_len) == 0 &&
			(rule->needle == NULL ||
			 contains(message, message_len, rule->needle)))
			return rule->class;
	}
	return fallback;
}

/*
 * A 4xx without a rule of its own (an unknown code, UnknownOperationException,
 * the page of a proxy) parks the stream: sending the same again will not help,
 * and nothing says that the data is at fault.
 */
ErrorClass
classify_response(int http_status, const char *code, size_t code_len,
			   const char *message, size_t message_len)
{
	ErrorClass	by_code = classify_code(code, code_len, message, message_len,
										ERROR_CLASS_PARK);

	for (size_t i = 0; i < lengthof(status_rules); i++)
	{
		const StatusRule *rule = &status_rules[i];

		if (http_status < rule->first || http_status > rule->last)
			continue;
		if (rule->throttle_wins && by_code == ERROR_CLASS_THROTTLE)
			return ERROR_CLASS_THROTTLE;
		return rule->class;
	}
	if (http_status >= 400 && http_status <= 499)
		return by_code;
	return ERROR_CLASS_MALFORMED_REPLY;
}

ErrorClass
classify_entry(const char *code, size_t code_len)
{
	ErrorClass	class = classify_code(code, code_len, "", 0,
									  ERROR_CLASS_TRANSIENT);

	return class == ERROR_CLASS_THROTTLE ? class : ERROR_CLASS_TRANSIENT;
}

const char *
error_class_name(ErrorClass class)
{
	static const char *const names[] =
	{
		[ERROR_CLASS_NONE] = "none",
		[ERROR_CLASS_TRANSIENT] = "transient",
		[ERROR_CLASS_THROTTLE] = "throttled",
		[ERROR_CLASS_CLOCK_SKEW] = "clock skew",
		[ERROR_CLASS_CREDENTIALS] = "credentials refused",
		[ERROR_CLASS_ACCESS_DENIED] = "access denied",
		[ERROR_CLASS_PARK] = "request refused",
		[ERROR_CLASS_TOO_LARGE] = "too large",
		[ERROR_CLASS_OUR_BUG] = "request not understood",
		[ERROR_CLASS_REDIRECT] = "redirected",
		[ERROR_CLASS_MALFORMED_REPLY] = "malformed response",
	};

	return names[class];
}
