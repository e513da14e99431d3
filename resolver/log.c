#include "log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syslog.h>

static const char *program_name = "usher";
static bool to_journal;

void log_start(const char *program)
{
	program_name = program;
	to_journal = getenv("JOURNAL_STREAM") != NULL;
}

/* One write a line, so that lines of several threads and processes never mix. */
__attribute__((format(printf, 2, 0))) static void say(int priority, const char *format, va_list args)
{
	char line[2048];
	int at = to_journal ? snprintf(line, sizeof line, "<%d>", priority)
	                    : snprintf(line, sizeof line, "%s: ", program_name);
	int more = vsnprintf(line + at, sizeof line - (size_t)at - 1, format, args);
	if (more < 0)
		return;
	size_t len = (size_t)at + (size_t)more;
	if (len > sizeof line - 2)
		len = sizeof line - 2;
	line[len++] = '\n';
	fwrite(line, 1, len, stderr);
}

#define SAY(priority)                                                                                        \
	do {                                                                                                 \
		va_list args;                                                                                \
		va_start(args, format);                                                                      \
		say(priority, format, args);                                                                 \
		va_end(args);                                                                                \
	} while (0)

void log_error(const char *format, ...)
{
	SAY(LOG_ERR);
}

void log_warn(const char *format, ...)
{
	SAY(LOG_WARNING);
}

void log_info(const char *format, ...)
{
	SAY(LOG_INFO);
}

void log_fatal(const char *format, ...)
{
	SAY(LOG_CRIT);
	exit(1);
}
