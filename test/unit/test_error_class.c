/*-------------------------------------------------------------------------
 *
 * test_error_class.c
 *	  Every answer that Firehose is known to give has its class.
 *
 *-------------------------------------------------------------------------
 */
#include "aws/error_class.h"
#include "tap.h"

typedef struct Case
{
	int			status;
	const char *code;
	const char *message;
	ErrorClass	expected;
} Case;

#define RECORD_TOO_LARGE \
	"1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=2757283 cap=2757283]' at 'records.97.member.data' failed to satisfy constraint: Member must have length less than or equal to 1024000"
#define NAME_TOO_LONG \
	"1 validation error detected: Value 'x' at 'deliveryStreamName' failed to satisfy constraint: Member must have length less than or equal to 64"

static const Case cases[] = {
	{200, "", "", ERROR_CLASS_NONE},

	/* by status, with any body */
	{500, "", "", ERROR_CLASS_TRANSIENT},
	{500, "InternalFailure", "", ERROR_CLASS_TRANSIENT},
	{500, "AccessDeniedException", "", ERROR_CLASS_TRANSIENT},
	{502, "", "", ERROR_CLASS_TRANSIENT},
	{503, "", "", ERROR_CLASS_TRANSIENT},
	{503, "ServiceUnavailableException", "Slow down.", ERROR_CLASS_THROTTLE},
	{500, "ThrottlingException", "", ERROR_CLASS_THROTTLE},
	{599, "Whatever", "", ERROR_CLASS_TRANSIENT},
	{429, "", "", ERROR_CLASS_TRANSIENT},
	{429, "TooManyRequestsException", "", ERROR_CLASS_THROTTLE},
	{408, "", "", ERROR_CLASS_TRANSIENT},
	{413, "", "", ERROR_CLASS_TOO_LARGE},
	{413, "ThrottlingException", "", ERROR_CLASS_TOO_LARGE},
	{301, "", "", ERROR_CLASS_REDIRECT},
	{307, "AccessDeniedException", "", ERROR_CLASS_REDIRECT},
	{399, "", "", ERROR_CLASS_REDIRECT},
	{100, "", "", ERROR_CLASS_MALFORMED_REPLY},
	{204, "", "", ERROR_CLASS_MALFORMED_REPLY},
	{0, "", "", ERROR_CLASS_MALFORMED_REPLY},
	{600, "", "", ERROR_CLASS_MALFORMED_REPLY},
	{-1, "", "", ERROR_CLASS_MALFORMED_REPLY},

	/* throttling, at any status */
	{400, "ServiceUnavailableException", "", ERROR_CLASS_THROTTLE},
	{400, "Throttling", "", ERROR_CLASS_THROTTLE},
	{400, "ThrottlingException", "", ERROR_CLASS_THROTTLE},
	{400, "ThrottledException", "", ERROR_CLASS_THROTTLE},
	{400, "RequestThrottled", "", ERROR_CLASS_THROTTLE},
	{400, "RequestThrottledException", "", ERROR_CLASS_THROTTLE},
	{400, "TooManyRequestsException", "", ERROR_CLASS_THROTTLE},
	{400, "ProvisionedThroughputExceededException", "", ERROR_CLASS_THROTTLE},
	{400, "RequestLimitExceeded", "", ERROR_CLASS_THROTTLE},
	{400, "BandwidthLimitExceeded", "", ERROR_CLASS_THROTTLE},
	{400, "LimitExceededException", "", ERROR_CLASS_THROTTLE},
	{400, "SlowDown", "", ERROR_CLASS_THROTTLE},
	{400, "PriorRequestNotComplete", "", ERROR_CLASS_THROTTLE},
	{400, "TransactionInProgressException", "", ERROR_CLASS_THROTTLE},
	{400, "EC2ThrottledException", "", ERROR_CLASS_THROTTLE},

	{400, "RequestTimeout", "", ERROR_CLASS_TRANSIENT},
	{400, "RequestTimeoutException", "", ERROR_CLASS_TRANSIENT},

	/* the clock */
	{403, "InvalidSignatureException", "Signature expired: 20150830T123600Z is now earlier than ...", ERROR_CLASS_CLOCK_SKEW},
	{400, "InvalidSignatureException", "Signature not yet current: ...", ERROR_CLASS_CLOCK_SKEW},
	{400, "RequestExpired", "", ERROR_CLASS_CLOCK_SKEW},
	{400, "RequestInTheFuture", "", ERROR_CLASS_CLOCK_SKEW},
	{403, "RequestTimeTooSkewed", "", ERROR_CLASS_CLOCK_SKEW},

	/* the keys */
	{403, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided.", ERROR_CLASS_CREDENTIALS},
	{403, "SignatureDoesNotMatch", "", ERROR_CLASS_CREDENTIALS},
	{400, "ExpiredToken", "", ERROR_CLASS_CREDENTIALS},
	{400, "ExpiredTokenException", "The security token included in the request is expired", ERROR_CLASS_CREDENTIALS},
	{400, "UnrecognizedClientException", "The security token included in the request is invalid.", ERROR_CLASS_CREDENTIALS},
	{403, "InvalidClientTokenId", "", ERROR_CLASS_CREDENTIALS},
	{403, "MissingAuthenticationToken", "", ERROR_CLASS_CREDENTIALS},
	{400, "MissingAuthenticationTokenException", "", ERROR_CLASS_CREDENTIALS},
	{400, "IncompleteSignature", "", ERROR_CLASS_CREDENTIALS},
	{400, "IncompleteSignatureException", "", ERROR_CLASS_CREDENTIALS},
	{400, "AccessDeniedException", "User is not authorized to perform: firehose:PutRecordBatch", ERROR_CLASS_ACCESS_DENIED},
	{403, "AccessDeniedException", "", ERROR_CLASS_ACCESS_DENIED},

	/* the stream */
	{400, "ResourceNotFoundException", "Firehose x not found under account 1.", ERROR_CLASS_PARK},
	{400, "InvalidKMSResourceException", "", ERROR_CLASS_PARK},
	{400, "InvalidSourceException", "", ERROR_CLASS_PARK},
	{400, "InvalidArgumentException", "This operation is not permitted on KinesisStreamAsSource delivery stream type.", ERROR_CLASS_PARK},
	{400, "InvalidArgumentException", "KinesisStreamAsSource: size exceeds", ERROR_CLASS_PARK},
	{400, "InvalidArgumentException", "something else", ERROR_CLASS_PARK},
	{400, "InvalidArgumentException", "", ERROR_CLASS_PARK},
	{400, "ValidationException", "something else", ERROR_CLASS_PARK},
	{400, "ValidationException", NAME_TOO_LONG, ERROR_CLASS_PARK},
	{400, "InvalidArgumentException", NAME_TOO_LONG, ERROR_CLASS_PARK},

	/* the size */
	{400, "InvalidArgumentException", "Records size exceeds 4 MB limit", ERROR_CLASS_TOO_LARGE},
	{400, "ValidationException", RECORD_TOO_LARGE, ERROR_CLASS_TOO_LARGE},
	{400, "ValidationException", "1 validation error detected: Value '[...]' at 'records' failed to satisfy constraint: Member must have length less than or equal to 500", ERROR_CLASS_TOO_LARGE},
	{400, "InvalidArgumentException", "RECORD TOO LARGE", ERROR_CLASS_TOO_LARGE},
	{400, "InvalidArgumentException", "record is too big", ERROR_CLASS_TOO_LARGE},
	{400, "InvalidArgumentException", "over the size limit", ERROR_CLASS_TOO_LARGE},
	{400, "InvalidArgumentException", "the maximum size is 4 MB", ERROR_CLASS_TOO_LARGE},
	{400, "ValidationException", "1 validation error detected: Value '[]' at 'records' failed to satisfy constraint: Member must have length greater than or equal to 1", ERROR_CLASS_PARK},

	/* our side, and the rest */
	{400, "SerializationException", "", ERROR_CLASS_OUR_BUG},
	{400, "UnknownOperationException", "", ERROR_CLASS_PARK},
	{404, "UnknownOperationException", "", ERROR_CLASS_PARK},
	{403, "", "", ERROR_CLASS_PARK},
	{400, "NeverHeardOf", "", ERROR_CLASS_PARK},
	{400, "throttling", "", ERROR_CLASS_PARK},
	{400, "ThrottlingExceptionX", "", ERROR_CLASS_PARK},
	{400, "Throttl", "", ERROR_CLASS_PARK},
};

int
main(void)
{
	static const char *const throttled[] = {
		"ServiceUnavailableException", "ThrottlingException", "SlowDown",
	};
	static const char *const transient[] = {
		"InternalFailure", "AccessDeniedException", "SerializationException",
		"InvalidArgumentException", "RequestExpired", "NeverHeardOf", "",
	};

	for (size_t i = 0; i < lengthof(cases); i++)
	{
		const Case *c = &cases[i];
		ErrorClass	got = classify_response(c->status, c->code, strlen(c->code),
										 c->message, strlen(c->message));

		if (!ok(got == c->expected, "%d %s: %s", c->status, c->code,
				error_class_name(c->expected)))
			printf("# got %s\n", error_class_name(got));
	}

	for (size_t i = 0; i < lengthof(throttled); i++)
		is_int(classify_entry(throttled[i], strlen(throttled[i])),
			   ERROR_CLASS_THROTTLE, throttled[i]);
	for (size_t i = 0; i < lengthof(transient); i++)
		is_int(classify_entry(transient[i], strlen(transient[i])),
			   ERROR_CLASS_TRANSIENT, transient[i]);

	for (int i = ERROR_CLASS_NONE; i <= ERROR_CLASS_MALFORMED_REPLY; i++)
		ok(error_class_name(i) != NULL, "class %d has a name", i);
	return done_testing();
}
