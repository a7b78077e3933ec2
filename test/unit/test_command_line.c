/*-------------------------------------------------------------------------
 *
 * test_command_line.c
 *	  Commands are split as Python's shlex.split() does, and nothing in them
 *	  is expanded.
 *
 *-------------------------------------------------------------------------
 */
#include "aws/command_line.h"
#include "tap.h"

/* The words, joined with "|"; NULL: an error */
static const struct
{
	const char *command;
	const char *words;
}			cases[] =
{
	{"/bin/x", "/bin/x"},
	{"  /bin/x  a\tb\n ", "/bin/x|a|b"},
	{"x 'a b' \"c d\" e\\ f", "x|a b|c d|e f"},
	{"x a'b c'd\"e f\"g", "x|ab cde fg"},
	{"x '' \"\"", "x||"},
	{"x \"a\\\"b\\\\c\\d\"", "x|a\"b\\c\\d"},
	{"x 'a\\b'", "x|a\\b"},
	{"x $HOME ~ *;|&`y`", "x|$HOME|~|*;|&`y`"},
	{"x 'a", NULL},
	{"x \"a", NULL},
	{"x a\\", NULL},
	{"", NULL},
	{"   ", NULL},
	{"''", NULL},
	{"1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5", NULL},
};

int
main(void)
{
	for (size_t i = 0; i < lengthof(cases); i++)
	{
		char	   *argv[COMMAND_LINE_MAX_WORDS + 1];
		char		command[300];
		char		words[300] = "";
		char		errmsg[100];

		snprintf(command, sizeof(command), "%s", cases[i].command);
		if (!command_line_split(command, argv, errmsg, sizeof(errmsg)))
		{
			ok(cases[i].words == NULL && errmsg[0] != '\0', "refused: %s", cases[i].command);
			continue;
		}
		for (int w = 0; argv[w] != NULL; w++)
		{
			if (w > 0)
				strcat(words, "|");
			strcat(words, argv[w]);
		}
		is_str(words, cases[i].words, cases[i].command);
	}
	return done_testing();
}
