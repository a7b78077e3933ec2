/*-------------------------------------------------------------------------
 *
 * test_json_fields.c
 *	  Strings and numbers are picked out of an object or one inside it.
 *
 *-------------------------------------------------------------------------
 */
#include "aws/json_fields.h"
#include "tap.h"

static JsonField fields[2];
static char errmsg[200];

static bool
read_from(const char *text, const char *inside)
{
	static char buf[500];

	fields[0].name = "a";
	fields[1].name = "b";
	snprintf(buf, sizeof(buf), "%s", text);
	return json_fields_read(buf, strlen(buf), inside, fields, 2, errmsg, sizeof(errmsg));
}

int
main(void)
{
	ok(read_from("{\"a\": \"x\\u0041\", \"c\": {\"a\": 1}, \"b\":12}", NULL), "an object");
	is_str(fields[0].value, "xA", "  string");
	is_str(fields[1].value, "12", "  number");
	ok(read_from("{\"a\":1,\"in\":{\"a\":\"y\",\"b\":[1]}}", "in"), "one inside");
	is_str(fields[0].value, "y", "  string");
	is_str(fields[1].value, NULL, "  an array is absent");
	ok(read_from("{\"a\":\"1\",\"a\":\"2\",\"b\":null}", NULL), "a key twice");
	is_str(fields[0].value, "2", "  the last counts");
	is_str(fields[1].value, NULL, "  null is absent");
	ok(read_from("{\"in\":1}", "in"), "nothing inside");
	is_str(fields[0].value, NULL, "  is absent");
	ok(!read_from("{\"a\":\"x\"} x", NULL) && fields[0].value == NULL, "something behind it");
	ok(!read_from("[\"a\"]", NULL), "an array");
	ok(!read_from("{\"a\":\"x", NULL), "the half of it");
	ok(!read_from("", NULL) && errmsg[0] != '\0', "nothing");
	return done_testing();
}
